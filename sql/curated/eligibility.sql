-- Name:   curated.eligibility
-- Label:  Entry criteria of every subject: met, not met or not to be told, with the record that decides
-- Grain:  one row per USUBJID, CRITERION
-- Input:  derived.entry, derived.judged_doses, derived.judged_drugs, derived.judged_history, derived.judged_tests, study.criteria, study.criteria_age
-- Units:  AVAL, CRITLO, CRITHI in AVALU; MONTHS are calendar months
-- Source: study.yaml, safety.eligibility; without evidence it is CANNOT TELL; where a record excludes, none is MET once its domain came in

with

-- Age as demographics tell it; both limits belong to the range.
ages as (
    select
        e.USUBJID,
        a.CRITERION,
        case
            when e.AGE is null then 'CANNOT TELL'
            when e.AGE < a.low or e.AGE > a.high then 'NOT MET'
            else 'MET'
        end as STATUS,
        case when e.AGE is null then 'NO AGE OR SEX' end as REASON,
        yes_no(e.AGE is not null) as RECFL,
        null::integer as MONTHS,
        null::date as WINSTDT,
        'DM' as EVDOMAIN,
        'AGE' as EVTERM,
        null::integer as EVSEQ,
        null as EVSTDTC,
        null as EVENDTC,
        e.AGE::decimal(20, 8) as AVAL,
        null as AVALC,
        'YEARS' as AVALU,
        a.low::decimal(20, 8) as CRITLO,
        a.high::decimal(20, 8) as CRITHI,
        e.PENDFL,
        e.SRC_SHA256,
        e.SRC_ROW
    from derived.entry as e
    cross join study.criteria_age as a
),

verdicts as (
    select * from ages
    union all
    select * from derived.judged_tests
    union all
    select * from derived.judged_history
    union all
    select * from derived.judged_drugs
    union all
    select * from derived.judged_doses
)

select
    e.STUDYID,
    e.SITEID,
    e.USUBJID,
    e.SAFFL,
    c.CRITNUM,
    v.CRITERION,
    c.DOMAIN,
    e.REFDT,
    v.STATUS,
    v.REASON,
    v.RECFL,
    v.MONTHS,
    v.WINSTDT,
    v.EVDOMAIN,
    v.EVTERM,
    v.EVSEQ,
    v.EVSTDTC,
    v.EVENDTC,
    v.AVAL,
    v.AVALC,
    v.AVALU,
    v.CRITLO,
    v.CRITHI,
    v.PENDFL,
    v.SRC_SHA256,
    v.SRC_ROW
from verdicts as v
inner join derived.entry as e on v.USUBJID = e.USUBJID
inner join study.criteria as c on v.CRITERION = c.CRITERION
