-- Name:   cross.dm
-- Label:  What the rules across domains look at: demographics that arrived, beside the site's other records
-- Grain:  one row per SITEID, SRC_SHA256, SRC_ROW
-- Input:  arrived.ae, arrived.dm, arrived.ds, arrived.ex
-- Units:  none
-- Source: expectations/cross/dm

with

-- Subjects with a fatal event or a death in disposition.
deaths as (
    select
        a.SITEID,
        a.USUBJID
    from arrived.ae as a
    where a.AESDTH = 'Y' or a.AEOUT = 'FATAL'
    union
    select
        d.SITEID,
        d.USUBJID
    from arrived.ds as d
    where coalesce(regexp_matches(concat_ws(' ', d.DSDECOD, d.DSTERM), '(?i)\b(death|died|fatal)\b'), false)
),

dosed as (select distinct SITEID, USUBJID from arrived.ex),

-- First day on which disposition reports a death, and last day that it may mean.
died as (
    select
        d.SITEID,
        d.USUBJID,
        min(iso_earliest(d.DSSTDTC)) as earliest,
        max(iso_latest(d.DSSTDTC)) as latest
    from arrived.ds as d
    where coalesce(regexp_matches(concat_ws(' ', d.DSDECOD, d.DSTERM), '(?i)\b(death|died|fatal)\b'), false)
    group by d.SITEID, d.USUBJID
),

failed as (
    select distinct
        SITEID,
        USUBJID
    from arrived.ds
    where DSDECOD = 'SCREEN FAILURE'
),

reported as (
    select SITEID from arrived.ae
    union
    select SITEID from arrived.ds
)

select
    r.*,
    case
        when s.SITEID is not null and (coalesce(r.DTHFL = 'Y', false) or r.DTHDTC is not null) then yes_no(d.USUBJID is not null)
    end as DEATH_HAS_EVENT,
    case when d.USUBJID is not null then yes_no(coalesce(r.DTHFL = 'Y', false) or r.DTHDTC is not null) end as DEATH_FLAGGED,
    case when e.USUBJID is not null then yes_no(r.RFSTDTC is not null) end as DOSE_AGREES,
    yes_no(iso_earliest(r.DTHDTC) <= o.latest and iso_latest(r.DTHDTC) >= o.earliest) as DEATH_DATES_AGREE,
    case when f.USUBJID is not null then yes_no(e.USUBJID is not null) end as FAILED_BUT_DOSED
from arrived.dm as r
left join deaths as d on r.SITEID = d.SITEID and r.USUBJID = d.USUBJID
left join dosed as e on r.SITEID = e.SITEID and r.USUBJID = e.USUBJID
left join died as o on r.SITEID = o.SITEID and r.USUBJID = o.USUBJID
left join failed as f on r.SITEID = f.SITEID and r.USUBJID = f.USUBJID
left join reported as s on r.SITEID = s.SITEID
