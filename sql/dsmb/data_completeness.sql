-- Name:   dsmb.data_completeness
-- Label:  Data expected, received and usable by domain, category of tests and planned visit, all arms pooled
-- Grain:  one row per DOMAIN, PARCAT1, AVISITN, AVISIT
-- Input:  curated.data_quality, curated.visit_data
-- Units:  counts of subject-visits, of records and of rows
-- Source: curated.visit_data; the study does not say how many records a visit brings, so subject-visits are counted beside them

with

-- Rows that could not be counted here: which visit they belong to nobody can say, so they stand with their domain.
missing_rows as (
    select
        DOMAIN,
        sum(ROWS_QUARANTINED) as rows_quarantined,
        sum(ROWS_HELD) as rows_held
    from curated.data_quality
    group by DOMAIN
)

select
    v.DOMAIN,
    v.PARCAT1,
    v.AVISIT,
    v.AVISITN,
    case when count(v.EXPFL) > 0 then count(*) filter (where v.EXPFL = 'Y') end as expected,
    count(*) filter (where v.EXPFL is distinct from 'N' and v.RECEIVED > 0) as received,
    count(*) filter (where v.EXPFL is distinct from 'N' and v.USABLE > 0) as gradable,
    count(*) filter (where v.EXPFL = 'N') as unasked,
    sum(v.RECEIVED)::bigint as records,
    sum(v.USABLE)::bigint as usable_records,
    coalesce(any_value(m.rows_quarantined), 0)::bigint as rows_quarantined,
    coalesce(any_value(m.rows_held), 0)::bigint as rows_held
from curated.visit_data as v
left join missing_rows as m on v.DOMAIN = m.DOMAIN
group by v.DOMAIN, v.PARCAT1, v.AVISIT, v.AVISITN
