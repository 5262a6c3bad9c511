-- Name:   cross.ds
-- Label:  What the rules across domains look at: disposition that arrived, beside the site's other records
-- Grain:  one row per SITEID, SRC_SHA256, SRC_ROW
-- Input:  arrived.dm, arrived.ds
-- Units:  none
-- Source: expectations/cross/ds

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
    yes_no(iso_earliest(r.DSSTDTC) > d.death) as AFTER_DEATH,
    yes_no(coalesce(regexp_matches(concat_ws(' ', r.DSDECOD, r.DSTERM), '(?i)\b(death|died|fatal)\b'), false)) as DEATH
from arrived.ds as r
left join subjects as d on r.SITEID = d.SITEID and r.USUBJID = d.USUBJID
