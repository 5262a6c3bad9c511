-- Name:   curated.tumor_markers
-- Label:  Rises of tumour markers: at least twice the own baseline and above the limit; confirmed, single or pending
-- Grain:  one row per USUBJID, PARAMCD, ADT, SRC_SHA256, SRC_ROW
-- Input:  curated.adae, curated.adlb, curated.admh, derived.markers, study.marker_context
-- Units:  AVAL, ANRHI, BASELO, BASEHI, NEXTVAL in AVALU; R2BASELO and R2BASEHI are the ends of the ratio to baseline
-- Source: safety.markers of the study; STATUS is that of the rise, RESDT the day a confirmed one was over

with recursive

risen as (
    select distinct
        USUBJID,
        PARAMCD,
        SPEC
    from derived.markers
    where JUDGED = 'RISE'
),

-- Comparable samples by day, of subjects with any rise: of several the rise, and the highest.
samples as (
    select m.*
    from derived.markers as m
    inner join risen as r on m.USUBJID = r.USUBJID and m.PARAMCD = r.PARAMCD and m.SPEC = r.SPEC
    where m.JUDGED in ('RISE', 'NO RISE') and m.OTHER = '' and m.ADT is not null
    qualify row_number() over (
            partition by m.USUBJID, m.PARAMCD, m.SPEC, m.ADT
            order by m.JUDGED = 'RISE' desc, m.AVALLO desc, m.SRC_SHA256 asc, m.SRC_ROW asc
        ) = 1
),

-- Every rise, with the first sample that comes late enough to confirm or refute it.
repeated as (
    select
        r.*,
        n.ADT as NEXTDT,
        n.VISIT as NEXTVISIT,
        n.AVALLO as NEXTVAL,
        n.JUDGED = 'RISE' as IS_CONFIRMED
    from samples as r
    left join samples as n
        on r.USUBJID = n.USUBJID and r.PARAMCD = n.PARAMCD and r.SPEC = n.SPEC and n.ADT >= r.ADT + r.repeat_days
    where r.JUDGED = 'RISE'
    qualify row_number() over (partition by r.USUBJID, r.PARAMCD, r.SPEC, r.ADT order by n.ADT) = 1
),

-- A confirmed rise is over with the first later sample that is none.
resolved as (
    select
        r.*,
        n.ADT as RESDT
    from repeated as r
    left join samples as n
        on
            r.USUBJID = n.USUBJID
            and r.PARAMCD = n.PARAMCD
            and r.SPEC = n.SPEC
            and r.IS_CONFIRMED
            and n.ADT > r.NEXTDT
            and n.JUDGED = 'NO RISE'
    qualify row_number() over (partition by r.USUBJID, r.PARAMCD, r.SPEC, r.ADT order by n.ADT) = 1
),

-- The next rise that can begin: the first after this one was refuted or over.
followed as (
    select
        r.*,
        n.ADT as NEXT_START
    from resolved as r
    left join resolved as n
        on
            r.USUBJID = n.USUBJID
            and r.PARAMCD = n.PARAMCD
            and r.SPEC = n.SPEC
            and n.ADT > case when r.IS_CONFIRMED then r.RESDT else r.NEXTDT end
    qualify row_number() over (partition by r.USUBJID, r.PARAMCD, r.SPEC, r.ADT order by n.ADT) = 1
),

-- A subject's first rise, the one that began when it was over, and so on: samples between belong to a rise before.
rises as (
    select *
    from (
        select *
        from followed
        qualify row_number() over (partition by USUBJID, PARAMCD, SPEC order by ADT) = 1
    ) as earliest
    union all
    select f.*
    from rises as r
    inner join followed as f
        on r.USUBJID = f.USUBJID and r.PARAMCD = f.PARAMCD and r.SPEC = f.SPEC and r.NEXT_START = f.ADT
),

