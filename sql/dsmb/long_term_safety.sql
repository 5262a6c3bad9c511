-- Name:   dsmb.long_term_safety
-- Label:  Long-term safety before the infusion and in each year after it, all arms pooled
-- Grain:  one row per PARCAT1, PARAMCD, year
-- Input:  curated.adeg, curated.adlb, curated.adsl, curated.adxr, curated.data_quality, curated.visit_data, reference.t_quantiles, study.analytes, study.assessments, study.visits
-- Units:  statistics in AVALU; counts of dosed subjects and of rows
-- Source: layout of Wang 2017 (six years after UC-MSC); 95 % CI by Student's t; newly abnormal = normal at baseline, outside the limits now

with

-- Before the infusion is year 0; a year after it is a planned visit 52, 104, … weeks from it.
periods as (
    select
        0 as year,
        'Before infusion' as period,
        null::decimal(10, 2) as AVISITN
    union all
    select
        (week / 52)::integer as year,
        'Year ' || (week / 52)::integer as period,
        week as AVISITN
    from study.visits
    where week >= 52 and week % 52 = 0
),

dosed as (
    select
        USUBJID,
        SEX
    from curated.adsl
    where SAFFL = 'Y'
),

-- Readings that the study asks for, or that came.
readings_of as (
    select distinct DOMAIN
    from (
        select DOMAIN from study.assessments
        union all
        select 'EG' as DOMAIN from curated.adeg
        union all
        select 'XR' as DOMAIN from curated.adxr
    ) as named
),

-- What is looked at: the study's tests of three categories, and two readings.
params as (
    select
        'LB' as DOMAIN,
        PARCAT1,
        LBTESTCD as PARAMCD,
        PARAM,
        standard_unit as AVALU,
        SEX
    from study.analytes
    where PARCAT1 in ('BLOOD COUNTS', 'LIVER FUNCTION', 'TUMOR MARKERS')
    union all
    select
        DOMAIN,
        'ECG' as PARCAT1,
        'INTP' as PARAMCD,
        'ECG reading' as PARAM,
        null as AVALU,
        null as SEX
    from readings_of
    where DOMAIN = 'EG'
    union all
    select
        DOMAIN,
        'CHEST RADIOGRAPHY' as PARCAT1,
        'CHESTXR' as PARAMCD,
        'Chest radiography reading' as PARAM,
        null as AVALU,
        null as SEX
    from readings_of
    where DOMAIN = 'XR'
),

-- Of whom a value should be there: before the infusion of every dosed subject, later where the visit asks for it.
asked as (
    select
        p.PARCAT1,
        p.PARAMCD,
        t.year,
        count(distinct case when t.year = 0 then d.USUBJID else v.USUBJID end) as expected
    from params as p
    cross join periods as t
    inner join dosed as d on (p.SEX is null or p.SEX = d.SEX)
    left join curated.visit_data as v
        on
            d.USUBJID = v.USUBJID
            and t.AVISITN = v.AVISITN
            and p.DOMAIN = v.DOMAIN
            and (p.DOMAIN <> 'LB' or p.PARCAT1 = v.PARCAT1)
            and v.EXPFL = 'Y'
    group by p.PARCAT1, p.PARAMCD, t.year
),

-- Laboratory records of the periods: the baseline, and the analysis record of each year.
placed as (
    select
        lb.USUBJID,
        lb.PARCAT1,
        lb.PARAMCD,
        t.year,
        lb.AVAL,
        lb.CHG,
        lb.ANRIND,
        lb.BNRIND,
        lb.AVALLO is not null and case when t.year = 0 then lb.ABLFL = 'Y' else lb.ANL01FL = 'Y' end as IS_USED
    from curated.adlb as lb
    inner join dosed as d on lb.USUBJID = d.USUBJID
    inner join periods as t on lb.AVISITN = t.AVISITN or (t.year = 0 and (lb.ABLFL = 'Y' or lb.AVISITN <= 0))
    where lb.PARCAT1 in ('BLOOD COUNTS', 'LIVER FUNCTION', 'TUMOR MARKERS')
),

-- Means first: the deviations of the second pass are taken from them, exactly.
averaged as (
    select
        *,
        case when IS_USED then AVAL end as USED,
        case when IS_USED and year > 0 then CHG end as USED_CHG,
        (sum(USED) over this / count(USED) over this)::decimal(20, 8) as AVAL_MEAN,
        (sum(USED_CHG) over this / count(USED_CHG) over this)::decimal(20, 8) as CHG_MEAN
    from placed
    window this as (partition by PARCAT1, PARAMCD, year)
),

laboratory as (
    select
        PARCAT1,
        PARAMCD,
        year,
        count(distinct USUBJID) as received,
        count(distinct case when IS_USED then USUBJID end) as gradable,
        count(USED) as n,
        any_value(AVAL_MEAN) as mean,
        standard_deviation(try((USED - AVAL_MEAN) * (USED - AVAL_MEAN))) as sd,
        count(USED_CHG) as chg_n,
        any_value(CHG_MEAN) as chg_mean,
        standard_deviation(try((USED_CHG - CHG_MEAN) * (USED_CHG - CHG_MEAN))) as chg_sd,
        count(*) filter (where IS_USED and year > 0 and BNRIND = 'NORMAL' and ANRIND is not null) as normal_before,
        count(*) filter (where IS_USED and year > 0 and BNRIND = 'NORMAL' and ANRIND = 'LOW') as newly_low,
        count(*) filter (where IS_USED and year > 0 and BNRIND = 'NORMAL' and ANRIND = 'HIGH') as newly_high
    from averaged
    group by PARCAT1, PARAMCD, year
),

