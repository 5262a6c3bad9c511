-- Name:   derived.judged_doses
-- Label:  Entry criteria on glucocorticoids: the highest dose of a day within so many months before entry, per kg of weight
-- Grain:  one row per USUBJID, CRITERION
-- Input:  derived.entry, derived.entry_medications, derived.entry_results, study.criteria_steroid
-- Units:  AVAL, CRITHI in mg of prednisone a day
-- Source: study.yaml, reference.steroids; a day's doses add up; on the day one dose of a drug follows another, the new one counts

with

-- The last weight before entry; two of the same moment leave a range.
weights as (
    select
        USUBJID,
        min(AVAL) as LEAST_KG,
        max(AVAL) as MOST_KG
    from derived.entry_results
    where DOMAIN = 'VS'
    group by USUBJID
),

windows as (
    select
        e.USUBJID,
        e.REFDT,
        e.CM_RECEIVED,
        c.CRITERION,
        c.months,
        (e.REFDT - to_months(c.months))::date as LIMITDT,
        c.mg_per_kg * w.LEAST_KG as LEAST_MG,
        c.mg_per_kg * w.MOST_KG as MOST_MG
    from derived.entry as e
    cross join study.criteria_steroid as c
    left join weights as w on e.USUBJID = w.USUBJID
),

-- Records that may give a glucocorticoid within the window, or on the day of entry, when it may be after it.
taken as (
    select
        w.*,
        m.* exclude (USUBJID),
        m.CLASS is not null as IS_STEROID,
        exists(
            select 1
            from derived.entry_medications as o
            where
                o.USUBJID = m.USUBJID
                and o.DRUG = m.DRUG
                and o.FIRST_START = m.LAST_END
                and o.LAST_START = m.FIRST_END
                and m.LAST_START < m.FIRST_END
        ) as GIVES_WAY
    from windows as w
    inner join derived.entry_medications as m on w.USUBJID = m.USUBJID
    where
        (m.CLASS = 'GLUCOCORTICOID' or m.CLASS is null)
        and coalesce(m.FIRST_START <= w.REFDT and m.LAST_END > w.LIMITDT, true)
),

-- Days on which a total can be highest: the first of the window and every start.
days as (
    select distinct
        USUBJID,
        CRITERION,
        REFDT,
        greatest(unnest([LIMITDT + 1, FIRST_START, LAST_START]), LIMITDT + 1) as DAY
    from taken
),

-- Totals of such a day: of what was taken for certain, and of all that may have been.
totals as (
    select
        d.USUBJID,
        d.CRITERION,
        d.DAY,
        coalesce(sum(t.DAILY) filter (where t.LAST_START <= d.DAY and t.FIRST_END >= d.DAY and d.DAY < d.REFDT), 0) as CERTAIN_MG,
        coalesce(sum(t.DAILY), 0) as POSSIBLE_MG
    from days as d
    inner join taken as t
        on
            d.USUBJID = t.USUBJID
            and d.CRITERION = t.CRITERION
            and d.DAY between t.FIRST_START and t.LAST_END
            and not (t.GIVES_WAY and d.DAY = t.LAST_END)
    where d.DAY <= d.REFDT
    group by d.USUBJID, d.CRITERION, d.DAY, d.REFDT
),

highest as (
    select
        USUBJID,
        CRITERION,
        max(CERTAIN_MG) as CERTAIN_MG,
        max(POSSIBLE_MG) as POSSIBLE_MG
    from totals
    group by USUBJID, CRITERION
),

-- The record that weighs most: an unknown dose first where nothing is certain, else the highest.
weighty as (
    select
        *,
        count(*) over this as RECORDS,
        count(DAILY) over this as KNOWN,
        bool_and(IS_STEROID) over this as ALL_STEROIDS
    from taken
    window this as (partition by USUBJID, CRITERION)
    qualify row_number() over (
            partition by USUBJID, CRITERION
            order by
                DAILY desc nulls last, IS_STEROID desc, LAST_END desc, LAST_START desc, CMSEQ desc nulls last, CMSPID asc,
                SRC_SHA256 asc, SRC_ROW asc
        ) = 1
),

judged as (
    select
        w.*,
        y.* exclude (USUBJID, CRITERION, REFDT, CM_RECEIVED, months, LIMITDT, LEAST_MG, MOST_MG),
        coalesce(h.CERTAIN_MG, 0) as CERTAIN_MG,
        coalesce(h.POSSIBLE_MG, 0) as POSSIBLE_MG,
        case
            when coalesce(h.CERTAIN_MG > w.MOST_MG, false) then null
            when w.REFDT is null and y.USUBJID is not null then 'NO ENTRY DATE'
            when not y.ALL_STEROIDS then 'UNKNOWN DRUG'
            when y.KNOWN < y.RECORDS then 'UNKNOWN DOSE'
            when y.USUBJID is not null and w.MOST_MG is null then 'NO WEIGHT'
            when h.CERTAIN_MG > w.LEAST_MG then 'RECORDS DISAGREE'
            when h.POSSIBLE_MG > w.LEAST_MG then 'DATES NOT EXACT'
            when not w.CM_RECEIVED then 'DOMAIN NOT RECEIVED'
        end as REASON
    from windows as w
    left join weighty as y on w.USUBJID = y.USUBJID and w.CRITERION = y.CRITERION
    left join highest as h on w.USUBJID = h.USUBJID and w.CRITERION = h.CRITERION
)

select
    USUBJID,
    CRITERION,
    case
        when coalesce(CERTAIN_MG > MOST_MG, false) then 'NOT MET'
        when REASON is not null then 'CANNOT TELL'
        else 'MET'
    end as STATUS,
    REASON,
    yes_no(CM_RECEIVED) as RECFL,
    months,
    LIMITDT + 1 as WINSTDT,
    case when NAME is not null then 'CM' end as EVDOMAIN,
    NAME as EVTERM,
    CMSEQ as EVSEQ,
    CMSTDTC as EVSTDTC,
    CMENDTC as EVENDTC,
    case when CERTAIN_MG > MOST_MG then CERTAIN_MG when REASON is null or KNOWN = RECORDS then POSSIBLE_MG end::decimal(20, 8) as AVAL,
    REGIMEN as AVALC,
    'mg/day' as AVALU,
    null::decimal(20, 8) as CRITLO,
    case when LEAST_MG = MOST_MG then MOST_MG end::decimal(20, 8) as CRITHI,
    PENDFL,
    SRC_SHA256,
    SRC_ROW
from judged
