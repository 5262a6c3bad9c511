-- Name:   cross.subjects
-- Label:  What demographics say of each subject, for the models beside it
-- Grain:  one row per SITEID, USUBJID
-- Input:  arrived.dm
-- Units:  none
-- Source: rows in force

select
    SITEID,
    USUBJID,
    max(iso_latest(DTHDTC)) as death,
    min(iso_earliest(DTHDTC)) as death_earliest,
    bool_or(coalesce(DTHFL = 'Y', false) or DTHDTC is not null) as dead,
    min(iso_date(RFICDTC)) as consent,
    min(iso_date(RFSTDTC)) as first_day,
    max(SEX) as sex
from arrived.dm
group by SITEID, USUBJID
