-- Name:   dsmb.eligibility_deviations
-- Label:  Dosed subjects who did not meet an entry criterion, and those of whom it cannot be told, all arms pooled
-- Grain:  one row per USUBJID, CRITERION
-- Input:  curated.data_quality, curated.eligibility
-- Units:  AVAL, CRITLO, CRITHI in AVALU; counts of rows
-- Source: curated.eligibility; rows not counted are those of the criterion's domain, over all sites

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
    e.SITEID,
    e.USUBJID,
    e.CRITNUM,
    e.CRITERION,
    e.STATUS,
    e.REASON,
    e.REFDT,
    e.WINSTDT,
    e.EVDOMAIN,
    e.EVTERM,
    e.EVSEQ,
    e.EVSTDTC,
    e.EVENDTC,
    e.AVAL,
    e.AVALC,
    e.AVALU,
    e.CRITLO,
    e.CRITHI,
    coalesce(m.rows_quarantined, 0)::bigint as rows_quarantined,
    coalesce(m.rows_held, 0)::bigint as rows_held
from curated.eligibility as e
left join missing_rows as m on e.DOMAIN = m.DOMAIN
where e.SAFFL = 'Y' and e.STATUS <> 'MET'
