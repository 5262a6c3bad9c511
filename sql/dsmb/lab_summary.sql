-- Name:   dsmb.lab_summary
-- Label:  Laboratory results and change from baseline by test and visit, all arms pooled
-- Grain:  one row per PARAMCD, AVALU, AVISITN, AVISIT
-- Input:  curated.adlb, curated.data_quality
-- Units:  statistics in AVALU; counts of subjects and of rows
-- Source: analysis records (ANL01FL = Y) with a numeric value; sums in DECIMAL, so that no order of adding shows

with

-- Means first: the deviations of the second pass are taken from them, exactly.
analysed as (
    select
        *,
        (sum(AVAL) over this / count(AVAL) over this)::decimal(20, 8) as AVAL_MEAN,
        (sum(CHG) over this / count(CHG) over this)::decimal(20, 8) as CHG_MEAN
    from curated.adlb
    where ANL01FL = 'Y' and AVALLO is not null
    window this as (partition by PARAMCD, AVALU, AVISITN, AVISIT)
),

squared as (
    select
        *,
        try((AVAL - AVAL_MEAN) * (AVAL - AVAL_MEAN)) as AVAL_SQUARE,
        try((CHG - CHG_MEAN) * (CHG - CHG_MEAN)) as CHG_SQUARE
    from analysed
),

-- Laboratory rows that could not be counted here, over all sites and tests.
missing_rows as (
    select
        coalesce(sum(ROWS_QUARANTINED), 0)::bigint as rows_quarantined,
        coalesce(sum(ROWS_HELD), 0)::bigint as rows_held
    from curated.data_quality
    where DOMAIN = 'LB'
)

select
    s.PARAMCD,
    min(s.PARAM) as PARAM,
    min(s.PARCAT1) as PARCAT1,
    s.AVALU,
    s.AVISIT,
    s.AVISITN,
    count(s.AVAL) as n,
    any_value(s.AVAL_MEAN) as mean,
    standard_deviation(s.AVAL_SQUARE) as sd,
    median(s.AVAL)::decimal(20, 8) as median,
    min(s.AVAL) as min,
    max(s.AVAL) as max,
    count(s.CHG) as chg_n,
    any_value(s.CHG_MEAN) as chg_mean,
    standard_deviation(s.CHG_SQUARE) as chg_sd,
    median(s.CHG)::decimal(20, 8) as chg_median,
    min(s.CHG) as chg_min,
    max(s.CHG) as chg_max,
    count(*) - count(s.AVAL) as n_censored,
    any_value(m.rows_quarantined) as rows_quarantined,
    any_value(m.rows_held) as rows_held
from squared as s
cross join missing_rows as m
group by s.PARAMCD, s.AVALU, s.AVISIT, s.AVISITN
