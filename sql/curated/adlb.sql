-- Name:   curated.adlb
-- Label:  Laboratory analysis dataset (ADaM BDS): one row per accepted result, numeric, censored or text
-- Grain:  one row per USUBJID, PARAMCD, LBSPEC, LBDTC, LBTPT, LBREFID
-- Input:  accepted.lb, curated.adsl, reference.units, study.analytes, study.protocol, study.ranges, study.sites, study.visits
-- Units:  AVAL, AVALLO, AVALHI, ANRLO, ANRHI, BASE, CHG in AVALU; PCHG in %; ADY in days, no day 0
-- Source: ADaM IG, BDS; baseline rule of the study; a censored baseline is flagged and leaves BASE NULL

with

-- Cells as numbers and times, in the units of the record.
collected as (
    select
        *,
        iso_date(LBDTC) as ADT,
        iso_datetime(LBDTC) as ADTM,
        whole_number(LBSEQ) as SEQ,
        LBORRES is not null and coalesce(LBSTAT, '') <> 'NOT DONE' as HAS_RESULT,
        censoring(LBORRES) as SIGN,
        reported_number(LBORRES) as NUM,
        exact_number(LBORNRLO) as RECORD_LO,
        exact_number(LBORNRHI) as RECORD_HI
    from accepted.lb
),

-- Limits of the site's laboratory, for records without their own: by sex, age and date, the most specific row.
lab_candidates as (
    select
        record.USUBJID,
        record.LBTESTCD,
        record.LBORRESU,
        record.ADT,
        exact_number(r.LBORNRLO) as LAB_LO,
        exact_number(r.LBORNRHI) as LAB_HI
    from (
        select distinct SITEID, USUBJID, LBTESTCD, LBORRESU, ADT
        from collected
        where RECORD_LO is null and RECORD_HI is null
    ) as record
    inner join study.sites as site on record.SITEID = site.SITEID
    inner join study.ranges as r
        on
            site.lab = r.lab
            and record.LBTESTCD = r.LBTESTCD
            and coalesce(record.LBORRESU, '') = coalesce(r.unit, '')
    left join curated.adsl as subject on record.USUBJID = subject.USUBJID
    where
        (coalesce(r.SEX, '') = '' or r.SEX = subject.SEX)
        and (coalesce(r.age_low, '') = '' or exact_number(r.age_low) <= subject.AGE)
        and (coalesce(r.age_high, '') = '' or exact_number(r.age_high) >= subject.AGE)
        and (coalesce(r.valid_from, '') = '' or iso_date(r.valid_from) <= record.ADT)
        and (coalesce(r.valid_to, '') = '' or iso_date(r.valid_to) >= record.ADT)
    qualify rank() over (
            partition by record.USUBJID, record.LBTESTCD, record.LBORRESU, record.ADT
            order by
                (coalesce(r.SEX, '') <> '')::integer + (coalesce(r.age_low, r.age_high, '') <> '')::integer desc,
                iso_date(r.valid_from) desc nulls last
        ) = 1
),

-- Two rows that fit equally well and disagree give no limits: nothing is guessed.
lab_limits as (
    select
        USUBJID,
        LBTESTCD,
        LBORRESU,
        ADT,
        any_value(LAB_LO) as LAB_LO,
        any_value(LAB_HI) as LAB_HI
    from lab_candidates
    group by USUBJID, LBTESTCD, LBORRESU, ADT
    having count(distinct row(LAB_LO, LAB_HI)) = 1
),

-- The limits in force, still in the record's units; the factor to the study's unit; the subject's first dose.
placed as (
    select
        c.*,
        coalesce(a.PARAM, c.LBTEST, c.LBTESTCD) as PARAM,
        coalesce(a.PARCAT1, 'OTHER') as PARCAT1,
        a.standard_unit,
        u.factor,
        v.AVISIT,
        v.week as AVISITN,
        s.TRTSDT,
        s.TRTSDTM,
        s.TRTEDT,
        coalesce(c.RECORD_LO, l.LAB_LO) as LO,
        coalesce(c.RECORD_HI, l.LAB_HI) as HI,
        case
            when coalesce(c.RECORD_LO, c.RECORD_HI) is not null then 'RECORD'
            when coalesce(l.LAB_LO, l.LAB_HI) is not null then 'LAB'
        end as RANGESRC,
        -- A same-day sample is before the dose when both times say so, or else when time point or visit does.
        before_dose(
            c.ADT,
            c.ADTM,
            s.TRTSDT,
            s.TRTSDTM,
            coalesce(regexp_matches(c.LBTPT, p.baseline_predose), false)
            or coalesce(regexp_matches(c.VISIT, p.baseline_predose), false)
        ) as PREDOSE
    from collected as c
    cross join study.protocol as p
    left join curated.adsl as s on c.USUBJID = s.USUBJID
    left join study.analytes as a on c.LBTESTCD = a.LBTESTCD
    left join reference.units as u
        on
            a.LBTESTCD = u.LBTESTCD
            and c.LBORRESU is not distinct from u.unit
            and a.standard_unit is not distinct from u.standard_unit
    left join study.visits as v on c.VISIT = v.VISIT
    left join lab_limits as l
        on
            c.USUBJID = l.USUBJID
            and c.LBTESTCD = l.LBTESTCD
            and c.LBORRESU is not distinct from l.LBORRESU
            and c.ADT is not distinct from l.ADT
            and c.RECORD_LO is null
            and c.RECORD_HI is null
),

