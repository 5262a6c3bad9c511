-- Name:   dsmb.lab_worst_grade
-- Label:  Subjects by their worst CTCAE grade after the dose, for each test and scale, all arms pooled
-- Grain:  one row per PARAMCD, SCALE
-- Input:  curated.adlb, curated.adsl, curated.data_quality
-- Units:  counts of dosed subjects and of rows
-- Source: NCI CTCAE v5.0; on-treatment results; SCALE HIGH follows the baseline rule, HIGH BY LIMIT the limit of normal only

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
    w.PARAMCD,
    w.SCALE,
    min(w.PARAM) as PARAM,
    min(w.TERM) as TERM,
    any_value(d.expected) as expected,
    count(*) as received,
    count(w.GRADE) as gradable,
    count(*) - count(w.GRADE) as not_gradable,
    count(*) filter (where w.GRADE = 0) as grade_0,
    count(*) filter (where w.GRADE = 1) as grade_1,
    count(*) filter (where w.GRADE = 2) as grade_2,
    count(*) filter (where w.GRADE = 3) as grade_3,
    count(*) filter (where w.GRADE = 4) as grade_4,
    count(*) filter (where w.GRADE > w.BASE_GRADE) as worse_than_baseline,
    count(*) filter (where w.IS_WORSE) as newly_grade_3_or_4,
    any_value(m.rows_quarantined) as rows_quarantined,
    any_value(m.rows_held) as rows_held
from worst as w
cross join dosed as d
cross join missing_rows as m
group by w.PARAMCD, w.SCALE
