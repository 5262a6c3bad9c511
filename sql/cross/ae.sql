-- Name:   cross.ae
-- Label:  What the rules across domains look at: adverse events that arrived, beside the site's other records
-- Grain:  one row per SITEID, SRC_SHA256, SRC_ROW
-- Input:  arrived.ae, arrived.dm
-- Units:  none
-- Source: expectations/cross/ae

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
    yes_no(iso_earliest(r.AESTDTC) > d.death) as AFTER_DEATH,
    case when r.AESDTH = 'Y' or r.AEOUT = 'FATAL' then yes_no(coalesce(d.dead, false)) end as FATAL_KNOWN
from arrived.ae as r
left join subjects as d on r.SITEID = d.SITEID and r.USUBJID = d.USUBJID
