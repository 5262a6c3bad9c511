-- Name:   curated.adeg
-- Label:  ECG analysis dataset (ADaM BDS): intervals with baseline and change, and the reading
-- Grain:  one row per USUBJID, PARAMCD, EGDTC, EGTPT, EGSEQ
-- Input:  accepted.eg, curated.adsl, reference.ecg_units, reference.readings, study.protocol, study.visits
-- Units:  AVAL, BASE, CHG in AVALU (msec, beats/min); ADY in days, no day 0
-- Source: ADaM IG, BDS; baseline = last on or before the first dose; the same day without a time counts only when called pre-dose

with

-- Intervals as numbers in one unit; the reading from EGORRES and EGCLSIG together (reference.readings).
read as (
    select
        eg.*,
        iso_date(eg.EGDTC) as ADT,
        iso_datetime(eg.EGDTC) as ADTM,
        whole_number(eg.EGSEQ) as SEQ,
        u.standard_unit as AVALU,
        eg.EGORRES is not null and coalesce(eg.EGSTAT, '') <> 'NOT DONE' as HAS_RESULT,
        case
            when HAS_RESULT then try((exact_number(eg.EGORRES) * exact_number(u.factor))::decimal(20, 8))
        end as AVAL,
        case when eg.EGTESTCD = 'INTP' and HAS_RESULT then coalesce(r.reading, 'CANNOT TELL') end as READING,
        v.AVISIT,
        v.week as AVISITN,
        s.TRTSDT,
        s.TRTSDTM,
        s.TRTEDT,
        p.on_treatment_days,
        p.baseline_predose
    from accepted.eg as eg
    cross join study.protocol as p
    left join reference.ecg_units as u on eg.EGTESTCD = u.EGTESTCD and eg.EGORRESU = u.unit
    left join reference.readings as r
        on
            eg.EGORRES = r.result
            and case when eg.EGCLSIG in ('Y', 'N') then eg.EGCLSIG end is not distinct from r.significant
    left join study.visits as v on eg.VISIT = v.VISIT
    left join curated.adsl as s on eg.USUBJID = s.USUBJID
),

-- Before the dose or not; on the day itself without a time that is unknown unless time point or visit says so.
timed as (
    select
        *,
        before_dose(
            ADT,
            ADTM,
            TRTSDT,
            TRTSDTM,
            case
                when regexp_matches(EGTPT, baseline_predose) or regexp_matches(VISIT, baseline_predose) then true
                when regexp_matches(EGTPT, '(?i)post|after') then false
            end
        ) as PREDOSE,
        row_number() over (
            partition by USUBJID, EGTESTCD
            order by ADT nulls first, ADTM nulls first, SEQ nulls first, EGDTC nulls first, EGTPT nulls first
        ) as POSITION
    from read
),

baselines as (
    select
        USUBJID,
        EGTESTCD,
        POSITION,
        AVAL as BASE,
        READING as BASEC
    from timed
    where PREDOSE and (AVAL is not null or READING is not null)
    qualify row_number() over (partition by USUBJID, EGTESTCD order by POSITION desc) = 1
),

compared as (
    select
        t.*,
        b.BASE,
        b.BASEC,
        coalesce(t.POSITION = b.POSITION, false) as IS_BASELINE,
        t.ADT is not null and coalesce(t.POSITION > b.POSITION, false) as IS_AFTER
    from timed as t
    left join baselines as b on t.USUBJID = b.USUBJID and t.EGTESTCD = b.EGTESTCD
)

select
    STUDYID,
    SITEID,
    USUBJID,
    EGTESTCD as PARAMCD,
    coalesce(EGTEST, EGTESTCD) || coalesce(' (' || AVALU || ')', '') as PARAM,
    AVISIT,
    AVISITN,
    VISIT,
    try_cast(exact_number(VISITNUM) as decimal(10, 2)) as VISITNUM,
    SEQ as EGSEQ,
    EGTPT,
    EGDTC,
    ADT,
    ADTM,
    study_day(ADT, TRTSDT) as ADY,
    AVAL,
    coalesce(READING, EGORRES) as AVALC,
    AVALU,
    EGORRES,
    EGCLSIG,
    BASE,
    BASEC,
    case when IS_AFTER then (AVAL - BASE)::decimal(20, 8) end as CHG,
    case when IS_AFTER then BASEC || ' to ' || READING end as SHIFT1,
    case when TRTSDT is not null then new_finding(READING, BASEC, not PREDOSE) end as NEWCSFL,
    case when IS_BASELINE then 'Y' end as ABLFL,
    -- One record per subject, test and planned visit: the baseline if it is there, else the last one with a result.
    case
        when
            (AVAL is not null or READING is not null)
            and AVISIT is not null
            and row_number() over (
                partition by USUBJID, EGTESTCD, AVISIT
                order by (AVAL is not null or READING is not null) desc, IS_BASELINE desc, POSITION desc
            ) = 1
            then 'Y'
    end as ANL01FL,
    case
        when
            ADT >= TRTSDT
            and not PREDOSE
            and (TRTEDT is null or on_treatment_days is null or ADT <= TRTEDT + on_treatment_days)
            then 'Y'
    end as ONTRTFL,
    PENDFL,
    SRC_SHA256,
    SRC_ROW
from compared
