-- Name:   dsmb.visit_compliance
-- Label:  Planned visits of dosed subjects: kept, missed and to come, all arms pooled
-- Grain:  one row per AVISITN, AVISIT
-- Input:  curated.adsv, curated.data_quality
-- Units:  counts of subjects and of rows; AWTARGET in days, no day 0
-- Source: curated.adsv; expected = attended, missed or due; received = attended; gradable = attended on a full date now

with

-- Visit rows that could not be counted here.
missing_rows as (
    select
        coalesce(sum(ROWS_QUARANTINED), 0)::bigint as rows_quarantined,
        coalesce(sum(ROWS_HELD), 0)::bigint as rows_held
    from curated.data_quality
    where DOMAIN = 'SV'
)

select
    v.AVISIT,
    v.AVISITN,
    min(v.AWTARGET) as AWTARGET,
    count(*) filter (where v.VISSTAT is null or v.VISSTAT not in ('UPCOMING', 'NOT EXPECTED')) as expected,
    count(*) filter (where v.VISSTAT is null or v.VISSTAT in ('IN', 'EARLY', 'LATE')) as received,
    count(*) filter (where v.VISSTAT in ('IN', 'EARLY', 'LATE')) as gradable,
    count(*) filter (where v.VISSTAT = 'IN') as in_window,
    count(*) filter (where v.VISSTAT = 'EARLY') as early,
    count(*) filter (where v.VISSTAT = 'LATE') as late,
    count(*) filter (where v.VISSTAT is null) as undated,
    count(*) filter (where v.VISSTAT = 'MISSED') as missed,
    count(*) filter (where v.VISSTAT = 'DUE') as due,
    count(*) filter (where v.VISSTAT = 'UPCOMING') as upcoming,
    count(*) filter (where v.VISSTAT = 'NOT EXPECTED') as not_expected,
    count(*) filter (where v.VISSTAT not in ('IN', 'EARLY', 'LATE') and v.RECEIVED > 0) as data_without_visit,
    coalesce(sum(v.RECEIVED), 0)::bigint as records,
    coalesce(sum(v.USABLE), 0)::bigint as usable_records,
    any_value(m.rows_quarantined) as rows_quarantined,
    any_value(m.rows_held) as rows_held
from curated.adsv as v
cross join missing_rows as m
where v.AWTARGET is not null
group by v.AVISIT, v.AVISITN
