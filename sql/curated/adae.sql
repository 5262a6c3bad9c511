-- Name:   curated.adae
-- Label:  Adverse events, every accepted one; words that name an arm are masked
-- Grain:  one row per USUBJID, AESEQ, AESPID, SRC_SHA256, SRC_ROW
-- Input:  accepted.ae, accepted.ex, curated.adsl, study.causality, study.infusion_reaction, study.protocol, study.severities, study.special_interest
-- Units:  ASTDY, AENDY, ADURN in days, no day 0; INFRMIN in minutes
-- Source: ADaM IG, OCCDS; partial dates stay text, and count as treatment-emergent unless they must lie before the dose; safety.events of the study

with

-- The words to mask, if any cell of any event names one: mostly none does, and then no cell is searched again.
-- An event is never refused for its text, so every cell of it is masked.
blind as (
    select case when regexp_matches(string_agg(seen.cells, chr(10)), any_value(p.blinded)) then any_value(p.blinded) end as words
    from (select distinct concat_ws(chr(10), *columns('^AE')) as cells from accepted.ae) as seen
    cross join study.protocol as p
),

-- Nothing below sees an unmasked cell. EARLIEST and LATEST: the first and last moment at which an event can have begun;
-- both are the start itself when it has a time, and both are NULL when nothing is known of it. ENDED_BY: of its end.
events as (
    select
        e.STUDYID,
        e.SITEID,
        e.USUBJID,
        whole_number(e.AESEQ) as AESEQ,
        masked(e.AESPID, b.words) as AESPID,
        masked(e.AETERM, b.words) as AETERM,
        masked(e.AELLT, b.words) as AELLT,
        masked(e.AEDECOD, b.words) as AEDECOD,
        masked(e.AEBODSYS, b.words) as AEBODSYS,
        masked(e.AESOC, b.words) as AESOC,
        masked(e.AESEV, b.words) as AESEV,
        masked(e.AETOXGR, b.words) as AETOXGR,
        masked(e.AESER, b.words) as AESER,
        masked(e.AESDTH, b.words) as AESDTH,
        masked(e.AESLIFE, b.words) as AESLIFE,
        masked(e.AESHOSP, b.words) as AESHOSP,
        masked(e.AESDISAB, b.words) as AESDISAB,
        masked(e.AESCONG, b.words) as AESCONG,
        masked(e.AEREL, b.words) as AEREL,
        masked(e.AEOUT, b.words) as AEOUT,
        masked(e.AESTDTC, b.words) as AESTDTC,
        masked(e.AEENDTC, b.words) as AEENDTC,
        iso_date(e.AESTDTC) as ASTDT,
        iso_datetime(e.AESTDTC) as ASTDTM,
        iso_date(e.AEENDTC) as AENDT,
        coalesce(iso_datetime(e.AESTDTC), iso_earliest(e.AESTDTC)::timestamp) as EARLIEST,
        coalesce(iso_datetime(e.AESTDTC), iso_latest(e.AESTDTC)::timestamp + interval 1 day - interval 1 second) as LATEST,
        coalesce(iso_datetime(e.AEENDTC), iso_latest(e.AEENDTC)::timestamp + interval 1 day - interval 1 second) as ENDED_BY,
        e.PENDFL,
        e.SRC_SHA256,
        e.SRC_ROW
    from accepted.ae as e
    cross join blind as b
),

-- Every infusion of the site, with the first and last moment at which it can have begun.
infusions as (
    select
        x.USUBJID,
        coalesce(iso_datetime(x.EXSTDTC), iso_earliest(x.EXSTDTC)::timestamp) as BEGAN_FROM,
        coalesce(iso_datetime(x.EXSTDTC), iso_latest(x.EXSTDTC)::timestamp + interval 1 day - interval 1 second) as BEGAN_TO,
        to_hours(w.hours) as HOURS
    from accepted.ex as x
    cross join study.infusion_reaction as w
    where iso_earliest(x.EXSTDTC) is not null
),

-- Events that can have begun in the hours after an infusion (the first and the last moment of the window belong to it),
-- and whether they must have: then every start that the dates allow lies inside.
reactions as (
    select
        e.SRC_SHA256,
        e.SRC_ROW,
        case
            when coalesce(bool_or(e.EARLIEST >= i.BEGAN_TO and e.LATEST <= i.BEGAN_FROM + i.HOURS), false) then 'Y' else 'U'
        end as INFRFL,
        min(date_diff('minute', i.BEGAN_TO, e.EARLIEST)) filter (
            where i.BEGAN_FROM = i.BEGAN_TO and e.EARLIEST = e.LATEST and e.EARLIEST between i.BEGAN_TO and i.BEGAN_TO + i.HOURS
        )::integer as INFRMIN
    from events as e
    inner join infusions as i on e.USUBJID = i.USUBJID
    where coalesce(e.LATEST >= i.BEGAN_FROM and e.EARLIEST <= i.BEGAN_TO + i.HOURS, true)
        and coalesce(e.ENDED_BY >= i.BEGAN_FROM, true)
    group by e.SRC_SHA256, e.SRC_ROW
),

