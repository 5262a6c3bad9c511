-- Name:   dsmb.lab_grade_shift
-- Label:  Subjects by CTCAE grade at baseline and worst grade after the dose, for each test and scale, all arms pooled
-- Grain:  one row per PARAMCD, SCALE, BASE_GRADE, WORST_GRADE
-- Input:  curated.adlb, curated.adsl, curated.data_quality
-- Units:  counts of dosed subjects and of rows
-- Source: NCI CTCAE v5.0; the baseline is graded by the limit of normal; NOT GRADABLE is no grade 0, NO RESULT no result after the dose

with

-- Each result once per scale it is graded on, by the least grade that it may have: a censored one counts for what is
-- certain about it, and one of which nothing is certain for nothing.
graded as (
    select
        USUBJID,
        PARAMCD,
        PARAM,
        ATOXDSCL as TERM,
        'LOW' as SCALE,
        ONTRTFL,
        WORSEFL,
        coalesce(ATOXGRL, nullif(ATOXLLO, 0)) as GRADE,
        BTOXGRL as BASE_GRADE
    from curated.adlb
    where ATOXDSCL is not null
    union all
    select
        USUBJID,
        PARAMCD,
        PARAM,
        ATOXDSCH as TERM,
        'HIGH' as SCALE,
        ONTRTFL,
        WORSEFL,
        coalesce(ATOXGRH, nullif(ATOXHLO, 0)) as GRADE,
        BTOXGRH as BASE_GRADE
    from curated.adlb
    where ATOXDSCH is not null
    union all
    select
        USUBJID,
        PARAMCD,
        PARAM,
        ATOXDSCH as TERM,
        'HIGH BY LIMIT' as SCALE,
        ONTRTFL,
        WORSEFL,
        ATOXGRHU as GRADE,
        BTOXGRH as BASE_GRADE
    from curated.adlb
    where ATOXDSCH is not null
),

-- The worst of each subject after the dose.
worst as (
    select
        g.PARAMCD,
        g.SCALE,
        g.USUBJID,
        any_value(g.PARAM) as PARAM,
        any_value(g.TERM) as TERM,
        any_value(g.BASE_GRADE) as BASE_GRADE,
        max(g.GRADE) as GRADE,
        bool_or(g.WORSEFL = 'Y') as IS_WORSE
    from graded as g
    inner join curated.adsl as s on g.USUBJID = s.USUBJID
    where g.ONTRTFL = 'Y' and s.SAFFL = 'Y'
    group by g.PARAMCD, g.SCALE, g.USUBJID
),

-- What every dosed subject's baseline was graded, also of those without a result after the dose.
at_baseline as (
    select
        g.PARAMCD,
        g.SCALE,
        g.USUBJID,
        any_value(g.PARAM) as PARAM,
        any_value(g.TERM) as TERM,
        any_value(g.BASE_GRADE) as BASE_GRADE
    from graded as g
    inner join curated.adsl as s on g.USUBJID = s.USUBJID
    where s.SAFFL = 'Y'
    group by g.PARAMCD, g.SCALE, g.USUBJID
),

shifts as (
    select
        b.PARAMCD,
        b.SCALE,
        b.PARAM,
        b.TERM,
        coalesce(b.BASE_GRADE::varchar, 'NOT GRADABLE') as BASE_GRADE,
        case
            when w.USUBJID is null then 'NO RESULT' else coalesce(w.GRADE::varchar, 'NOT GRADABLE')
        end as WORST_GRADE
    from at_baseline as b
    left join worst as w on b.PARAMCD = w.PARAMCD and b.SCALE = w.SCALE and b.USUBJID = w.USUBJID
),

-- Laboratory rows that could not be counted here, over all sites and tests.
missing_rows as (
    select
        coalesce(sum(ROWS_QUARANTINED), 0)::bigint as rows_quarantined,
        coalesce(sum(ROWS_HELD), 0)::bigint as rows_held
    from curated.data_quality
    where DOMAIN = 'LB'
),

dosed as (
    select count(*) as expected
    from curated.adsl
    where SAFFL = 'Y'
)

select
    f.PARAMCD,
    f.SCALE,
    min(f.PARAM) as PARAM,
    min(f.TERM) as TERM,
    f.BASE_GRADE,
    f.WORST_GRADE,
    any_value(d.expected) as expected,
    count(*) as subjects,
    any_value(m.rows_quarantined) as rows_quarantined,
    any_value(m.rows_held) as rows_held
from shifts as f
cross join dosed as d
cross join missing_rows as m
group by f.PARAMCD, f.SCALE, f.BASE_GRADE, f.WORST_GRADE
