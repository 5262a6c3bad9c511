-- Name:   dsmb.tumor_markers
-- Label:  Tumour markers: subjects above the limit at and after baseline, and their rises by status, all arms pooled
-- Grain:  one row per PARAMCD
-- Input:  curated.adlb, curated.adsl, curated.data_quality, curated.tumor_markers, study.markers
-- Units:  counts of subjects; rises are counted one by one; counts of rows
-- Source: expected = dosed, of the marker's sex; received = with a record after the dose; gradable = baseline and later result have limits

with

-- Dosed subjects by marker; PSA, say, is followed in men only.
followed as (
    select
        s.USUBJID,
        s.TRTSDT,
        m.PARAMCD
    from curated.adsl as s
    inner join study.markers as m on m.SEX is null or s.SEX is null or m.SEX = s.SEX
    where s.SAFFL = 'Y'
),

-- What is known of each. Above the limit: HIGH in the units of the record.
known as (
    select
        f.USUBJID,
        f.PARAMCD,
        min(l.PARAM) as PARAM,
        bool_or(l.ABLFL is null and l.ADT >= f.TRTSDT) as IS_RECEIVED,
        bool_or(l.ABLFL = 'Y' and l.ANRIND is not null)
        and bool_or(l.ABLFL is null and l.ADT >= f.TRTSDT and l.ANRIND is not null) as IS_GRADABLE,
        bool_or(l.ABLFL = 'Y' and l.ANRIND is not null) as HAS_BASELINE,
        bool_or(l.ABLFL = 'Y' and l.ANRIND = 'HIGH') as WAS_ABOVE,
        bool_or(l.ABLFL is null and l.ADT >= f.TRTSDT and l.ANRIND = 'HIGH') as IS_ABOVE
    from followed as f
    left join curated.adlb as l on f.USUBJID = l.USUBJID and f.PARAMCD = l.PARAMCD
    group by f.USUBJID, f.PARAMCD
),

counted as (
    select
        PARAMCD,
        min(PARAM) as PARAM,
        count(*) as expected,
        count(*) filter (where IS_RECEIVED) as received,
        count(*) filter (where IS_GRADABLE) as gradable,
        count(*) filter (where HAS_BASELINE) as with_baseline,
        count(*) filter (where WAS_ABOVE) as above_at_baseline,
        count(*) filter (where IS_GRADABLE and IS_ABOVE and not WAS_ABOVE) as newly_above
    from known
    group by PARAMCD
),

rises as (
    select
        PARAMCD,
        count(*) filter (where STATUS = 'PENDING') as pending,
        count(*) filter (where STATUS = 'CONFIRMED') as confirmed,
        count(*) filter (where STATUS = 'CONFIRMED' and RESDT is not null) as resolved,
        count(*) filter (where STATUS = 'SINGLE') as single,
        count(*) filter (where STATUS = 'CANNOT TELL') as cannot_tell,
        count(*) filter (where STATUS = 'NOT COMPARABLE') as not_comparable
    from curated.tumor_markers
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

select
    c.PARAMCD,
    c.PARAM,
    c.expected,
    c.received,
    c.gradable,
    c.with_baseline,
    c.above_at_baseline,
    c.newly_above,
    coalesce(r.pending, 0) as pending,
    coalesce(r.confirmed, 0) as confirmed,
    coalesce(r.resolved, 0) as resolved,
    coalesce(r.single, 0) as single,
    coalesce(r.cannot_tell, 0) as cannot_tell,
    coalesce(r.not_comparable, 0) as not_comparable,
    m.rows_quarantined,
    m.rows_held
from counted as c
cross join missing_rows as m
left join rises as r on c.PARAMCD = r.PARAMCD