-- Of samples that cannot be judged for one reason, the first.
unjudged as (
    select *
    from derived.markers
    where JUDGED in ('CANNOT TELL', 'NOT COMPARABLE')
    qualify row_number() over (
            partition by USUBJID, PARAMCD, SPEC, REASON
            order by ADT asc nulls last, ADTM asc nulls first, SRC_SHA256 asc, SRC_ROW asc
        ) = 1
),

listed as (
    select
        * exclude (IS_CONFIRMED, NEXT_START),
        case when IS_CONFIRMED then 'CONFIRMED' when not IS_CONFIRMED then 'SINGLE' else 'PENDING' end as STATUS
    from rises
    union all by name
    select
        *,
        JUDGED as STATUS
    from unjudged
),

-- What else raises a marker. Terms are the study's own; the site's text is not repeated.
terms as (
    select
        id,
        markers,
        days,
        upper(unnest(terms)) as term
    from study.marker_context
),

found as (
    -- History, at any time.
    select
        l.SRC_SHA256,
        l.SRC_ROW,
        t.id,
        t.term
    from listed as l
    inner join terms as t on list_contains(t.markers, l.PARAMCD)
    inner join curated.admh as h
        on l.USUBJID = h.USUBJID and t.term in (upper(h.MHDECOD), upper(h.MHLLT), upper(h.MHTERM))
    union
    -- Events that were there within so many days; without an end they go on, without a start they may have been there.
    select
        l.SRC_SHA256,
        l.SRC_ROW,
        t.id,
        t.term
    from listed as l
    inner join terms as t on list_contains(t.markers, l.PARAMCD)
    inner join curated.adae as e
        on
            l.USUBJID = e.USUBJID
            and t.term in (upper(e.AEDECOD), upper(e.AELLT), upper(e.AETERM))
            and coalesce(iso_earliest(e.AESTDTC) <= l.ADT + t.days, true)
            and coalesce(iso_latest(e.AEENDTC) >= l.ADT - t.days, true)
    union
    -- Low results within so many days.
    select
        l.SRC_SHA256,
        l.SRC_ROW,
        k.id,
        'LOW ' || k.LBTESTCD as term
    from listed as l
    inner join study.marker_context as k on list_contains(k.markers, l.PARAMCD)
    inner join curated.adlb as a
        on
            l.USUBJID = a.USUBJID
            and k.LBTESTCD = a.PARAMCD
            and a.ADT between l.ADT - k.days and l.ADT + k.days
            and not reaches(a.AVALLO, a.AVALHI, censoring(a.AVALC), k.below)
),

context as (
    select
        SRC_SHA256,
        SRC_ROW,
        string_agg(id || ': ' || term, '; ' order by id, term) as CONTEXT
    from found
    group by SRC_SHA256, SRC_ROW
)

select
    l.STUDYID,
    l.SITEID,
    l.USUBJID,
    l.PARAMCD,
    l.PARAM,
    l.LBSPEC,
    l.VISIT,
    l.AVISIT,
    l.AVISITN,
    l.ADT,
    l.ADY,
    l.AVAL,
    l.AVALC,
    l.AVALU,
    l.ANRHI,
    l.RANGESRC,
    l.R2ANRHI,
    l.BASELO,
    l.BASEHI,
    l.BASEDT,
    l.BNRIND,
    case when l.BASEHI > 0 then round(l.AVALLO::double / l.BASEHI::double, 6) end as R2BASELO,
    case when l.BASELO > 0 then round(l.AVALHI::double / l.BASELO::double, 6) end as R2BASEHI,
    l.STATUS,
    l.REASON,
    l.NEXTDT,
    l.NEXTVISIT,
    l.NEXTVAL,
    l.RESDT,
    case when l.STATUS = 'CONFIRMED' then yes_no(l.RESDT is not null) end as RESOLVED,
    c.CONTEXT,
    l.PENDFL,
    l.SRC_SHA256,
    l.SRC_ROW
from listed as l
left join context as c on l.SRC_SHA256 = c.SRC_SHA256 and l.SRC_ROW = c.SRC_ROW
