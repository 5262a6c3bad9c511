-- Name:   cross.cm
-- Label:  What the rules across domains look at: concomitant medications that arrived, beside the site's other records
-- Grain:  one row per SITEID, SRC_SHA256, SRC_ROW
-- Input:  arrived.cm, cross.subjects
-- Units:  none
-- Source: expectations/cross/cm

select
    r.*,
    yes_no(d.USUBJID is not null) as SUBJECT_KNOWN,
    yes_no(iso_earliest(r.CMSTDTC) > d.death) as AFTER_DEATH
from arrived.cm as r
left join "cross".subjects as d on r.SITEID = d.SITEID and r.USUBJID = d.USUBJID
