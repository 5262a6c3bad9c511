-- Name:   cross.ae
-- Label:  What the rules across domains look at: adverse events that arrived, beside the site's other records
-- Grain:  one row per SITEID, SRC_SHA256, SRC_ROW
-- Input:  arrived.ae, cross.subjects
-- Units:  none
-- Source: expectations/cross/ae

select
    r.*,
    yes_no(d.USUBJID is not null) as SUBJECT_KNOWN,
    yes_no(iso_earliest(r.AESTDTC) > d.death) as AFTER_DEATH,
    yes_no(iso_latest(r.AESTDTC) < d.consent) as BEFORE_CONSENT,
    case when r.AESDTH = 'Y' or r.AEOUT = 'FATAL' then yes_no(coalesce(d.dead, false)) end as FATAL_KNOWN
from arrived.ae as r
left join "cross".subjects as d on r.SITEID = d.SITEID and r.USUBJID = d.USUBJID
