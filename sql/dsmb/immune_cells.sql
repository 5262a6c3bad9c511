-- Name:   dsmb.immune_cells
-- Label:  Immune cells, immunoglobulins and complement with change from baseline by visit, all arms pooled
-- Grain:  one row per PARAMCD, AVISITN, AVISIT
-- Input:  curated.adlb, curated.adsl, curated.data_quality, curated.visit_data, study.analytes, study.immune_cells
-- Units:  statistics in AVALU; counts of dosed subjects and of rows
-- Source: tests of safety.activity; analysis records (ANL01FL = Y) with a numeric value; sums in DECIMAL

with

dosed as (
    select USUBJID
    from curated.adsl
    where SAFFL = 'Y'
),

tests as (
    select
        i.LBTESTCD as PARAMCD,
        a.PARAM,
        a.PARCAT1,
        a.standard_unit as AVALU
    from study.immune_cells as i
    inner join study.analytes as a on i.LBTESTCD = a.LBTESTCD
),

-- Means first: the deviations of the second pass are taken from them, exactly.
analysed as (
    select
        lb.*,
        lb.AVALLO is not null and coalesce(lb.ANL01FL, '') = 'Y' as IS_USED,
        case when IS_USED then lb.AVAL end as USED,
        case when IS_USED then lb.CHG end as USED_CHG,
        (sum(USED) over this / count(USED) over this)::decimal(20, 8) as AVAL_MEAN,
        (sum(USED_CHG) over this / count(USED_CHG) over this)::decimal(20, 8) as CHG_MEAN
    from curated.adlb as lb
    inner join dosed as d on lb.USUBJID = d.USUBJID
    inner join tests as t on lb.PARAMCD = t.PARAMCD
    where lb.AVISIT is not null
    window this as (partition by lb.PARAMCD, lb.AVISITN, lb.AVISIT)
),

measured as (
    select
        PARAMCD,
        AVISIT,
        AVISITN,
        count(distinct USUBJID) as received,
        count(distinct case when IS_USED then USUBJID end) as gradable,
        count(USED) as n,
        any_value(AVAL_MEAN) as mean,
        standard_deviation(try((USED - AVAL_MEAN) * (USED - AVAL_MEAN))) as sd,
        median(USED)::decimal(20, 8) as median,
        count(USED_CHG) as chg_n,
        any_value(CHG_MEAN) as chg_mean,
        standard_deviation(try((USED_CHG - CHG_MEAN) * (USED_CHG - CHG_MEAN))) as chg_sd,
        median(USED_CHG)::decimal(20, 8) as chg_median
    from analysed
    group by PARAMCD, AVISIT, AVISITN
),

asked as (
    select
        t.PARAMCD,
        v.AVISIT,
        v.AVISITN,
        count(*) as expected
    from curated.visit_data as v
    inner join tests as t on v.PARCAT1 = t.PARCAT1
    where v.DOMAIN = 'LB' and v.EXPFL = 'Y'
    group by t.PARAMCD, v.AVISIT, v.AVISITN
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
    t.PARAMCD,
    t.PARAM,
    t.AVALU,
    coalesce(a.AVISIT, c.AVISIT) as AVISIT,
    coalesce(a.AVISITN, c.AVISITN) as AVISITN,
    coalesce(a.expected, 0) as expected,
    coalesce(c.received, 0) as received,
    coalesce(c.gradable, 0) as gradable,
    coalesce(c.n, 0) as n,
    c.mean,
    c.sd,
    c.median,
    coalesce(c.chg_n, 0) as chg_n,
    c.chg_mean,
    c.chg_sd,
    c.chg_median,
    m.rows_quarantined,
    m.rows_held
from asked as a
full join measured as c on a.PARAMCD = c.PARAMCD and a.AVISIT = c.AVISIT and a.AVISITN = c.AVISITN
inner join tests as t on coalesce(a.PARAMCD, c.PARAMCD) = t.PARAMCD
cross join missing_rows as m
