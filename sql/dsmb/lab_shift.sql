-- Name:   dsmb.lab_shift
-- Label:  Laboratory results low, normal and high against baseline, by reference range and by the study's own threshold, all arms pooled
-- Grain:  one row per PARAMCD, criterion, AVISITN, AVISIT, BNRIND
-- Input:  curated.adlb, curated.adsl, curated.adsv, curated.data_quality, study.lab_period, study.lab_threshold, study.visits
-- Units:  counts of dosed subjects and of rows
-- Source: curated.adlb; multiples of the limits, period and pick from safety.laboratory of the study; AVISIT Post-baseline is that period

with

-- The reference range is 1 x its limits, and its indicator is ANRIND; the study's threshold is given as multiples.
criteria as (
    select
        'REFERENCE RANGE' as criterion,
        1::decimal(20, 8) as times_lln,
        1::decimal(20, 8) as times_uln
    union all
    select
        'STUDY THRESHOLD' as criterion,
        times_lln,
        times_uln
    from study.lab_threshold
),

period as (
    select
        p.unscheduled,
        v.week as LAST_WEEK,
        v.day + v.after as LAST_DAY
    from study.lab_period as p
    left join study.visits as v on p.until = v.AVISIT
),

-- Results of dosed subjects. A planned visit after baseline has a week above 0.
results as (
    select
        r.USUBJID,
        r.PARAMCD,
        r.PARAM,
        r.PARCAT1,
        r.LBSPEC,
        r.AVISIT,
        r.AVISITN,
        r.ADT,
        r.ADTM,
        r.LBSEQ,
        r.AVALC,
        r.AVALLO,
        r.AVALHI,
        r.ANRLO,
        r.ANRHI,
        r.ANRIND,
        r.ABLFL,
        r.ANL01FL,
        case
            when r.AVISIT is not null
                then r.AVISITN > 0 and v.expected = 'Y' and coalesce(r.AVISITN <= p.LAST_WEEK, true)
            else p.unscheduled and r.ONTRTFL = 'Y' and coalesce(r.ADY <= p.LAST_DAY, true)
        end as IN_PERIOD
    from curated.adlb as r
    inner join curated.adsl as s on r.USUBJID = s.USUBJID and s.SAFFL = 'Y'
    left join study.visits as v on r.VISIT = v.VISIT
    left join period as p on true
    where r.AVALC is not null
),

-- Every result against both criteria.
judged as (
    select
        r.*,
        c.criterion,
        case
            when c.criterion = 'REFERENCE RANGE' then r.ANRIND
            else
                beyond_limits(
                    r.AVALLO, r.AVALHI, censoring(r.AVALC), r.ANRLO, r.ANRHI, c.times_lln, c.times_uln
                )
        end as INDICATOR,
        excess(r.AVALLO, r.AVALHI, r.ANRLO, r.ANRHI, c.times_lln, c.times_uln) as EXCESS
    from results as r
    cross join criteria as c
),

-- The one result of the period: abnormal before normal, then the furthest beyond its limits, then the earliest; a
-- result that could not be judged only where there is no other. Or the last one, whatever it is.
picked as (
    select j.*
    from judged as j
    left join study.lab_period as p on true
    where j.IN_PERIOD
    qualify row_number() over (
            partition by j.USUBJID, j.PARAMCD, j.criterion
            order by
                case when p.pick = 'last' then j.ADT end desc nulls last,
                case when p.pick = 'last' then j.ADTM end desc nulls last,
                case when p.pick = 'last' then j.LBSEQ end desc nulls last,
                j.INDICATOR in ('LOW', 'HIGH') desc nulls last,
                j.EXCESS desc nulls last,
                j.ADT asc nulls last, j.ADTM asc nulls last, j.LBSEQ asc nulls last
        ) = 1
),

shown as (
    select USUBJID, PARAMCD, PARAM, PARCAT1, LBSPEC, criterion, AVISIT, AVISITN, AVALLO, INDICATOR
    from judged
    where ANL01FL = 'Y'
    union all
    select
        USUBJID, PARAMCD, PARAM, PARCAT1, LBSPEC, criterion, 'Post-baseline' as AVISIT, null as AVISITN, AVALLO, INDICATOR
    from picked
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
    select distinct USUBJID, AVISIT from planned
    union all
    select distinct pl.USUBJID, 'Post-baseline' as AVISIT
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

counted as (
    select
        s.PARAMCD,
        s.criterion,
        s.AVISIT,
        s.AVISITN,
        coalesce(b.INDICATOR, 'NOT KNOWN') as BNRIND,
        min(s.PARAM) as PARAM,
        min(s.PARCAT1) as PARCAT1,
        count(*) as subjects,
        count(s.INDICATOR) as judged,
        count(*) filter (where s.INDICATOR = 'LOW') as low,
        count(*) filter (where s.INDICATOR = 'NORMAL') as normal,
        count(*) filter (where s.INDICATOR = 'HIGH') as high,
        count(s.AVALLO) as measured,
        count(*) filter (where d.USUBJID is null) as not_due
    from shown as s
    left join judged as b
        on
            b.ABLFL = 'Y'
            and s.USUBJID = b.USUBJID
            and s.PARAMCD = b.PARAMCD
            and s.LBSPEC is not distinct from b.LBSPEC
            and s.criterion = b.criterion
    left join due as d on s.USUBJID = d.USUBJID and s.AVISIT = d.AVISIT
    group by s.PARAMCD, s.criterion, s.AVISIT, s.AVISITN, coalesce(b.INDICATOR, 'NOT KNOWN')
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
    c.PARAM,
    c.PARCAT1,
    c.criterion,
    c.AVISIT,
    c.AVISITN,
    (coalesce(d.n, 0) + sum(c.not_due) over this)::bigint as expected,
    (sum(c.subjects) over this)::bigint as received,
    (sum(c.judged) over this)::bigint as gradable,
    c.BNRIND,
    c.subjects,
    c.low,
    c.normal,
    c.high,
    c.subjects - c.judged as not_gradable,
    m.rows_quarantined,
    m.rows_held
from counted as c
left join due_counts as d on c.AVISIT = d.AVISIT
cross join missing_rows as m
window this as (partition by c.PARAMCD, c.criterion, c.AVISITN, c.AVISIT)
qualify sum(c.measured) over (partition by c.PARAMCD) > 0
