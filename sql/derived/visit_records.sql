-- Name:   derived.visit_records
-- Label:  How many records a subject has at a visit, by domain and, for laboratory, category; and how many are usable
-- Grain:  one row per USUBJID, VISIT, DOMAIN, PARCAT1
-- Input:  curated.adeg, curated.adlb, curated.adrs, curated.advs, curated.adxr, study.analytes
-- Units:  counts of accepted records
-- Source: usable = a number, an interval, a reading, a grade; text only where the study's test has no unit

with

records as (
    select
        lb.USUBJID,
        lb.VISIT,
        'LB' as DOMAIN,
        lb.PARCAT1,
        coalesce(lb.AVALLO, lb.AVALHI) is not null
        or (lb.AVALC is not null and a.LBTESTCD is not null and a.standard_unit is null) as IS_USABLE
    from curated.adlb as lb
    left join study.analytes as a on lb.PARAMCD = a.LBTESTCD
    union all
    select USUBJID, VISIT, 'VS' as DOMAIN, null as PARCAT1, AVAL is not null as IS_USABLE from curated.advs
    union all
    select
        USUBJID,
        VISIT,
        'EG' as DOMAIN,
        null as PARCAT1,
        case when PARAMCD = 'INTP' then coalesce(AVALC, 'CANNOT TELL') <> 'CANNOT TELL' else AVAL is not null end as IS_USABLE
    from curated.adeg
    union all
    select USUBJID, VISIT, 'RS' as DOMAIN, null as PARCAT1, AVALC is not null as IS_USABLE from curated.adrs
    union all
    select USUBJID, VISIT, 'XR' as DOMAIN, null as PARCAT1, coalesce(AVALC, 'CANNOT TELL') <> 'CANNOT TELL' as IS_USABLE from curated.adxr
)

select
    USUBJID,
    VISIT,
    DOMAIN,
    PARCAT1,
    count(*)::integer as RECEIVED,
    (count(*) filter (where IS_USABLE))::integer as USABLE
from records
group by USUBJID, VISIT, DOMAIN, PARCAT1
