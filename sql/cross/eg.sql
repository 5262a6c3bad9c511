-- Name:   cross.eg
-- Label:  What the rules across domains look at: ECG that arrived, beside the site's other records
-- Grain:  one row per SITEID, SRC_SHA256, SRC_ROW
-- Input:  arrived.eg, cross.subjects, cross.visits
-- Units:  DAYS_FROM_VISIT in days
-- Source: expectations/cross/eg

with

sites as (select distinct SITEID from "cross".visits)

select
    r.*,
    yes_no(d.USUBJID is not null) as SUBJECT_KNOWN,
    yes_no(iso_date(r.EGDTC) > d.death) as AFTER_DEATH,
    yes_no(iso_date(r.EGDTC) < d.consent) as BEFORE_CONSENT,
    case
        when s.SITEID is not null and r.VISITNUM is not null then yes_no(v.USUBJID is not null)
    end as VISIT_IN_SV,
    greatest(v.first_day - iso_date(r.EGDTC), iso_date(r.EGDTC) - v.last_day, 0) as DAYS_FROM_VISIT
from arrived.eg as r
left join "cross".subjects as d on r.SITEID = d.SITEID and r.USUBJID = d.USUBJID
left join sites as s on r.SITEID = s.SITEID
left join "cross".visits as v
    on r.SITEID = v.SITEID and r.USUBJID = v.USUBJID and exact_number(r.VISITNUM) = v.number