-- All readings of a period: of several at one visit, none hides another.
readings as (
    select
        r.PARCAT1,
        r.PARAMCD,
        t.year,
        r.USUBJID,
        r.AVALC,
        r.NEWCSFL
    from (
        select 'ECG' as PARCAT1, PARAMCD, USUBJID, AVISITN, ABLFL, AVALC, NEWCSFL
        from curated.adeg
        where PARAMCD = 'INTP'
        union all
        select 'CHEST RADIOGRAPHY' as PARCAT1, PARAMCD, USUBJID, AVISITN, ABLFL, AVALC, NEWCSFL
        from curated.adxr
    ) as r
    inner join dosed as d on r.USUBJID = d.USUBJID
    inner join periods as t on r.AVISITN = t.AVISITN or (t.year = 0 and r.ABLFL = 'Y')
),

read as (
    select
        PARCAT1,
        PARAMCD,
        year,
        count(distinct USUBJID) as received,
        count(distinct USUBJID) filter (where AVALC <> 'CANNOT TELL') as gradable,
        count(distinct USUBJID) filter (where starts_with(AVALC, 'ABNORMAL')) as n_abnormal,
        count(distinct USUBJID) filter (where AVALC = 'ABNORMAL CS') as n_significant,
        count(distinct USUBJID) filter (where NEWCSFL = 'Y') as newly_significant,
        count(distinct USUBJID) filter (where NEWCSFL = 'U') as cannot_tell
    from readings
    group by PARCAT1, PARAMCD, year
),

-- Rows that could not be counted here, over all sites.
missing_rows as (
    select
        DOMAIN,
        sum(ROWS_QUARANTINED) as rows_quarantined,
        sum(ROWS_HELD) as rows_held
    from curated.data_quality
    group by DOMAIN
),

-- Half the width of the confidence interval; beyond 200 degrees of freedom by the next smaller one listed.
quantiles as (
    select
        df::bigint as df,
        t975::double as t975
    from reference.t_quantiles
),

widths as (
    select
        l.PARCAT1,
        l.PARAMCD,
        l.year,
        (q.t975 * l.chg_sd::double / sqrt(l.chg_n))::decimal(20, 8) as half
    from laboratory as l
    asof inner join quantiles as q on l.chg_n - 1 >= q.df
)

select
    p.PARCAT1,
    p.PARAMCD,
    p.PARAM,
    p.AVALU,
    t.year,
    t.period,
    a.expected,
    coalesce(l.received, r.received, 0) as received,
    coalesce(l.gradable, r.gradable, 0) as gradable,
    case when p.DOMAIN = 'LB' then coalesce(l.n, 0) end as n,
    l.mean,
    l.sd,
    case when p.DOMAIN = 'LB' and t.year > 0 then coalesce(l.chg_n, 0) end as chg_n,
    l.chg_mean,
    l.chg_sd,
    (l.chg_mean - w.half)::decimal(20, 8) as chg_lower,
    (l.chg_mean + w.half)::decimal(20, 8) as chg_upper,
    case when p.DOMAIN = 'LB' and t.year > 0 then coalesce(l.normal_before, 0) end as normal_before,
    case when p.DOMAIN = 'LB' and t.year > 0 then coalesce(l.newly_low, 0) end as newly_low,
    case when p.DOMAIN = 'LB' and t.year > 0 then coalesce(l.newly_high, 0) end as newly_high,
    case when p.DOMAIN = 'LB' and t.year > 0 then coalesce(l.newly_low + l.newly_high, 0) end as newly_abnormal,
    case when p.DOMAIN <> 'LB' then coalesce(r.n_abnormal, 0) end as n_abnormal,
    case when p.DOMAIN <> 'LB' then coalesce(r.n_significant, 0) end as n_significant,
    case when p.DOMAIN <> 'LB' and t.year > 0 then coalesce(r.newly_significant, 0) end as newly_significant,
    case when p.DOMAIN <> 'LB' and t.year > 0 then coalesce(r.cannot_tell, 0) end as cannot_tell,
    coalesce(m.rows_quarantined, 0)::bigint as rows_quarantined,
    coalesce(m.rows_held, 0)::bigint as rows_held
from params as p
cross join periods as t
left join asked as a on p.PARCAT1 = a.PARCAT1 and p.PARAMCD = a.PARAMCD and t.year = a.year
left join laboratory as l on p.PARCAT1 = l.PARCAT1 and p.PARAMCD = l.PARAMCD and t.year = l.year
left join widths as w on p.PARCAT1 = w.PARCAT1 and p.PARAMCD = w.PARAMCD and t.year = w.year
left join read as r on p.PARCAT1 = r.PARCAT1 and p.PARAMCD = r.PARAMCD and t.year = r.year
left join missing_rows as m on p.DOMAIN = m.DOMAIN
