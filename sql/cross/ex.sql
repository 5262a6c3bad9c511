-- Name:   cross.ex
-- Label:  What the rules across domains look at: exposure that arrived, beside the site's other records
-- Grain:  one row per SITEID, SRC_SHA256, SRC_ROW
-- Input:  arrived.dm, arrived.ex
-- Units:  none
-- Source: expectations/cross/ex

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
    yes_no(iso_date(r.EXSTDTC) > d.death) as AFTER_DEATH,
    yes_no(iso_date(r.EXSTDTC) < d.consent) as BEFORE_CONSENT,
    case
        when iso_date(r.EXSTDTC) = min(iso_date(r.EXSTDTC)) over (partition by r.SITEID, r.USUBJID)
            then yes_no(iso_date(r.EXSTDTC) = d.first_day)
    end as FIRST_DOSE_AGREES
from arrived.ex as r
left join subjects as d on r.SITEID = d.SITEID and r.USUBJID = d.USUBJID
