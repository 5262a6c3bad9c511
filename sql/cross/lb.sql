-- Name:   cross.lb
-- Label:  What the rules across domains look at: laboratory results that arrived, beside the site's other records
-- Grain:  one row per SITEID, SRC_SHA256, SRC_ROW
-- Input:  arrived.lb, cross.subjects, cross.visits, reference.check_units, reference.own_history, reference.units
-- Units:  DAYS_FROM_VISIT in days; OWN_CHANGE, CHANGE_LIMIT: times or parts of the subject's own median
-- Source: expectations/cross/lb

with

-- Results in the unit that limits of plausibility are given in, of tests with a limit to their change.
measured as (
    select
        r.SITEID,
        r.USUBJID,
        r.LBTESTCD,
        coalesce(r.LBSPEC, '') as specimen,
        r.SRC_SHA256,
        r.SRC_ROW,
        cast(o.fold as double) as fold,
        cast(o.slip as double) as slip,
        approximate(r.LBORRES) * cast(u.factor as double) as value
    from arrived.lb as r
    inner join reference.own_history as o on r.LBTESTCD = o.LBTESTCD
    inner join reference.check_units as c on r.LBTESTCD = c.LBTESTCD
    inner join reference.units as u
        on r.LBTESTCD = u.LBTESTCD and r.LBORRESU = u.unit and c.check_unit = u.standard_unit
),

-- What is usual for each subject, where there are at least four results to say so.
usual as (
    select
        SITEID,
        USUBJID,
        LBTESTCD,
        specimen,
        median(value) as middle
    from measured
    where value > 0
    group by SITEID, USUBJID, LBTESTCD, specimen
    having count(*) >= 4
),

changes as (
    select
        m.SITEID,
        m.SRC_SHA256,
        m.SRC_ROW,
        m.fold,
        m.slip,
        greatest(m.value / u.middle, u.middle / m.value) as change
    from measured as m
    inner join usual as u
        on m.SITEID = u.SITEID and m.USUBJID = u.USUBJID and m.LBTESTCD = u.LBTESTCD and m.specimen = u.specimen
    where m.value > 0
),

sites as (select distinct SITEID from "cross".visits)

select
    r.*,
    yes_no(d.USUBJID is not null) as SUBJECT_KNOWN,
    yes_no(iso_date(r.LBDTC) > d.death) as AFTER_DEATH,
    yes_no(iso_date(r.LBDTC) < d.consent) as BEFORE_CONSENT,
    case
        when s.SITEID is not null and r.VISITNUM is not null then yes_no(v.USUBJID is not null)
    end as VISIT_IN_SV,
    greatest(v.first_day - iso_date(r.LBDTC), iso_date(r.LBDTC) - v.last_day, 0) as DAYS_FROM_VISIT,
    h.change as OWN_CHANGE,
    h.fold as CHANGE_LIMIT,
    -- A power of ten, within 40 percent, that no living person's own results differ by.
    yes_no(h.change >= h.slip * 0.6 and abs(log10(h.change) - round(log10(h.change))) < 0.15) as DECIMAL_SLIP,
    case when r.LBTESTCD = 'PSA' then d.sex end as PSA_SEX
from arrived.lb as r
left join "cross".subjects as d on r.SITEID = d.SITEID and r.USUBJID = d.USUBJID
left join sites as s on r.SITEID = s.SITEID
left join "cross".visits as v
    on r.SITEID = v.SITEID and r.USUBJID = v.USUBJID and exact_number(r.VISITNUM) = v.number
left join changes as h on r.SITEID = h.SITEID and r.SRC_SHA256 = h.SRC_SHA256 and r.SRC_ROW = h.SRC_ROW
