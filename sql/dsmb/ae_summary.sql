-- Name:   dsmb.ae_summary
-- Label:  Treatment-emergent adverse events by system organ class and preferred term, all arms pooled
-- Grain:  one row per AESOC, AEDECOD
-- Input:  curated.adae, curated.data_quality
-- Units:  counts of events, subjects and rows
-- Source: curated.adae, TRTEMFL = Y; severe = AESEV SEVERE or grade 3 and above; uncoded terms stand together as NOT CODED

with

events as (
    select
        *,
        coalesce(AESOC, AEBODSYS, 'NOT CODED') as SOC,
        coalesce(AEDECOD, 'NOT CODED') as TERM,
        AESER = 'Y' as IS_SERIOUS,
        coalesce(AESEV, '') = 'SEVERE' or coalesce(AETOXGR, '') in ('3', '4', '5') as IS_SEVERE,
        coalesce(AESDTH, '') = 'Y' or coalesce(AEOUT, '') = 'FATAL' as IS_FATAL
    from curated.adae
    where TRTEMFL = 'Y'
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
    count(*) filter (where e.IS_SERIOUS) as serious_events,
    count(distinct e.USUBJID) filter (where e.IS_SERIOUS) as serious_subjects,
    count(*) filter (where e.IS_SEVERE) as severe_events,
    count(distinct e.USUBJID) filter (where e.IS_SEVERE) as severe_subjects,
    count(distinct e.USUBJID) filter (where e.IS_FATAL) as fatal_subjects,
    any_value(m.rows_quarantined) as rows_quarantined,
    any_value(m.rows_held) as rows_held
from events as e
cross join missing_rows as m
group by e.SOC, e.TERM
