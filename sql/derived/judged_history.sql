-- Name:   derived.judged_history
-- Label:  Entry criteria on medical history: no such condition that began within so many years before entry
-- Grain:  one row per USUBJID, CRITERION
-- Input:  curated.admh, derived.entry, study.criteria_history
-- Units:  MONTHS are calendar months back from entry; WINSTDT is the first day that counts
-- Source: study.yaml; the start counts, MH has no end; the day exactly so many years back is outside

with

windows as (
    select
        e.USUBJID,
        e.REFDT,
        e.MH_RECEIVED,
        c.*,
        (e.REFDT - to_months(12 * c.years))::date as LIMITDT
    from derived.entry as e
    cross join study.criteria_history as c
),

-- Each way to write a condition, once, in words.
spellings as (
    select distinct
        MHDECOD,
        MHTERM,
        MHBODSYS,
        as_words(coalesce(MHDECOD, '')) as CODED,
        as_words(coalesce(MHTERM, '')) as REPORTED,
        as_words(coalesce(MHBODSYS, '')) as BODY_SYSTEM
    from curated.admh
),

lists as (
    select CRITERION, 'WORDS' as LIST, as_words(unnest(words)) as WORD
    from study.criteria_history
    union all
    select CRITERION, 'UNLESS' as LIST, as_words(unnest(unless)) as WORD
    from study.criteria_history
    union all
    select CRITERION, 'UNCERTAIN' as LIST, as_words(unnest(uncertain)) as WORD
    from study.criteria_history
    union all
    select CRITERION, 'VAGUE' as LIST, as_words(unnest(vague)) as WORD
    from study.criteria_history
),

-- Which lists each text touches.
touched as (
    select
        l.CRITERION,
        s.MHDECOD,
        s.MHTERM,
        s.MHBODSYS,
        bool_or(l.LIST = 'WORDS' and contains(s.CODED, l.WORD)) as CODED_WORD,
        bool_or(l.LIST = 'UNLESS' and contains(s.CODED, l.WORD)) as CODED_UNLESS,
        bool_or(l.LIST = 'WORDS' and contains(s.REPORTED, l.WORD)) as REPORTED_WORD,
        bool_or(l.LIST = 'UNLESS' and contains(s.REPORTED, l.WORD)) as REPORTED_UNLESS,
        bool_or(l.LIST = 'UNCERTAIN' and contains(s.CODED || s.REPORTED, l.WORD)) as IS_UNCERTAIN,
        bool_or(l.LIST = 'VAGUE' and contains(s.CODED || s.REPORTED || s.BODY_SYSTEM, l.WORD)) as IS_VAGUE
    from spellings as s
    cross join lists as l
    group by l.CRITERION, s.MHDECOD, s.MHTERM, s.MHBODSYS
),

-- Whether it is such a condition: Y, or U when its words leave that open. Where the coded name says anything, what was
-- reported neither adds to it nor takes it back.
meant as (
    select
        CRITERION,
        MHDECOD,
        MHTERM,
        MHBODSYS,
        case
            when CODED_UNLESS then null
            when REPORTED_UNLESS and not CODED_WORD then null
            when IS_UNCERTAIN then 'U'
            when CODED_WORD or REPORTED_WORD then 'Y'
            when IS_VAGUE then 'U'
        end as MEANS
    from touched
),

-- Such conditions with the days on which they may have begun.
conditions as (
    select
        w.*,
        h.MHSEQ,
        h.MHSPID,
        h.MHSTDTC,
        coalesce(h.MHDECOD, h.MHTERM) as NAME,
        h.PENDFL,
        h.SRC_SHA256,
        h.SRC_ROW,
        m.MEANS = 'Y' as IS_ONE,
        coalesce(iso_earliest(h.MHSTDTC), '0001-01-01'::date) as FIRST_START,
        coalesce(iso_latest(h.MHSTDTC), '9999-12-31'::date) as LAST_START
    from windows as w
    inner join curated.admh as h on w.USUBJID = h.USUBJID
    inner join meant as m
        on
            w.CRITERION = m.CRITERION
            and h.MHDECOD is not distinct from m.MHDECOD
            and h.MHTERM is not distinct from m.MHTERM
            and h.MHBODSYS is not distinct from m.MHBODSYS
            and m.MEANS is not null
),

deciding as (
    select
        *,
        coalesce(IS_ONE and FIRST_START > LIMITDT and LAST_START <= REFDT, false) as CERTAIN,
        coalesce(LAST_START > LIMITDT and FIRST_START <= REFDT, true) as POSSIBLE
    from conditions
    qualify row_number() over (
            partition by USUBJID, CRITERION
            order by
                CERTAIN desc, POSSIBLE desc, IS_ONE desc, LAST_START desc, FIRST_START desc, MHSEQ desc nulls last, MHSPID asc,
                SRC_SHA256 asc, SRC_ROW asc
        ) = 1
)

select
    w.USUBJID,
    w.CRITERION,
    case
        when d.CERTAIN then 'NOT MET'
        when d.POSSIBLE or not w.MH_RECEIVED then 'CANNOT TELL'
        else 'MET'
    end as STATUS,
    case
        when d.CERTAIN then null
        when d.POSSIBLE
            then case when w.REFDT is null then 'NO ENTRY DATE' when d.IS_ONE then 'DATES NOT EXACT' else 'TERM NOT CLEAR' end
        when not w.MH_RECEIVED then 'DOMAIN NOT RECEIVED'
    end as REASON,
    yes_no(w.MH_RECEIVED) as RECFL,
    12 * w.years as MONTHS,
    w.LIMITDT + 1 as WINSTDT,
    case when d.USUBJID is not null then 'MH' end as EVDOMAIN,
    d.NAME as EVTERM,
    d.MHSEQ as EVSEQ,
    d.MHSTDTC as EVSTDTC,
    null as EVENDTC,
    null::decimal(20, 8) as AVAL,
    null as AVALC,
    null as AVALU,
    null::decimal(20, 8) as CRITLO,
    null::decimal(20, 8) as CRITHI,
    d.PENDFL,
    d.SRC_SHA256,
    d.SRC_ROW
from windows as w
left join deciding as d on w.USUBJID = d.USUBJID and w.CRITERION = d.CRITERION
