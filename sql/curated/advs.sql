-- Name:   curated.advs
-- Label:  Vital signs analysis dataset (ADaM BDS)
-- Grain:  one row per USUBJID, PARAMCD, VSDTC, VSPOS, VSTPT, VSSEQ
-- Input:  accepted.vs, curated.adsl, reference.vital_units, study.protocol, study.visits
-- Units:  AVAL, BASE, CHG in AVALU (C, kg, cm, mmHg, beats/min …); ADY in days, no day 0
-- Source: ADaM IG, BDS; baseline = last on or before the first dose, of the same position and time point where there is one

with

measured as (
    select
        vs.*,
        coalesce(vs.VSTEST, vs.VSTESTCD) || coalesce(' (' || u.check_unit || ')', '') as PARAM,
        u.check_unit as AVALU,
        iso_date(vs.VSDTC) as ADT,
        iso_datetime(vs.VSDTC) as ADTM,
        whole_number(vs.VSSEQ) as SEQ,
        try((exact_number(vs.VSORRES) * exact_number(u.factor) + exact_number(u.addend))::decimal(20, 8)) as AVAL,
        v.AVISIT,
        v.week as AVISITN,
        s.TRTSDT,
        s.TRTSDTM,
        s.TRTEDT,
        p.on_treatment_days
    from accepted.vs as vs
    cross join study.protocol as p
    left join reference.vital_units as u on vs.VSTESTCD = u.VSTESTCD and vs.VSORRESU = u.unit
    left join study.visits as v on vs.VISIT = v.VISIT
    left join curated.adsl as s on vs.USUBJID = s.USUBJID
),

-- Vital signs of the dosing day without a time are taken as pre-dose unless the time point says otherwise.
timed as (
    select
        *,
        before_dose(ADT, ADTM, TRTSDT, TRTSDTM, not coalesce(regexp_matches(VSTPT, '(?i)post'), false)) as PREDOSE,
        row_number() over (
            partition by USUBJID, VSTESTCD
            order by
                ADT nulls first, ADTM nulls first, SEQ nulls first, VSDTC nulls first, VSTPT nulls first,
                VSPOS nulls first
        ) as POSITION
    from measured
),

baselines as (
    select
        USUBJID,
        VSTESTCD,
        VSPOS,
        VSTPT,
        POSITION,
        AVAL as BASE
    from timed
    where PREDOSE and AVAL is not null
    qualify row_number() over (partition by USUBJID, VSTESTCD, VSPOS, VSTPT order by POSITION desc) = 1
),

-- For a time point that has no record before the dose: the last one in the same position.
fallback as (
    select *
    from baselines
    qualify row_number() over (partition by USUBJID, VSTESTCD, VSPOS order by POSITION desc) = 1
),

compared as (
    select
        t.*,
        coalesce(own.BASE, other.BASE) as BASE,
        coalesce(own.POSITION, other.POSITION) as BASE_POSITION
    from timed as t
    left join baselines as own
        on
            t.USUBJID = own.USUBJID
            and t.VSTESTCD = own.VSTESTCD
            and t.VSPOS is not distinct from own.VSPOS
            and t.VSTPT is not distinct from own.VSTPT
    left join fallback as other
        on
            t.USUBJID = other.USUBJID
            and t.VSTESTCD = other.VSTESTCD
            and t.VSPOS is not distinct from other.VSPOS
)

select
    STUDYID,
    SITEID,
    USUBJID,
    VSTESTCD as PARAMCD,
    PARAM,
    AVISIT,
    AVISITN,
    VISIT,
    try_cast(exact_number(VISITNUM) as decimal(10, 2)) as VISITNUM,
    SEQ as VSSEQ,
    VSPOS,
    VSLOC,
    VSTPT,
    VSDTC,
    ADT,
    ADTM,
    study_day(ADT, TRTSDT) as ADY,
    AVAL,
    VSORRES as AVALC,
    AVALU,
    BASE,
    case when ADT is not null and POSITION > BASE_POSITION then (AVAL - BASE)::decimal(20, 8) end as CHG,
    case when POSITION = BASE_POSITION then 'Y' end as ABLFL,
    -- One record per subject, sign, position, time point and planned visit: the last measured one.
    case
        when
            AVAL is not null
            and AVISIT is not null
            and row_number() over (
                partition by USUBJID, VSTESTCD, VSPOS, VSTPT, AVISIT order by (AVAL is not null) desc, POSITION desc
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
