-- Name:   curated.data_quality
-- Label:  What became of every row a site sent, by site and domain
-- Grain:  one row per SITEID, DOMAIN
-- Input:  site.deliveries, site.held
-- Units:  counts of deliveries and rows
-- Source: decided deliveries, superseded ones included; held rows of the data in force

with

held as (
    select
        SITEID,
        DOMAIN,
        count(*) as ROWS_HELD
    from site.held
    group by SITEID, DOMAIN
)

select
    d.STUDYID,
    d.SITEID,
    d.DOMAIN,
    count(*) as DELIVERIES,
    count(*) filter (where d.STATUS = 'ACCEPTED') as DELIVERIES_ACCEPTED,
    count(*) filter (where d.STATUS = 'PARTIAL') as DELIVERIES_PARTIAL,
    count(*) filter (where d.STATUS = 'HELD') as DELIVERIES_HELD,
    count(*) filter (where d.STATUS = 'REJECTED') as DELIVERIES_REJECTED,
    coalesce(sum(d.ROWS_IN), 0)::bigint as ROWS_IN,
    coalesce(sum(d.ACCEPTED), 0)::bigint as ROWS_ACCEPTED,
    coalesce(sum(d.QUARANTINED), 0)::bigint as ROWS_QUARANTINED,
    coalesce(any_value(held.ROWS_HELD), 0)::bigint as ROWS_HELD
from site.deliveries as d
left join held on d.SITEID = held.SITEID and d.DOMAIN = held.DOMAIN
group by d.STUDYID, d.SITEID, d.DOMAIN
