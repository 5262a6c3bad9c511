-- Name:   cross.sv
-- Label:  What the rules across domains look at: subject visits that arrived, beside the site's other records
-- Grain:  one row per SITEID, SRC_SHA256, SRC_ROW
-- Input:  arrived.lb, arrived.sv, cross.subjects, study.visits
-- Units:  DAYS_OUTSIDE in days; LAB_SHARE of what is usual
-- Source: expectations/cross/sv

with

-- Planned visits in their order, with the day of the planned visit before.
planned as (
    select
        sv.SITEID,
        sv.USUBJID,
        sv.SRC_SHA256,
        sv.SRC_ROW,
        w.VISITNUM as number,
        w.day,
        w.before,
        w.after,
        iso_date(sv.SVSTDTC) as attended,
        max(iso_date(sv.SVSTDTC)) over (
            partition by sv.SITEID, sv.USUBJID
            order by w.VISITNUM groups between unbounded preceding and 1 preceding
        ) as earlier,
        count(distinct iso_date(sv.SVSTDTC)) over (partition by sv.SITEID, sv.USUBJID, w.VISITNUM) as dates
    from arrived.sv as sv
    inner join study.visits as w on sv.VISIT = w.VISIT
),

results as (
    select
        SITEID,
        USUBJID,
        exact_number(VISITNUM) as number,
        count(*) as n
    from arrived.lb
    group by SITEID, USUBJID, exact_number(VISITNUM)
),

-- How many results a visit usually has at the site, where three subjects or more have been there.
usual as (
    select
        p.SITEID,
        p.number,
        median(coalesce(n.n, 0)) as middle
    from planned as p
    left join results as n on p.SITEID = n.SITEID and p.USUBJID = n.USUBJID and p.number = n.number
    group by p.SITEID, p.number
    having count(distinct p.USUBJID) >= 3
),

newest as (
    select
        SITEID,
        max(attended) as newest_day
    from planned
    group by SITEID
)

select
    r.*,
    yes_no(d.USUBJID is not null) as SUBJECT_KNOWN,
    yes_no(iso_date(r.SVSTDTC) > d.death) as AFTER_DEATH,
    yes_no(iso_date(r.SVSTDTC) < d.consent) as BEFORE_CONSENT,
    yes_no(p.attended < p.earlier) as OUT_OF_ORDER,
    yes_no(p.dates > 1) as TWICE,
    greatest(
        d.first_day + p.day - case when p.day > 0 then 1 else 0 end - p.before - p.attended,
        p.attended - (d.first_day + p.day - case when p.day > 0 then 1 else 0 end + p.after),
        0
    ) as DAYS_OUTSIDE,
    -- Results may still be on their way: only visits that lie 60 days behind the site's newest one are judged.
    case
        when u.middle > 0 and p.attended <= w.newest_day - 60 then coalesce(n.n, 0) / u.middle
    end as LAB_SHARE
from arrived.sv as r
left join "cross".subjects as d on r.SITEID = d.SITEID and r.USUBJID = d.USUBJID
left join planned as p on r.SITEID = p.SITEID and r.SRC_SHA256 = p.SRC_SHA256 and r.SRC_ROW = p.SRC_ROW
left join results as n on p.SITEID = n.SITEID and p.USUBJID = n.USUBJID and p.number = n.number
left join usual as u on p.SITEID = u.SITEID and p.number = u.number
left join newest as w on p.SITEID = w.SITEID
