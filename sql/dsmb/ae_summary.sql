-- Name:   dsmb.ae_summary
-- Label:  Treatment-emergent adverse events by system organ class and preferred term, all arms pooled
-- Grain:  one row per AESOC, AEDECOD
-- Input:  curated.adae, curated.adsl, curated.data_quality
-- Units:  counts of events, subjects and rows; percent of expected
-- Source: curated.adae, TRTEMFL = Y; severe = grade 3 and above (ATOXGR); uncoded terms stand together as NOT CODED

with

events as (
    select
        *,
        coalesce(AESOC, AEBODSYS, 'NOT CODED') as SOC,
        coalesce(AEDECOD, 'NOT CODED') as TERM,
        ASERFL = 'Y' as IS_SERIOUS,
        ATOXGR >= 3 as IS_SEVERE,
        ATOXGR = 5 as IS_FATAL
    from curated.adae
    where TRTEMFL = 'Y'
),

dosed as (
    select count(*) as expected
    from curated.adsl
    where SAFFL = 'Y'
),

-- Adverse-event rows that could not be counted here.
missing_rows as (
    select
        coalesce(sum(ROWS_QUARANTINED), 0)::bigint as rows_quarantined,
        coalesce(sum(ROWS_HELD), 0)::bigint as rows_held
    from curated.data_quality
    where DOMAIN = 'AE'
)

select
    e.SOC as AESOC,
    e.TERM as AEDECOD,
    count(*) as events,
    count(distinct e.USUBJID) as subjects,
    any_value(d.expected) as expected,
    percentage(count(distinct e.USUBJID), any_value(d.expected)) as percent,
    count(*) filter (where e.IS_SERIOUS) as serious_events,
    count(distinct e.USUBJID) filter (where e.IS_SERIOUS) as serious_subjects,
    count(*) filter (where e.IS_SEVERE) as severe_events,
    count(distinct e.USUBJID) filter (where e.IS_SEVERE) as severe_subjects,
    count(distinct e.USUBJID) filter (where e.IS_FATAL) as fatal_subjects,
    count(distinct e.USUBJID) filter (where e.AREL <> 'NOT RELATED') as related_subjects,
    count(*) filter (where e.ATOXGR is null) as events_not_gradable,
    any_value(m.rows_quarantined) as rows_quarantined,
    any_value(m.rows_held) as rows_held
from events as e
cross join dosed as d
cross join missing_rows as m
group by e.SOC, e.TERM
