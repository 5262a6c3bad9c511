-- Name:   cross.rs
-- Label:  What the rules across domains look at: disease activity that arrived, beside the site's other records
-- Grain:  one row per SITEID, SRC_SHA256, SRC_ROW
-- Input:  arrived.rs, cross.subjects, cross.visits
-- Units:  DAYS_FROM_VISIT in days
-- Source: expectations/cross/rs

with

sites as (select distinct SITEID from "cross".visits)

select
    r.*,
    yes_no(d.USUBJID is not null) as SUBJECT_KNOWN,
    yes_no(iso_date(r.RSDTC) > d.death) as AFTER_DEATH,
    yes_no(iso_date(r.RSDTC) < d.consent) as BEFORE_CONSENT,
    case
        when s.SITEID is not null and r.VISITNUM is not null then yes_no(v.USUBJID is not null)
    end as VISIT_IN_SV,
    greatest(v.first_day - iso_date(r.RSDTC), iso_date(r.RSDTC) - v.last_day, 0) as DAYS_FROM_VISIT
from arrived.rs as r
left join "cross".subjects as d on r.SITEID = d.SITEID and r.USUBJID = d.USUBJID
left join sites as s on r.SITEID = s.SITEID
left join "cross".visits as v
    on r.SITEID = v.SITEID and r.USUBJID = v.USUBJID and exact_number(r.VISITNUM) = v.number
