-- Name:   dsmb.enrolment
-- Label:  Enrolment and disposition by site, all arms pooled; SITEID ALL is the whole study
-- Grain:  one row per SITEID
-- Input:  curated.adsl, curated.data_quality, study.protocol, study.sites
-- Units:  counts of subjects and of rows
-- Source: curated.adsl; planned_subjects of the protocol, for the whole study only

with

by_site as (
    select
        site.SITEID,
        count(s.USUBJID) as screened,
        count(*) filter (where s.SCRFFL = 'Y') as screen_failures,
        count(*) filter (where s.SAFFL = 'Y') as dosed,
        count(*) filter (where s.EOSSTT = 'COMPLETED') as completed,
        count(*) filter (where s.EOSSTT = 'DISCONTINUED') as discontinued,
        count(*) filter (where s.EOSSTT = 'ONGOING') as ongoing,
        count(*) filter (where s.DTHFL = 'Y') as deaths
    from study.sites as site
    left join curated.adsl as s on site.SITEID = s.SITEID
    group by site.SITEID
),

-- Demography rows that could not be counted here.
missing_rows as (
    select
        SITEID,
        sum(ROWS_QUARANTINED) as rows_quarantined,
        sum(ROWS_HELD) as rows_held
    from curated.data_quality
    where DOMAIN = 'DM'
    group by SITEID
)

select
    coalesce(b.SITEID, 'ALL') as SITEID,
    sum(b.screened)::bigint as screened,
    sum(b.screen_failures)::bigint as screen_failures,
    sum(b.dosed)::bigint as dosed,
    sum(b.completed)::bigint as completed,
    sum(b.discontinued)::bigint as discontinued,
    sum(b.ongoing)::bigint as ongoing,
    sum(b.deaths)::bigint as deaths,
    case when grouping(b.SITEID) = 1 then any_value(p.planned_subjects) end as planned_subjects,
    coalesce(sum(m.rows_quarantined), 0)::bigint as rows_quarantined,
    coalesce(sum(m.rows_held), 0)::bigint as rows_held
from by_site as b
cross join study.protocol as p
left join missing_rows as m on b.SITEID = m.SITEID
group by grouping sets ((b.SITEID), ())
