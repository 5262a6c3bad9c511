-- Name:   curated.adlb
-- Label:  Laboratory analysis dataset (ADaM BDS): one row per accepted result, numeric, censored or text, with its CTCAE grades
-- Grain:  one row per USUBJID, PARAMCD, LBSPEC, LBDTC, LBTPT, LBREFID
-- Input:  derived.lab_grades, study.protocol
-- Units:  AVAL, AVALLO, AVALHI, ANRLO, ANRHI, BASE, CHG in AVALU; PCHG in %; ADY in days, no day 0; grades 0 to 4
-- Source: ADaM IG, BDS; NCI CTCAE v5.0, up to and including the baseline by limits of normal, after it by an abnormal baseline

with

-- A grade stands when the least and the highest possible one are the same. A result that is too low is not too high, and
-- the other way round. Of creatinine, grade 2 and above stands on the limit or on the baseline alone.
graded as (
    select
        g.*,
        p.baseline_change,
        p.on_treatment_days,
        case
            when not g.IS_JUDGED or g.TERM_LOW is null then null
            when g.LOW_VALUE is null then 'NOT GRADABLE'
            when g.LOW_FROM = g.LOW_TO or g.HIGH_FROM > 0 then 'CERTAIN'
            when g.LLN is null and g.needs_lln then 'NOT GRADABLE'
            else 'INDETERMINATE'
        end as CERT_LOW,
        case
            when not g.IS_JUDGED or g.TERM_HIGH is null then null
            when g.HIGH_VALUE is null then 'NOT GRADABLE'
            when g.base_when = 'ANY' and not g.IS_EARLY and g.ULN is null and g.BASE_NUM is null
                then 'NOT GRADABLE'
            when g.base_when = 'ANY' and not g.IS_EARLY and g.ULN is null
                then case when g.BASE_FROM = g.BASE_TO and g.BASE_FROM >= 2 then 'CERTAIN' else 'NOT GRADABLE' end
            when g.base_when = 'ANY' and not g.IS_EARLY and g.BASE_NUM is null
                then case when g.ULN_FROM = g.ULN_TO and g.ULN_FROM >= 2 then 'CERTAIN' else 'NOT GRADABLE' end
            when g.HIGH_FROM = g.HIGH_TO or g.LOW_FROM > 0 then 'CERTAIN'
            when g.ULN is null and g.needs_uln and not coalesce(g.IS_ABNORMAL_BASE, false)
                then 'NOT GRADABLE'
            else 'INDETERMINATE'
        end as CERT_HIGH
    from derived.lab_grades as g
    cross join study.protocol as p
),

decided as (
    select
        *,
        case when CERT_LOW = 'CERTAIN' then case when HIGH_FROM > 0 then 0 else LOW_FROM end end as ATOXGRL,
        case when CERT_HIGH = 'CERTAIN' then case when LOW_FROM > 0 then 0 else HIGH_FROM end end as ATOXGRH,
        case
            when CERT_HIGH is null or HIGH_VALUE is null then null
            when LOW_FROM > 0 then 0
            when ULN_FROM = ULN_TO then ULN_FROM
        end as ATOXGRHU,
        case when CERT_LOW is not null and LOW_VALUE is not null then LOW_FROM end as ATOXLLO,
        case when CERT_LOW is not null and LOW_VALUE is not null then case when HIGH_FROM > 0 then 0 else LOW_TO end end as ATOXLHI,
        case when CERT_HIGH is not null and HIGH_VALUE is not null then HIGH_FROM end as ATOXHLO,
        case when CERT_HIGH is not null and HIGH_VALUE is not null then case when LOW_FROM > 0 then 0 else HIGH_TO end end as ATOXHHI,
        case
            when 'NOT GRADABLE' in (CERT_LOW, CERT_HIGH) then 'NOT GRADABLE'
            when 'INDETERMINATE' in (CERT_LOW, CERT_HIGH) then 'INDETERMINATE'
            else coalesce(CERT_LOW, CERT_HIGH)
        end as TOXCERT
    from graded
),

-- Grades of the baseline record beside each record, and the grade by which records of a subject are compared: where it
-- cannot be told, the least that it may be, unless that is none.
beside as (
    select
        *,
        any_value(ATOXGRL) filter (where IS_BASELINE) over own as BTOXGRL,
        any_value(ATOXGRH) filter (where IS_BASELINE) over own as BTOXGRH,
        coalesce(ATOXGRL, nullif(ATOXLLO, 0)) as AT_LEAST_LOW,
        coalesce(ATOXGRH, nullif(ATOXHLO, 0)) as AT_LEAST_HIGH,
        case
            when IS_BASELINE or (baseline_change = 'post_baseline' and not IS_AFTER) then null
            else (AVAL - BASE)::decimal(20, 8)
        end as CHG,
        case
            when
                ADT >= TRTSDT
                and not PREDOSE
                and (TRTEDT is null or on_treatment_days is null or ADT <= TRTEDT + on_treatment_days)
                then 'Y'
        end as ONTRTFL
    from decided
    window own as (partition by USUBJID, LBTESTCD, LBSPEC)
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
    ONTRTFL,
    PENDFL,
    case when IS_AFTER then BNRIND || ' to ' || ANRIND end as SHIFT1,
    case when IS_AFTER then BTOXGRL || ' to ' || ATOXGRL end as SHIFT2,
    case when IS_AFTER then BTOXGRH || ' to ' || ATOXGRH end as SHIFT3,
    case when IS_JUDGED then TERM_LOW end as ATOXDSCL,
    case when IS_JUDGED then TERM_HIGH end as ATOXDSCH,
    ATOXGRL,
    ATOXGRH,
    ATOXGRHU,
    ATOXLLO,
    ATOXLHI,
    ATOXHLO,
    ATOXHHI,
    BTOXGRL,
    BTOXGRH,
    case when TOXCERT is not null then '5.0' end as TOXVER,
    TOXCERT,
    -- Grade 3 or 4 on either scale, and worse than at baseline on that scale: above an abnormal baseline everything is,
    -- and so is every such grade where the baseline's is not known.
    case
        when
            not IS_EARLY
            and (
                (ATOXLLO >= 3 and ATOXLLO > coalesce(BTOXGRL, 0))
                or (ATOXHLO >= 3 and (coalesce(IS_ABNORMAL_BASE, false) or ATOXHLO > coalesce(BTOXGRH, 0)))
                or (ATOXHLO is not null and ULN_FROM >= 3 and ULN_FROM > coalesce(BTOXGRH, 0))
            )
            then 'Y'
    end as WORSEFL,
    -- The first of the worst results on treatment.
    case
        when
            ONTRTFL = 'Y'
            and AT_LEAST_LOW is not null
            and row_number() over (
                partition by USUBJID, LBTESTCD, ONTRTFL order by AT_LEAST_LOW desc nulls last, POSITION asc, LBSPEC asc
            ) = 1
            then 'Y'
    end as WGRLFL,
    case
        when
            ONTRTFL = 'Y'
            and AT_LEAST_HIGH is not null
            and row_number() over (
                partition by USUBJID, LBTESTCD, ONTRTFL order by AT_LEAST_HIGH desc nulls last, POSITION asc, LBSPEC asc
            ) = 1
            then 'Y'
    end as WGRHFL,
    LBSPEC,
    LBDTC,
    LBTPT,
    LBREFID,
    SRC_SHA256,
    SRC_ROW
from beside
