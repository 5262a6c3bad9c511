-- Name:   dsmb.data_quality
-- Label:  What became of every row that all sites sent, by domain; DOMAIN ALL is every domain
-- Grain:  one row per DOMAIN
-- Input:  curated.data_quality
-- Units:  counts of sites, deliveries and rows
-- Source: curated.data_quality

select
    coalesce(DOMAIN, 'ALL') as DOMAIN,
    count(distinct SITEID) as sites,
    sum(DELIVERIES)::bigint as deliveries,
    sum(DELIVERIES_ACCEPTED)::bigint as deliveries_accepted,
    sum(DELIVERIES_PARTIAL)::bigint as deliveries_partial,
    sum(DELIVERIES_HELD)::bigint as deliveries_held,
    sum(DELIVERIES_REJECTED)::bigint as deliveries_rejected,
    sum(ROWS_IN)::bigint as rows_in,
    sum(ROWS_ACCEPTED)::bigint as rows_accepted,
    sum(ROWS_QUARANTINED)::bigint as rows_quarantined,
    sum(ROWS_HELD)::bigint as rows_held
from curated.data_quality
group by grouping sets ((DOMAIN), ())
