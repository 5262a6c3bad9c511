-- Name:   cross.sites
-- Label:  What the rules on whole sites look at: how far a site's data reach, what has come due since, and how much it sends
-- Grain:  one row per SITEID
-- Input:  arrived.dm, arrived.ds, site.reach, study.protocol, study.visits
-- Units:  DAYS_SILENT in days; VISITS_DUE in visits; LAB_SHARE of what sites usually send per visit
-- Source: expectations/cross/sites

with

treated as (
    select
        SITEID,
        USUBJID,
        min(iso_date(RFSTDTC)) as first_day,
        bool_or(coalesce(DTHFL = 'Y', false) or DTHDTC is not null) as dead
    from arrived.dm
    group by SITEID, USUBJID
),

-- Subjects of whom no visit is expected any more. Completing the screening ends nothing.
gone as (
    select distinct
        d.SITEID,
        d.USUBJID
    from arrived.ds as d
    cross join study.protocol as p
    where list_contains(p.leaves_study, d.DSCAT) and not (d.DSDECOD = 'COMPLETED' and coalesce(d.EPOCH, '') = 'SCREENING')
),

-- Planned visits whose window closed after a site's newest data and before the newest data of the study.
due as (
    select
        t.SITEID,
        count(*) as visits
    from treated as t
    inner join site.reach as w on t.SITEID = w.SITEID
    cross join study.visits as v
    cross join study.protocol as p
    anti join gone as g on t.SITEID = g.SITEID and t.USUBJID = g.USUBJID
    where
        not t.dead and v.expected = 'Y'
        and t.first_day + v.day + v.after > iso_date(w.LAST_DATE) and t.first_day + v.day + v.after < p.as_of
    group by t.SITEID
),

volume as (
    select
        SITEID,
        LB_ROWS / SV_ROWS as per_visit
    from site.reach
    where SV_ROWS >= 10 and LB_ROWS is not null
),

usual as (
    select
        median(per_visit) as middle,
        count(*) as sites
    from volume
)

select
    w.SITEID,
    coalesce(d.visits, 0) as VISITS_DUE,
    p.as_of - iso_date(w.LAST_DATE) as DAYS_SILENT,
    case when u.sites >= 3 and u.middle > 0 then n.per_visit / u.middle end as LAB_SHARE
from site.reach as w
cross join study.protocol as p
cross join usual as u
left join due as d on w.SITEID = d.SITEID
left join volume as n on w.SITEID = n.SITEID
