-- Name:   curated.liver_peaks
-- Label:  Peaks of the liver's results on or after the first dose, in multiples of the limit (eDISH) and of baseline (mDISH)
-- Grain:  one row per USUBJID
-- Input:  derived.liver, study.liver
-- Units:  _ULN are multiples of the upper limit of normal, _BASE of the own baseline; days between in days
-- Source: hep-explorer: peaks from any dates, with the days between them; cut-offs of safety.liver of the study

with

results as (
    select
        l.STUDYID,
        l.SITEID,
        l.USUBJID,
        l.PARAMCD,
        l.ADT,
        l.FIRST_DAY,
        l.OF_ULN,
        l.OF_BASE,
        l.LOW,
        l.HIGH,
        l.SIGN,
        l.ANRHI,
        l.BASE,
        case when l.IS_TRANSAMINASE then 'TRANSAMINASE' else l.PARAMCD end as TEST,
        case when l.IS_TRANSAMINASE then cut.edish_transaminase else cut.edish_bilirubin end as EDISH,
        case when l.IS_TRANSAMINASE then cut.mdish_transaminase else cut.mdish_bilirubin end as MDISH
    from derived.liver as l
    cross join study.liver as cut
    where l.PARAMCD in ('ALT', 'AST', 'ALP', 'BILI')
),

-- The earliest result of the highest multiple, by test; a censored one counts by the bound that is known.
on_limit as (
    select *
    from results
    where OF_ULN is not null
    qualify row_number() over (
            partition by USUBJID, PARAMCD
            order by OF_ULN desc, FIRST_DAY asc, ADT asc nulls last
        ) = 1
),

on_baseline as (
    select *
    from results
    where OF_BASE is not null
    qualify row_number() over (
            partition by USUBJID, PARAMCD
            order by OF_BASE desc, FIRST_DAY asc, ADT asc nulls last
        ) = 1
),

peaks as (
    select
        USUBJID,
        max(OF_ULN) filter (where PARAMCD = 'ALT') as ALT_ULN,
        max(OF_ULN) filter (where PARAMCD = 'AST') as AST_ULN,
        max(OF_ULN) filter (where PARAMCD = 'ALP') as ALP_ULN,
        max(OF_ULN) filter (where PARAMCD = 'BILI') as BILI_ULN,
        max(ADT) filter (where PARAMCD = 'ALT') as ALTDT,
        max(ADT) filter (where PARAMCD = 'AST') as ASTDT,
        max(ADT) filter (where PARAMCD = 'ALP') as ALPDT,
        max(ADT) filter (where PARAMCD = 'BILI') as BILIDT
    from on_limit
    group by USUBJID
),

peaks_of_baseline as (
    select
        USUBJID,
        max(OF_BASE) filter (where PARAMCD = 'ALT') as ALT_BASE,
        max(OF_BASE) filter (where PARAMCD = 'AST') as AST_BASE,
        max(OF_BASE) filter (where PARAMCD = 'ALP') as ALP_BASE,
        max(OF_BASE) filter (where PARAMCD = 'BILI') as BILI_BASE,
        max(ADT) filter (where PARAMCD = 'ALT') as ALTBDT,
        max(ADT) filter (where PARAMCD = 'AST') as ASTBDT,
        max(ADT) filter (where PARAMCD = 'ALP') as ALPBDT,
        max(ADT) filter (where PARAMCD = 'BILI') as BILIBDT
    from on_baseline
    group by USUBJID
),

-- Whether a subject ever reached the cut-offs, over the whole interval of every result.
reached as (
    select
        USUBJID,
        any_value(STUDYID) as STUDYID,
        any_value(SITEID) as SITEID,
        TEST,
        any_is(reaches(LOW, HIGH, SIGN, EDISH * ANRHI)) as ON_LIMIT,
        any_is(reaches(LOW, HIGH, SIGN, MDISH * BASE)) as ON_BASELINE,
        count(*) as RESULTS,
        count(*) filter (where OF_ULN is null) as UNJUDGED
    from results
    group by USUBJID, TEST
),

subjects as (
    select
        USUBJID,
        any_value(STUDYID) as STUDYID,
        any_value(SITEID) as SITEID,
        bool_or(ON_LIMIT) filter (where TEST = 'TRANSAMINASE') as TRANSAMINASE,
        bool_or(ON_LIMIT) filter (where TEST = 'BILI') as BILIRUBIN,
        bool_or(ON_BASELINE) filter (where TEST = 'TRANSAMINASE') as TRANSAMINASE_B,
        bool_or(ON_BASELINE) filter (where TEST = 'BILI') as BILIRUBIN_B,
        sum(RESULTS)::integer as RESULTS,
        sum(UNJUDGED)::integer as UNJUDGED
    from reached
    group by USUBJID
)

select
    s.STUDYID,
    s.SITEID,
    s.USUBJID,
    p.ALT_ULN,
    p.ALTDT,
    p.AST_ULN,
    p.ASTDT,
    p.ALP_ULN,
    p.ALPDT,
    p.BILI_ULN,
    p.BILIDT,
    -- From the higher peak of ALT and AST to that of bilirubin; negative when bilirubin was first.
    (
        p.BILIDT - case when p.AST_ULN is null or p.ALT_ULN >= p.AST_ULN then p.ALTDT else p.ASTDT end
    )::integer as DAYS_ULN,
    case
        when s.TRANSAMINASE and s.BILIRUBIN then 'POSSIBLE HY''S LAW'
        when s.BILIRUBIN and not s.TRANSAMINASE then 'HYPERBILIRUBINEMIA'
        when s.TRANSAMINASE and not s.BILIRUBIN then 'TEMPLE''S COROLLARY'
        when not s.TRANSAMINASE and not s.BILIRUBIN then 'NORMAL'
        else 'CANNOT TELL'
    end as EDISH,
    b.ALT_BASE,
    b.ALTBDT,
    b.AST_BASE,
    b.ASTBDT,
    b.ALP_BASE,
    b.ALPBDT,
    b.BILI_BASE,
    b.BILIBDT,
    (
        b.BILIBDT - case when b.AST_BASE is null or b.ALT_BASE >= b.AST_BASE then b.ALTBDT else b.ASTBDT end
    )::integer as DAYS_BASE,
    case
        when s.TRANSAMINASE_B and s.BILIRUBIN_B then 'POSSIBLE HY''S LAW'
        when s.BILIRUBIN_B and not s.TRANSAMINASE_B then 'HYPERBILIRUBINEMIA'
        when s.TRANSAMINASE_B and not s.BILIRUBIN_B then 'TEMPLE''S COROLLARY'
        when not s.TRANSAMINASE_B and not s.BILIRUBIN_B then 'NORMAL'
        else 'CANNOT TELL'
    end as MDISH,
    s.RESULTS,
    s.UNJUDGED
from subjects as s
left join peaks as p on s.USUBJID = p.USUBJID
left join peaks_of_baseline as b on s.USUBJID = b.USUBJID
