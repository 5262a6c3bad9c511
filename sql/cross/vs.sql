-- Name:   cross.vs
-- Label:  What the rules across domains look at: vital signs that arrived, beside the site's other records
-- Grain:  one row per SITEID, SRC_SHA256, SRC_ROW
-- Input:  arrived.vs, cross.subjects, cross.visits, reference.vital_units
-- Units:  DAYS_FROM_VISIT in days, WEIGHT_SHARE of the subject's own median, HEIGHT_OFF in cm
-- Source: expectations/cross/vs

with

-- Weight and height in the unit that limits of plausibility are given in.
measured as (
    select
        r.SITEID,
        r.USUBJID,
        r.VSTESTCD,
        r.SRC_SHA256,
        r.SRC_ROW,
        approximate(r.VSORRES) * cast(u.factor as double) + cast(u.addend as double) as value
    from arrived.vs as r
    inner join reference.vital_units as u on r.VSTESTCD = u.VSTESTCD and r.VSORRESU = u.unit
    where r.VSTESTCD in ('WEIGHT', 'HEIGHT')
),

-- What is usual for each subject, where there are at least three measurements to say so.
usual as (
    select
        SITEID,
        USUBJID,
        VSTESTCD,
        median(value) as middle
    from measured
    group by SITEID, USUBJID, VSTESTCD
    having count(value) >= 3
),

sites as (select distinct SITEID from "cross".visits)

select
    r.*,
    yes_no(d.USUBJID is not null) as SUBJECT_KNOWN,
    yes_no(iso_date(r.VSDTC) > d.death) as AFTER_DEATH,
    yes_no(iso_date(r.VSDTC) < d.consent) as BEFORE_CONSENT,
    case
        when s.SITEID is not null and r.VISITNUM is not null then yes_no(v.USUBJID is not null)
    end as VISIT_IN_SV,
    greatest(v.first_day - iso_date(r.VSDTC), iso_date(r.VSDTC) - v.last_day, 0) as DAYS_FROM_VISIT,
    case when m.VSTESTCD = 'WEIGHT' and n.middle > 0 then m.value / n.middle end as WEIGHT_SHARE,
    case when m.VSTESTCD = 'HEIGHT' then m.value - n.middle end as HEIGHT_OFF
from arrived.vs as r
left join "cross".subjects as d on r.SITEID = d.SITEID and r.USUBJID = d.USUBJID
left join sites as s on r.SITEID = s.SITEID
left join "cross".visits as v
    on r.SITEID = v.SITEID and r.USUBJID = v.USUBJID and exact_number(r.VISITNUM) = v.number
left join measured as m on r.SITEID = m.SITEID and r.SRC_SHA256 = m.SRC_SHA256 and r.SRC_ROW = m.SRC_ROW
left join usual as n on m.SITEID = n.SITEID and m.USUBJID = n.USUBJID and m.VSTESTCD = n.VSTESTCD
