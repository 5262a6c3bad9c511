-- Name:   curated.adxr
-- Label:  Chest radiography (ADaM BDS): each reading beside the one before the first dose
-- Grain:  one row per USUBJID, PARAMCD, XRDTC, XRSEQ
-- Input:  accepted.xr, curated.adsl, reference.readings, study.protocol, study.visits
-- Units:  ADY in days, no day 0
-- Source: ADaM IG, BDS; baseline = last on or before the first dose; the same day without a time counts only when called pre-dose

with

read as (
    select
        xr.*,
        iso_date(xr.XRDTC) as ADT,
        iso_datetime(xr.XRDTC) as ADTM,
        whole_number(xr.XRSEQ) as SEQ,
        case
            when xr.XRORRES is not null and coalesce(xr.XRSTAT, '') <> 'NOT DONE' then coalesce(r.reading, 'CANNOT TELL')
        end as READING,
        v.AVISIT,
        v.week as AVISITN,
        s.TRTSDT,
        s.TRTSDTM,
        before_dose(
            iso_date(xr.XRDTC),
            iso_datetime(xr.XRDTC),
            s.TRTSDT,
            s.TRTSDTM,
            case when regexp_matches(xr.VISIT, p.baseline_predose) then true end
        ) as PREDOSE,
        row_number() over (
            partition by xr.USUBJID
            order by
                iso_date(xr.XRDTC) nulls first, iso_datetime(xr.XRDTC) nulls first, whole_number(xr.XRSEQ) nulls first,
                xr.XRDTC nulls first
        ) as POSITION
    from accepted.xr as xr
    cross join study.protocol as p
    left join reference.readings as r on xr.XRORRES = r.result and r.significant is null
    left join study.visits as v on xr.VISIT = v.VISIT
    left join curated.adsl as s on xr.USUBJID = s.USUBJID
),

baselines as (
    select
        USUBJID,
        POSITION,
        READING as BASEC
    from read
    where PREDOSE and READING is not null
    qualify row_number() over (partition by USUBJID order by POSITION desc) = 1
),

compared as (
    select
        r.*,
        b.BASEC,
        coalesce(r.POSITION = b.POSITION, false) as IS_BASELINE,
        r.ADT is not null and coalesce(r.POSITION > b.POSITION, false) as IS_AFTER
    from read as r
    left join baselines as b on r.USUBJID = b.USUBJID
)

select
    STUDYID,
    SITEID,
    USUBJID,
    'CHESTXR' as PARAMCD,
    'Chest Radiography Reading' as PARAM,
    AVISIT,
    AVISITN,
    VISIT,
    try_cast(exact_number(VISITNUM) as decimal(10, 2)) as VISITNUM,
    SEQ as XRSEQ,
    XRDTC,
    ADT,
    ADTM,
    study_day(ADT, TRTSDT) as ADY,
    READING as AVALC,
    XRORRES,
    BASEC,
    case when IS_AFTER then BASEC || ' to ' || READING end as SHIFT1,
    case when TRTSDT is not null then new_finding(READING, BASEC, not PREDOSE) end as NEWCSFL,
    case when IS_BASELINE then 'Y' end as ABLFL,
    -- One reading per subject and planned visit: the baseline if it is there, else the last one.
    case
        when
            READING is not null
            and AVISIT is not null
            and row_number() over (
                partition by USUBJID, AVISIT order by (READING is not null) desc, IS_BASELINE desc, POSITION desc
            ) = 1
            then 'Y'
    end as ANL01FL,
    PENDFL,
    SRC_SHA256,
    SRC_ROW
from compared
