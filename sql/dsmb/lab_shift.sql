-- Name:   dsmb.lab_shift
-- Label:  Laboratory results low, normal and high against baseline, by reference range and by the study's own threshold, all arms pooled
-- Grain:  one row per PARAMCD, criterion, AVISITN, AVISIT, BNRIND
-- Input:  curated.adlb, curated.adsl, curated.adsv, curated.data_quality, study.lab_period, study.lab_threshold, study.visits
-- Units:  counts of dosed subjects and of rows
-- Source: curated.adlb; multiples of the limits, period and pick from safety.laboratory of the study; AVISIT Post-baseline is that period

with

period as (
    select
        p.unscheduled,
        p.pick,
        v.week as LAST_WEEK,
        v.day + v.after as LAST_DAY
    from study.lab_period as p
    left join study.visits as v on p.until = v.AVISIT
),

-- Results of dosed subjects against both criteria. The reference range is 1 x its limits, and its indicator is ANRIND;
-- the study's threshold is given as multiples. A planned visit after baseline has a week above 0.
results as (
    select
        r.USUBJID,
        r.PARAMCD,
        r.AVISIT,
        r.AVISITN,
        r.ADT,
        r.ADTM,
        r.LBSEQ,
        r.ABLFL,
        r.ANL01FL,
        r.AVALLO is not null as MEASURED,
        r.ANRIND as BY_RANGE,
        excess(r.AVALLO, r.AVALHI, r.ANRLO, r.ANRHI, 1, 1) as OVER_RANGE,
        beyond_limits(
            r.AVALLO, r.AVALHI, censoring(r.AVALC), r.ANRLO, r.ANRHI, t.times_lln, t.times_uln
        ) as BY_STUDY,
        excess(r.AVALLO, r.AVALHI, r.ANRLO, r.ANRHI, t.times_lln, t.times_uln) as OVER_STUDY,
        case
            when r.AVISIT is not null
                then r.AVISITN > 0 and v.expected = 'Y' and coalesce(r.AVISITN <= p.LAST_WEEK, true)
            else p.unscheduled and r.ONTRTFL = 'Y' and coalesce(r.ADY <= p.LAST_DAY, true)
        end as IN_PERIOD
    from curated.adlb as r
    inner join curated.adsl as s on r.USUBJID = s.USUBJID and s.SAFFL = 'Y'
    left join study.visits as v on r.VISIT = v.VISIT
    left join period as p on true
    left join study.lab_threshold as t on true
    where r.AVALC is not null
),

-- Of a test in two specimens the more extreme baseline counts.
baselines as (
    select
        USUBJID,
        PARAMCD,
        most_extreme(BY_RANGE, OVER_RANGE) as BY_RANGE,
        most_extreme(BY_STUDY, OVER_STUDY) as BY_STUDY
    from results
    where ABLFL = 'Y'
    group by USUBJID, PARAMCD
),

-- One record per subject, test and visit; and one for the period, the most extreme of its results or the last.
shown as (
    select
        USUBJID,
        PARAMCD,
        AVISIT,
        AVISITN,
        MEASURED,
        BY_RANGE,
        BY_STUDY
    from results
    where ANL01FL = 'Y'
    union all
    select
        r.USUBJID,
        r.PARAMCD,
        'Post-baseline' as AVISIT,
        null as AVISITN,
        bool_or(r.MEASURED) as MEASURED,
        case
            when any_value(p.pick) = 'last'
                then
                    last(r.BY_RANGE order by r.ADT asc nulls first, r.ADTM asc nulls first, r.LBSEQ asc nulls first)
                    filter (where p.pick = 'last')
            else most_extreme(r.BY_RANGE, r.OVER_RANGE)
        end as BY_RANGE,
        case
            when any_value(p.pick) = 'last'
                then
                    last(r.BY_STUDY order by r.ADT asc nulls first, r.ADTM asc nulls first, r.LBSEQ asc nulls first)
                    filter (where p.pick = 'last')
            else most_extreme(r.BY_STUDY, r.OVER_STUDY)
        end as BY_STUDY
    from results as r
    cross join period as p
    where r.IN_PERIOD
    group by r.USUBJID, r.PARAMCD
),

-- Visits of dosed subjects that took place or should have; one in the period is enough for the period.
planned as (
    select
        v.USUBJID,
        v.AVISIT,
        v.AVISITN
    from curated.adsv as v
    inner join curated.adsl as s on v.USUBJID = s.USUBJID and s.SAFFL = 'Y'
    where v.AVISIT is not null and (v.VISSTAT is null or v.VISSTAT not in ('UPCOMING', 'NOT EXPECTED'))
),

