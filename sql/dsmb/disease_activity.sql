-- Name:   dsmb.disease_activity
-- Label:  SLEDAI with change from baseline, BILAG and responder index by visit, all arms pooled
-- Grain:  one row per AVISITN, AVISIT
-- Input:  curated.adrs, curated.adsl, curated.data_quality, curated.responders, curated.visit_data, study.bilag, study.sledai
-- Units:  statistics in points; counts of dosed subjects and of rows
-- Source: analysis records (ANL01FL = Y); a SLEDAI total that its items contradict is counted apart, not averaged; sums in DECIMAL

with

dosed as (
    select USUBJID
    from curated.adsl
    where SAFFL = 'Y'
),

scores as (
    select
        rs.*,
        coalesce(s.role, '') = 'TOTAL' as IS_TOTAL,
        b.RSTESTCD is not null as IS_BILAG,
        coalesce(rs.ITEMSFL, '') = 'N' as DISPUTED
    from curated.adrs as rs
    inner join dosed as d on rs.USUBJID = d.USUBJID
    left join study.sledai as s on rs.PARAMCD = s.RSTESTCD
    left join study.bilag as b on rs.PARAMCD = b.RSTESTCD
    where rs.AVISIT is not null
),

-- Subjects whose baseline total its items contradict have no change that could be averaged.
disputed_bases as (
    select distinct USUBJID
    from scores
    where IS_TOTAL and DISPUTED and ABLFL = 'Y'
),

-- Means first: the deviations of the second pass are taken from them, exactly.
averaged as (
    select
        s.*,
        case when s.IS_TOTAL and s.ANL01FL = 'Y' and not s.DISPUTED then s.AVAL end as USED,
        case when USED is not null and o.USUBJID is null then s.CHG end as USED_CHG,
        (sum(USED) over this / count(USED) over this)::decimal(20, 8) as AVAL_MEAN,
        (sum(USED_CHG) over this / count(USED_CHG) over this)::decimal(20, 8) as CHG_MEAN
    from scores as s
    left join disputed_bases as o on s.USUBJID = o.USUBJID
    window this as (partition by s.AVISITN, s.AVISIT)
),

measured as (
    select
        AVISIT,
        AVISITN,
        count(distinct USUBJID) as received,
        count(distinct case when USED is not null then USUBJID end) as gradable,
        count(USED) as n,
        any_value(AVAL_MEAN) as mean,
        standard_deviation(try((USED - AVAL_MEAN) * (USED - AVAL_MEAN))) as sd,
        median(USED)::decimal(20, 8) as median,
        count(USED_CHG) as chg_n,
        any_value(CHG_MEAN) as chg_mean,
        standard_deviation(try((USED_CHG - CHG_MEAN) * (USED_CHG - CHG_MEAN))) as chg_sd,
        median(USED_CHG)::decimal(20, 8) as chg_median,
        count(distinct case when IS_TOTAL and DISPUTED then USUBJID end) as disputed,
        count(distinct case when IS_BILAG and ANL01FL = 'Y' and AVALC = 'A' then USUBJID end) as bilag_a,
        count(distinct case when IS_BILAG and ANL01FL = 'Y' and AVALC = 'B' then USUBJID end) as bilag_b
    from averaged
    group by AVISIT, AVISITN
),

responses as (
    select
        AVISIT,
        AVISITN,
        count(*) filter (where AVALC = 'Y') as responders,
        count(*) filter (where AVALC = 'N') as non_responders,
        count(*) filter (where AVALC = 'CANNOT TELL') as cannot_tell,
        count(*) filter (where NEWA > 0) as new_a,
        count(*) filter (where NEWB > 0) as new_b
    from curated.responders
    group by AVISIT, AVISITN
),

asked as (
    select
        AVISIT,
        AVISITN,
        count(*) as expected
    from curated.visit_data
    where DOMAIN = 'RS' and EXPFL = 'Y'
    group by AVISIT, AVISITN
),

-- Rows that could not be counted here, over all sites.
missing_rows as (
    select
        coalesce(sum(ROWS_QUARANTINED), 0)::bigint as rows_quarantined,
        coalesce(sum(ROWS_HELD), 0)::bigint as rows_held
    from curated.data_quality
    where DOMAIN = 'RS'
)

select
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
    coalesce(c.disputed, 0) as disputed,
    coalesce(c.bilag_a, 0) as bilag_a,
    coalesce(c.bilag_b, 0) as bilag_b,
    coalesce(i.new_a, 0) as new_a,
    coalesce(i.new_b, 0) as new_b,
    coalesce(i.responders, 0) as responders,
    coalesce(i.non_responders, 0) as non_responders,
    coalesce(i.cannot_tell, 0) as cannot_tell,
    m.rows_quarantined,
    m.rows_held
from asked as a
full join measured as c on a.AVISIT = c.AVISIT and a.AVISITN = c.AVISITN
left join responses as i on c.AVISIT = i.AVISIT and c.AVISITN = i.AVISITN
cross join missing_rows as m
