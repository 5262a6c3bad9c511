-- Name:   dsmb.liver_peaks
-- Label:  Subjects in the quadrants of eDISH (multiples of the limit) and mDISH (of baseline), all arms pooled
-- Grain:  one row per SCALE, QUADRANT
-- Input:  curated.adsl, curated.data_quality, curated.liver_peaks
-- Units:  counts of subjects and of rows
-- Source: curated.liver_peaks; NO RESULT = dosed subjects without a result after the dose

with

placed as (
    select
        scale.SCALE,
        coalesce(case scale.SCALE when 'EDISH' then p.EDISH else p.MDISH end, 'NO RESULT') as QUADRANT
    from curated.adsl as s
    cross join (values ('EDISH'), ('MDISH')) as scale (SCALE)
    left join curated.liver_peaks as p on s.USUBJID = p.USUBJID
    where s.SAFFL = 'Y'
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
    p.SCALE,
    p.QUADRANT,
    count(*) as subjects,
    (sum(count(*)) over (partition by p.SCALE))::bigint as expected,
    (sum(count(*) filter (where p.QUADRANT <> 'NO RESULT')) over (partition by p.SCALE))::bigint as received,
    (
        sum(count(*) filter (where p.QUADRANT not in ('NO RESULT', 'CANNOT TELL'))) over (partition by p.SCALE)
    )::bigint as gradable,
    any_value(m.rows_quarantined) as rows_quarantined,
    any_value(m.rows_held) as rows_held
from placed as p
cross join missing_rows as m
group by p.SCALE, p.QUADRANT
