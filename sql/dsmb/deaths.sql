-- Name:   dsmb.deaths
-- Label:  Listing of deaths, whichever domain reports them, all arms pooled
-- Grain:  one row per USUBJID
-- Input:  curated.adae, curated.adsl, curated.data_quality
-- Units:  DTHDY in days, no day 0; AGE in years; counts of rows
-- Source: ICH E3, 12.3.1; curated.adsl, DTHFL (from DM, AE or DS), and fatal events of subjects without demography

with

-- Fatal events of each subject, in the order of their start.
fatal as (
    select
        USUBJID,
        any_value(SITEID) as SITEID,
        list(coalesce(AEDECOD, AETERM) order by ASTDT, AESEQ, SRC_SHA256, SRC_ROW) as FATAL_TERMS,
        max(TRTEMFL) as TRTEMFL,
        min(AENDT) as AENDT,
        case when bool_or(AREL = 'RELATED') then 'RELATED' when bool_or(AREL = 'UNKNOWN') then 'UNKNOWN' else 'NOT RELATED' end as AREL
    from curated.adae
    where ATOXGR = 5
    group by USUBJID
),

died as (
    select
        coalesce(s.SITEID, f.SITEID) as SITEID,
        coalesce(s.USUBJID, f.USUBJID) as USUBJID,
        s.SEX,
        s.AGE,
        s.SAFFL,
        s.TRTSDT,
        coalesce(s.DTHDT, f.AENDT) as DTHDT,
        f.FATAL_TERMS,
        f.TRTEMFL,
        f.AREL
    from curated.adsl as s
    full join fatal as f on s.USUBJID = f.USUBJID
    where s.DTHFL = 'Y' or f.USUBJID is not null
),

-- Rows of the domains that report a death and could not be looked at here.
missing_rows as (
    select
        coalesce(sum(ROWS_QUARANTINED), 0)::bigint as rows_quarantined,
        coalesce(sum(ROWS_HELD), 0)::bigint as rows_held
    from curated.data_quality
    where DOMAIN in ('AE', 'DM', 'DS')
)

select
    d.SITEID,
    d.USUBJID,
    d.SEX,
    d.AGE,
    d.SAFFL,
    d.TRTSDT,
    d.DTHDT,
    study_day(d.DTHDT, d.TRTSDT) as DTHDY,
    d.FATAL_TERMS,
    d.TRTEMFL,
    d.AREL,
    m.rows_quarantined,
    m.rows_held
from died as d
cross join missing_rows as m