-- Everything in the study's unit.
standardised as (
    select
        *,
        converted(NUM, factor) as VALUE,
        converted(LO, factor) as ANRLO,
        converted(HI, factor) as ANRHI
    from placed
),

-- A censored value is an interval. The indicator is decided over all of it, in the units of the record: rounded
-- conversions move values across limits.
valued as (
    select
        *,
        case when SIGN is null then VALUE end as AVAL,
        case when SIGN in ('<', '<=') and VALUE is not null then 0 else VALUE end::decimal(20, 8) as AVALLO,
        case when SIGN is null or SIGN in ('<', '<=') then VALUE end as AVALHI,
        case when factor is not null then standard_unit end as AVALU,
        case
            when NUM is null or RANGESRC is null then null
            when SIGN is null then case when NUM < LO then 'LOW' when NUM > HI then 'HIGH' else 'NORMAL' end
            when SIGN = '<' and NUM <= LO then 'LOW'
            when SIGN = '<=' and NUM < LO then 'LOW'
            when SIGN = '>' and NUM >= HI then 'HIGH'
            when SIGN = '>=' and NUM > HI then 'HIGH'
            when SIGN in ('<', '<=') and coalesce(LO, 0) <= 0 and coalesce(HI, NUM) >= NUM then 'NORMAL'
            when SIGN in ('>', '>=') and HI is null and NUM >= LO then 'NORMAL'
        end as ANRIND,
        -- Records of one subject, test and specimen in time; a missing time comes first.
        row_number() over (
            partition by USUBJID, LBTESTCD, LBSPEC
            order by
                ADT nulls first, ADTM nulls first, SEQ nulls first, LBDTC nulls first, LBTPT nulls first,
                LBREFID nulls first
        ) as POSITION
    from standardised
),

-- The last record that the study's rule lets be the baseline; a text result only where there is no measured one.
baselines as (
    select
        v.USUBJID,
        v.LBTESTCD,
        v.LBSPEC,
        v.POSITION,
        v.AVAL as BASE,
        v.ANRIND as BNRIND
    from valued as v
    cross join study.protocol as p
    where
        v.HAS_RESULT
        and case p.baseline_rule when 'visit' then v.VISIT = p.baseline_visit else v.PREDOSE end
    qualify row_number() over (
            partition by v.USUBJID, v.LBTESTCD, v.LBSPEC
            order by (v.AVALLO is not null) desc, v.POSITION desc
        ) = 1
),

compared as (
    select
        v.*,
        b.BASE,
        b.BNRIND,
        coalesce(v.POSITION = b.POSITION, false) as IS_BASELINE,
        v.ADT is not null and coalesce(v.POSITION > b.POSITION, false) as IS_AFTER,
        p.baseline_change,
        p.on_treatment_days
    from valued as v
    cross join study.protocol as p
    left join baselines as b
        on
            v.USUBJID = b.USUBJID
            and v.LBTESTCD = b.LBTESTCD
            and v.LBSPEC is not distinct from b.LBSPEC
),

changed as (
    select
        *,
        case
            when IS_BASELINE or (baseline_change = 'post_baseline' and not IS_AFTER) then null
            else (AVAL - BASE)::decimal(20, 8)
        end as CHG
    from compared
)

select
    STUDYID,
    SITEID,
    USUBJID,
    LBTESTCD as PARAMCD,
    PARAM,
    PARCAT1,
    AVISIT,
    AVISITN,
    VISIT,
    try_cast(exact_number(VISITNUM) as decimal(10, 2)) as VISITNUM,
    SEQ as LBSEQ,
    ADT,
    ADTM,
    study_day(ADT, TRTSDT) as ADY,
    AVAL,
    LBORRES as AVALC,
    AVALLO,
    AVALHI,
    AVALU,
    ANRLO,
    ANRHI,
    ANRIND,
    RANGESRC,
    BASE,
    BNRIND,
    CHG,
    case when BASE <> 0 then round(100 * CHG::double / BASE::double, 6) end as PCHG,
    case when BASE > 0 then round(AVAL::double / BASE::double, 6) end as R2BASE,
    case when ANRHI > 0 then round(AVAL::double / ANRHI::double, 6) end as R2ANRHI,
    case when IS_BASELINE then 'Y' end as ABLFL,
    -- One record per subject, test and planned visit: the baseline if it is there, else the last measured one.
    case
        when
            HAS_RESULT
            and AVISIT is not null
            and row_number() over (
                partition by USUBJID, LBTESTCD, AVISIT
                order by
                    HAS_RESULT desc, IS_BASELINE desc, (AVALLO is not null) desc, ADT desc nulls last,
                    ADTM desc nulls last, SEQ desc nulls last, LBDTC desc, LBSPEC desc, LBTPT desc, LBREFID desc
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
    case when IS_AFTER then BNRIND || ' to ' || ANRIND end as SHIFT1,
    LBSPEC,
    LBDTC,
    LBTPT,
    LBREFID,
    SRC_SHA256,
    SRC_ROW
from changed
