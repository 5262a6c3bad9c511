-- Name:   curated.advs
-- Label:  Vital signs analysis dataset (ADaM BDS)
-- Grain:  one row per USUBJID, PARAMCD, VSDTC, VSPOS, VSTPT, VSSEQ
-- Input:  accepted.vs, curated.adsl, reference.vital_units, study.protocol, study.visits
-- Units:  AVAL, BASE, CHG in AVALU (C, kg, cm, mmHg, beats/min …); ADY in days, no day 0
-- Source: ADaM IG, BDS; baseline = last on or before the first dose, of the same position and time point where there is one

with

-- Each text is read once, however many records hold it.
dates as (
    select
        VSDTC,
        iso_date(VSDTC) as ADT,
        iso_datetime(VSDTC) as ADTM
    from (select distinct VSDTC from accepted.vs) as texts
),

sequences as (
    select
        VSSEQ,
        whole_number(VSSEQ) as SEQ
    from (select distinct VSSEQ from accepted.vs) as texts
),

times as (
    select
        VSTPT,
        coalesce(regexp_matches(VSTPT, '(?i)post'), false) as SAYS_AFTER
    from (select distinct VSTPT from accepted.vs) as texts
),

visit_numbers as (
    select
        VISITNUM,
        try_cast(exact_number(VISITNUM) as decimal(10, 2)) as VISIT_NUMBER
    from (select distinct VISITNUM from accepted.vs) as texts
),

results as (
    select
        texts.*,
        u.check_unit as AVALU,
        try((exact_number(texts.VSORRES) * exact_number(u.factor) + exact_number(u.addend))::decimal(20, 8)) as AVAL
    from (select distinct VSTESTCD, VSORRES, VSORRESU from accepted.vs) as texts
    left join reference.vital_units as u on texts.VSTESTCD = u.VSTESTCD and texts.VSORRESU = u.unit
),

measured as (
    select
        vs.*,
        coalesce(vs.VSTEST, vs.VSTESTCD) || coalesce(' (' || r.AVALU || ')', '') as PARAM,
        r.AVALU,
        r.AVAL,
        d.ADT,
        d.ADTM,
        q.SEQ,
        t.SAYS_AFTER,
        n.VISIT_NUMBER,
        v.AVISIT,
        v.week as AVISITN,
        s.TRTSDT,
        s.TRTSDTM,
        s.TRTEDT,
        p.on_treatment_days
    from accepted.vs as vs
    cross join study.protocol as p
    left join results as r
        on
            vs.VSTESTCD = r.VSTESTCD
            and vs.VSORRES is not distinct from r.VSORRES
            and vs.VSORRESU is not distinct from r.VSORRESU
    left join dates as d on vs.VSDTC = d.VSDTC
    left join sequences as q on vs.VSSEQ = q.VSSEQ
    left join times as t on vs.VSTPT is not distinct from t.VSTPT
    left join visit_numbers as n on vs.VISITNUM = n.VISITNUM
    left join study.visits as v on vs.VISIT = v.VISIT
    left join curated.adsl as s on vs.USUBJID = s.USUBJID
),

-- Vital signs of the dosing day without a time are taken as pre-dose unless the time point says otherwise.
timed as (
    select
        *,
        before_dose(ADT, ADTM, TRTSDT, TRTSDTM, not SAYS_AFTER) as PREDOSE,
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

-- One record per subject, sign, position, time point and planned visit: the last measured one.
analysed as (
    select
        USUBJID,
        VSTESTCD,
        max(POSITION) as POSITION
    from timed
    where AVAL is not null and AVISIT is not null
    group by USUBJID, VSTESTCD, VSPOS, VSTPT, AVISIT
),

compared as (
    select
        t.*,
        n.POSITION is not null as IS_ANALYSED,
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
    left join analysed as n on t.USUBJID = n.USUBJID and t.VSTESTCD = n.VSTESTCD and t.POSITION = n.POSITION
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
    VISIT_NUMBER as VISITNUM,
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
    case when IS_ANALYSED then 'Y' end as ANL01FL,
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