due as (
    select distinct
        USUBJID,
        AVISIT
    from planned
    union all
    select distinct
        pl.USUBJID,
        'Post-baseline' as AVISIT
    from planned as pl
    left join period as p on true
    where pl.AVISITN > 0 and coalesce(pl.AVISITN <= p.LAST_WEEK, true)
),

due_counts as (
    select
        AVISIT,
        count(*) as n
    from due
    group by AVISIT
),

-- Both criteria are counted together first: few rows are left to lay out.
tallied as (
    select
        s.PARAMCD,
        s.AVISIT,
        s.AVISITN,
        s.BY_RANGE,
        s.BY_STUDY,
        b.BY_RANGE as BASE_BY_RANGE,
        b.BY_STUDY as BASE_BY_STUDY,
        count(*) as n,
        count(*) filter (where s.MEASURED) as measured,
        count(*) filter (where d.USUBJID is null) as not_due
    from shown as s
    left join baselines as b on s.USUBJID = b.USUBJID and s.PARAMCD = b.PARAMCD
    left join due as d on s.USUBJID = d.USUBJID and s.AVISIT = d.AVISIT
    group by s.PARAMCD, s.AVISIT, s.AVISITN, s.BY_RANGE, s.BY_STUDY, b.BY_RANGE, b.BY_STUDY
),

laid_out as (
    select
        PARAMCD,
        'REFERENCE RANGE' as criterion,
        AVISIT,
        AVISITN,
        coalesce(BASE_BY_RANGE, 'NOT KNOWN') as BNRIND,
        BY_RANGE as INDICATOR,
        n,
        measured,
        not_due
    from tallied
    union all
    select
        c.PARAMCD,
        'STUDY THRESHOLD' as criterion,
        c.AVISIT,
        c.AVISITN,
        coalesce(c.BASE_BY_STUDY, 'NOT KNOWN') as BNRIND,
        c.BY_STUDY as INDICATOR,
        c.n,
        c.measured,
        c.not_due
    from tallied as c
    cross join study.lab_threshold
),

counted as (
    select
        PARAMCD,
        criterion,
        AVISIT,
        AVISITN,
        BNRIND,
        sum(n) as subjects,
        coalesce(sum(n) filter (where INDICATOR is not null), 0) as judged,
        coalesce(sum(n) filter (where INDICATOR = 'LOW'), 0) as low,
        coalesce(sum(n) filter (where INDICATOR = 'NORMAL'), 0) as normal,
        coalesce(sum(n) filter (where INDICATOR = 'HIGH'), 0) as high,
        sum(measured) as measured,
        sum(not_due) as not_due
    from laid_out
    group by PARAMCD, criterion, AVISIT, AVISITN, BNRIND
),

parameters as (
    select
        PARAMCD,
        min(PARAM) as PARAM,
        min(PARCAT1) as PARCAT1
    from curated.adlb
    group by PARAMCD
),

-- Laboratory rows that could not be counted here, over all sites and tests.
missing_rows as (
    select
        coalesce(sum(ROWS_QUARANTINED), 0)::bigint as rows_quarantined,
        coalesce(sum(ROWS_HELD), 0)::bigint as rows_held
    from curated.data_quality
    where DOMAIN = 'LB'
)

-- expected, received and gradable are those of the visit, whatever the baseline. Tests that are never measured (a
-- colour) have no place here.
select
    c.PARAMCD,
    a.PARAM,
    a.PARCAT1,
    c.criterion,
    c.AVISIT,
    c.AVISITN,
    (coalesce(d.n, 0) + sum(c.not_due) over this)::bigint as expected,
    (sum(c.subjects) over this)::bigint as received,
    (sum(c.judged) over this)::bigint as gradable,
    c.BNRIND,
    c.subjects::bigint as subjects,
    c.low::bigint as low,
    c.normal::bigint as normal,
    c.high::bigint as high,
    (c.subjects - c.judged)::bigint as not_gradable,
    m.rows_quarantined,
    m.rows_held
from counted as c
inner join parameters as a on c.PARAMCD = a.PARAMCD
left join due_counts as d on c.AVISIT = d.AVISIT
cross join missing_rows as m
window this as (partition by c.PARAMCD, c.criterion, c.AVISITN, c.AVISIT)
qualify sum(c.measured) over (partition by c.PARAMCD) > 0
