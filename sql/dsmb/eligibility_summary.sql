-- Name:   dsmb.eligibility_summary
-- Label:  Entry criteria of dosed subjects: met, not met, cannot be told, all arms pooled
-- Grain:  one row per CRITERION
-- Input:  curated.data_quality, curated.eligibility, study.criteria
-- Units:  counts of subjects and of rows
-- Source: curated.eligibility; expected = dosed subjects; received = with evidence; gradable = met or not met

with

-- Rows that could not be looked at, by domain.
missing_rows as (
    select
        DOMAIN,
        sum(ROWS_QUARANTINED)::bigint as rows_quarantined,
        sum(ROWS_HELD)::bigint as rows_held
    from curated.data_quality
    group by DOMAIN
)

select
    c.CRITNUM,
    c.CRITERION,
    c.DOMAIN,
    count(e.USUBJID) as expected,
    count(*) filter (where e.RECFL = 'Y') as received,
    count(*) filter (where e.STATUS in ('MET', 'NOT MET')) as gradable,
    count(*) filter (where e.STATUS = 'MET') as met,
    count(*) filter (where e.STATUS = 'NOT MET') as not_met,
    count(*) filter (where e.STATUS = 'CANNOT TELL') as cannot_tell,
    coalesce(any_value(m.rows_quarantined), 0)::bigint as rows_quarantined,
    coalesce(any_value(m.rows_held), 0)::bigint as rows_held
from study.criteria as c
left join curated.eligibility as e on c.CRITERION = e.CRITERION and e.SAFFL = 'Y'
left join missing_rows as m on c.DOMAIN = m.DOMAIN
group by c.CRITNUM, c.CRITERION, c.DOMAIN
