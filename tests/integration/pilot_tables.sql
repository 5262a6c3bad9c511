-- The cells of five tables of the pilot's report, from whichever side's `subject`, `lab` and `liver` are in the search
-- path (pilot_sources.sql). A cell: TABLE_ID, PARAMCD, AVISIT, ARM, BASE, SHIFT, STATISTIC, VALUE. Percentages have the
-- column's n below them. The tables print only Normal and High; Low is counted here too, since two records are.

create table cells as
with arms as (select distinct ARM from subject),

tests as (select PARAMCD from shown),

visits as (select distinct AVISIT from lab),

-- Means first: the deviations of the second pass are taken from them, exactly.
centred as (
    select
        *,
        (sum(AVAL) over this / count(AVAL) over this)::decimal(20, 8) as MEAN,
        (sum(CHG) over this / count(CHG) over this)::decimal(20, 8) as CHG_MEAN
    from lab
    window this as (partition by PARAMCD, AVISIT, ARM)
),

summary as (
    select
        PARAMCD,
        AVISIT,
        ARM,
        count(AVAL)::decimal(20, 8) as n,
        any_value(MEAN) as mean,
        standard_deviation((AVAL - MEAN) * (AVAL - MEAN)) as sd,
        any_value(CHG_MEAN) as chg_mean,
        standard_deviation((CHG - CHG_MEAN) * (CHG - CHG_MEAN)) as chg_sd
    from centred
    group by PARAMCD, AVISIT, ARM
),

-- 14-6.01: summary statistics by visit, and of the change from baseline.
t1 as (
    select '14-6.01' as TABLE_ID, t.PARAMCD, v.AVISIT, a.ARM, '' as BASE, '' as SHIFT, s.STATISTIC, c.VALUE
    from tests as t
    cross join visits as v
    cross join arms as a
    cross join (select unnest(['n', 'mean', 'sd', 'chg_mean', 'chg_sd']) as STATISTIC) as s
    left join (unpivot summary on n, mean, sd, chg_mean, chg_sd into name STATISTIC value VALUE) as c
        using (PARAMCD, AVISIT, ARM, STATISTIC)
),

-- What the other tables count: one entry per subject (and visit), with the column's state at baseline.
entries as (
    -- 14-6.02: normal and abnormal by the reference range, the picked value of treatment.
    select '14-6.02' as TABLE_ID, PARAMCD, '' as AVISIT, ARM, '' as BASE, RANGE as SHIFT from lab where PICKED
    union all
    -- 14-6.04: shifts against the threshold, by visit.
    select '14-6.04', PARAMCD, AVISIT, ARM, BASE, SHIFT
    from lab
    where AVISIT not in ('Baseline', 'End of treatment') and BASE is not null and SHIFT is not null
    union all
    -- 14-6.05: shifts against the threshold, the picked value of treatment.
    select '14-6.05', PARAMCD, '', ARM, BASE, SHIFT from lab where PICKED and BASE is not null
    union all
    -- 14-6.06: shifts of Hy's law values, high when high at any visit of treatment.
    select '14-6.06', PARAMCD, '', ARM, BASE, if(bool_or(SHIFT = 'H'), 'H', 'N')
    from liver
    group by PARAMCD, ARM, USUBJID, BASE
),

-- Every cell of a table, also those that count nobody.
grid as (
    select '14-6.02' as TABLE_ID, PARAMCD, '' as AVISIT, '' as BASE, unnest(['L', 'N', 'H']) as SHIFT from tests
    union all
    select '14-6.04', t.PARAMCD, v.AVISIT, b.BASE, unnest(['L', 'N', 'H'])
    from tests as t
    cross join visits as v
    cross join (select unnest(['N', 'H']) as BASE) as b
    where v.AVISIT not in ('Baseline', 'End of treatment')
    union all
    select '14-6.05', t.PARAMCD, '', b.BASE, unnest(['L', 'N', 'H'])
    from tests as t
    cross join (select unnest(['N', 'H']) as BASE) as b
    union all
    select '14-6.06', p.PARAMCD, '', b.BASE, unnest(['N', 'H'])
    from (select unnest(['TRANSHY', 'HYLAW']) as PARAMCD) as p
    cross join (select unnest(['N', 'H']) as BASE) as b
),

counted as (
    select g.*, a.ARM, count(e.ARM) as n
    from grid as g
    cross join arms as a
    left join entries as e
        on
            g.TABLE_ID = e.TABLE_ID
            and g.PARAMCD = e.PARAMCD
            and g.AVISIT = e.AVISIT
            and g.BASE = e.BASE
            and g.SHIFT = e.SHIFT
            and a.ARM = e.ARM
    group by all
),

-- Entries that the grid has no place for would be lost silently: they make cells of their own.
placed as (
    select * from counted
    union all
    select e.TABLE_ID, e.PARAMCD, e.AVISIT, e.BASE, e.SHIFT, e.ARM, count(*)
    from entries as e
    where (e.TABLE_ID, e.PARAMCD, e.AVISIT, e.BASE, e.SHIFT) not in (select (TABLE_ID, PARAMCD, AVISIT, BASE, SHIFT) from grid)
    group by all
),

columns as (
    select TABLE_ID, PARAMCD, AVISIT, ARM, BASE, sum(n) as total
    from placed
    group by TABLE_ID, PARAMCD, AVISIT, ARM, BASE
)

select * from t1
union all
select '', '', '', ARM, '', '', 'subjects', count(*)::decimal(20, 8) from subject group by ARM
union all
select TABLE_ID, PARAMCD, AVISIT, ARM, BASE, '', 'n', total::decimal(20, 8) from columns where TABLE_ID <> '14-6.02'
union all
select TABLE_ID, PARAMCD, AVISIT, ARM, BASE, SHIFT, 'n', n::decimal(20, 8) from placed
union all
select
    p.TABLE_ID, p.PARAMCD, p.AVISIT, p.ARM, p.BASE, p.SHIFT, 'percent',
    case when c.total > 0 then (100 * p.n / c.total)::decimal(20, 8) end
from placed as p
inner join columns as c using (TABLE_ID, PARAMCD, AVISIT, ARM, BASE);
