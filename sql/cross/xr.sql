-- Name:   cross.xr
-- Label:  What the rules across domains look at: chest radiography that arrived, beside the site's other records
-- Grain:  one row per SITEID, SRC_SHA256, SRC_ROW
-- Input:  arrived.dm, arrived.sv, arrived.xr
-- Units:  DAYS_FROM_VISIT in days
-- Source: expectations/cross/xr

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
),

-- First and last day of each visit; a site that has sent no visits yet is not asked for one.
visits as (
    select
        SITEID,
        USUBJID,
        exact_number(VISITNUM) as number,
        min(iso_date(SVSTDTC)) as first_day,
        max(greatest(iso_date(SVSTDTC), iso_date(SVENDTC))) as last_day
    from arrived.sv
    group by SITEID, USUBJID, exact_number(VISITNUM)
),

sites as (select distinct SITEID from arrived.sv)

select
    r.*,
    yes_no(d.USUBJID is not null) as SUBJECT_KNOWN,
    yes_no(iso_date(r.XRDTC) > d.death) as AFTER_DEATH,
    case
        when s.SITEID is not null and r.VISITNUM is not null then yes_no(v.USUBJID is not null)
    end as VISIT_IN_SV,
    greatest(v.first_day - iso_date(r.XRDTC), iso_date(r.XRDTC) - v.last_day, 0) as DAYS_FROM_VISIT
from arrived.xr as r
left join subjects as d on r.SITEID = d.SITEID and r.USUBJID = d.USUBJID
left join sites as s on r.SITEID = s.SITEID
left join visits as v
    on r.SITEID = v.SITEID and r.USUBJID = v.USUBJID and exact_number(r.VISITNUM) = v.number