-- One row per event and category of special interest. An event that is not coded is looked up by the words of the site.
categories as (
    select distinct
        e.SRC_SHA256,
        e.SRC_ROW,
        t.name,
        t.position
    from events as e
    left join reactions as r on e.SRC_SHA256 is not distinct from r.SRC_SHA256 and e.SRC_ROW = r.SRC_ROW
    inner join study.special_interest as t
        on
            (t.kind = 'SOC' and t.term = upper(trim(coalesce(e.AESOC, e.AEBODSYS))))
            or (t.kind = 'TERM' and t.term = upper(trim(coalesce(e.AEDECOD, e.AELLT, e.AETERM))))
            or (t.kind = 'INFUSION REACTION' and r.INFRFL is not null)
),

interests as (
    select
        SRC_SHA256,
        SRC_ROW,
        list(name order by position) as AESI
    from categories
    group by SRC_SHA256, SRC_ROW
),

judged as (
    select
        e.*,
        study_day(e.ASTDT, s.TRTSDT) as ASTDY,
        study_day(e.AENDT, s.TRTSDT) as AENDY,
        case when e.AENDT >= e.ASTDT then (e.AENDT - e.ASTDT + 1)::integer end as ADURN,
        -- On the minute: an event that starts with the dose counts. A dose without a date leaves nothing before it.
        case
            when s.TRTSDT is null then case when s.SAFFL = 'Y' then 'Y' end
            when e.ASTDTM is not null and s.TRTSDTM is not null then case when e.ASTDTM >= s.TRTSDTM then 'Y' end
            when e.ASTDT is not null then case when e.ASTDT >= s.TRTSDT then 'Y' end
            when iso_latest(e.AESTDTC) < s.TRTSDT or iso_latest(e.AEENDTC) < s.TRTSDT then null
            else 'Y'
        end as TRTEMFL,
        -- Serious by its mark, or by a criterion that the site marked.
        case
            when 'Y' in (e.AESER, e.AESDTH, e.AESLIFE, e.AESHOSP, e.AESDISAB, e.AESCONG) or e.AEOUT = 'FATAL' then 'Y'
            when e.AESER = 'N' then 'N'
        end as ASERFL,
        coalesce(a.related, 'UNKNOWN') as AREL,
        coalesce(e.AESDTH = 'Y' or e.AEOUT = 'FATAL', false) as IS_FATAL,
        case when whole_number(e.AETOXGR) between 1 and 5 then whole_number(e.AETOXGR) end as REPORTED_GRADE,
        g.grade as SEVERITY_GRADE,
        r.INFRFL,
        r.INFRMIN,
        i.AESI
    from events as e
    left join curated.adsl as s on e.USUBJID = s.USUBJID
    left join study.causality as a on upper(trim(e.AEREL)) = a.said
    left join study.severities as g on upper(trim(e.AESEV)) = g.severity
    left join reactions as r on e.SRC_SHA256 is not distinct from r.SRC_SHA256 and e.SRC_ROW = r.SRC_ROW
    left join interests as i on e.SRC_SHA256 is not distinct from i.SRC_SHA256 and e.SRC_ROW = i.SRC_ROW
),

-- The order of events of a subject. Among equal starts, and where nothing is known of the start, the site's numbering.
ordered as (
    select
        *,
        row_number() over (subject order by EARLIEST nulls last, AESEQ, AESPID, SRC_SHA256, SRC_ROW) as NTH,
        row_number() over (
            partition by USUBJID, TRTEMFL, coalesce(AESOC, AEBODSYS)
            order by EARLIEST nulls last, AESEQ, AESPID, SRC_SHA256, SRC_ROW
        ) as NTH_OF_SOC,
        row_number() over (
            partition by USUBJID, TRTEMFL, coalesce(AESOC, AEBODSYS), AEDECOD
            order by EARLIEST nulls last, AESEQ, AESPID, SRC_SHA256, SRC_ROW
        ) as NTH_OF_TERM
    from judged
    window subject as (partition by USUBJID, TRTEMFL)
)

select
    STUDYID,
    SITEID,
    USUBJID,
    AESEQ,
    AESPID,
    AETERM,
    AELLT,
    AEDECOD,
    AEBODSYS,
    AESOC,
    AESEV,
    AETOXGR,
    AESER,
    AESDTH,
    AESLIFE,
    AESHOSP,
    AESDISAB,
    AESCONG,
    AEREL,
    AEOUT,
    AESTDTC,
    AEENDTC,
    ASTDT,
    ASTDTM,
    AENDT,
    ASTDY,
    AENDY,
    ADURN,
    TRTEMFL,
    case when TRTEMFL = 'Y' and NTH = 1 then 'Y' end as AOCCFL,
    case when TRTEMFL = 'Y' and NTH_OF_SOC = 1 then 'Y' end as AOCCSFL,
    case when TRTEMFL = 'Y' and NTH_OF_TERM = 1 then 'Y' end as AOCCPFL,
    ASERFL,
    AREL,
    case when IS_FATAL then 5 else coalesce(REPORTED_GRADE, SEVERITY_GRADE) end as ATOXGR,
    case
        when IS_FATAL then 'DEATH'
        when REPORTED_GRADE is not null then 'AETOXGR'
        when SEVERITY_GRADE is not null then 'AESEV'
    end as ATOXGRS,
    INFRFL,
    INFRMIN,
    case
        when AESI is not null then 'Y'
        when AEDECOD is null and exists (from study.special_interest) then 'U'
    end as AESIFL,
    AESI,
    PENDFL,
    SRC_SHA256,
    SRC_ROW
from ordered
