-- Name:   cross.cm
-- Label:  What the rules across domains look at: concomitant medications that arrived, beside the site's other records
-- Grain:  one row per SITEID, SRC_SHA256, SRC_ROW
-- Input:  arrived.cm, arrived.dm
-- Units:  none
-- Source: expectations/cross/cm

with

subjects as (
    select
        SITEID,
        USUBJID,
        max(iso_latest(DTHDTC)) as death,
        bool_or(coalesce(DTHFL = 'Y', false) or DTHDTC is not null) as dead,
        min(iso_date(RFICDTC)) as consent,
        min(iso_date(RFSTDTC)) as first_day
    from arrived.dm
    group by SITEID, USUBJID
)

select
    r.*,
    yes_no(d.USUBJID is not null) as SUBJECT_KNOWN,
    yes_no(iso_earliest(r.CMSTDTC) > d.death) as AFTER_DEATH
from arrived.cm as r
left join subjects as d on r.SITEID = d.SITEID and r.USUBJID = d.USUBJID
