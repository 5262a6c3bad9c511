-- Name:   cross.mh
-- Label:  What the rules across domains look at: medical history that arrived, beside the site's other records
-- Grain:  one row per SITEID, SRC_SHA256, SRC_ROW
-- Input:  arrived.mh, cross.subjects
-- Units:  none
-- Source: expectations/cross/mh

select
    r.*,
    yes_no(d.USUBJID is not null) as SUBJECT_KNOWN,
    yes_no(iso_earliest(r.MHSTDTC) > d.death) as AFTER_DEATH
from arrived.mh as r
left join "cross".subjects as d on r.SITEID = d.SITEID and r.USUBJID = d.USUBJID
