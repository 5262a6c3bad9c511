-- Name:   dsmb.infusions
-- Label:  Infusions by site: who was dosed, how long it took, interruptions and reactions, all arms pooled; SITEID ALL is the study
-- Grain:  one row per SITEID
-- Input:  curated.adae, curated.adex, curated.adsl, curated.data_quality, study.sites
-- Units:  mean, sd, median, min, max in minutes; counts of subjects and rows; reaction_percent of expected
-- Source: curated.adex, one line a subject, nothing that tells the arm; curated.adae, INFRFL; sums in DECIMAL

with

reactions as (
    select
        USUBJID,
        max(INFRFL) as INFRFL
    from curated.adae
    where INFRFL in ('Y', 'U')
    group by USUBJID
),

-- Every dosed subject twice: in its site and in ALL.
subjects as (
    select
        unnest([s.SITEID, 'ALL']) as SITEID,
        x.USUBJID as RECORDED,
        x.DURATION,
        x.INTERRUPTED,
        r.INFRFL
    from curated.adsl as s
    left join curated.adex as x on s.USUBJID = x.USUBJID
    left join reactions as r on s.USUBJID = r.USUBJID
    where s.SAFFL = 'Y'
),

-- Means first: the deviations are taken from them, exactly.
centred as (
    select
        *,
        (sum(DURATION::decimal(20, 8)) over this / count(DURATION) over this)::decimal(20, 8) as AVERAGE
    from subjects
    window this as (partition by SITEID)
),

places as (
    select SITEID from study.sites
    union all
    select 'ALL' as SITEID
),

-- Dose rows that could not be counted here.
missing_rows as (
    select
        coalesce(SITEID, 'ALL') as SITEID,
        sum(ROWS_QUARANTINED)::bigint as rows_quarantined,
        sum(ROWS_HELD)::bigint as rows_held
    from curated.data_quality
    where DOMAIN = 'EX'
    group by grouping sets ((SITEID), ())
),

counted as (
    select
        SITEID,
        count(*) as expected,
        count(RECORDED) as received,
        count(DURATION) as gradable,
        any_value(AVERAGE) as mean,
        standard_deviation(try((DURATION - AVERAGE) * (DURATION - AVERAGE))) as sd,
        median(DURATION)::decimal(20, 8) as median,
        min(DURATION) as min,
        max(DURATION) as max,
        count(*) filter (where INTERRUPTED = 'Y') as interrupted,
        count(*) filter (where INTERRUPTED is null) as interruption_not_said,
        count(*) filter (where INFRFL = 'Y') as reaction_subjects,
        count(*) filter (where INFRFL = 'U') as reaction_cannot_tell
    from centred
    group by SITEID
)

select
    p.SITEID,
    coalesce(c.expected, 0) as expected,
    coalesce(c.received, 0) as received,
    coalesce(c.gradable, 0) as gradable,
    c.mean,
    c.sd,
    c.median,
    c.min,
    c.max,
    coalesce(c.interrupted, 0) as interrupted,
    coalesce(c.interruption_not_said, 0) as interruption_not_said,
    coalesce(c.reaction_subjects, 0) as reaction_subjects,
    percentage(c.reaction_subjects, c.expected) as reaction_percent,
    coalesce(c.reaction_cannot_tell, 0) as reaction_cannot_tell,
    coalesce(m.rows_quarantined, 0)::bigint as rows_quarantined,
    coalesce(m.rows_held, 0)::bigint as rows_held
from places as p
left join counted as c on p.SITEID = c.SITEID
left join missing_rows as m on p.SITEID = m.SITEID
