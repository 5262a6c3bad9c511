-- Name:   dsmb.tumor_marker_rises
-- Label:  Listing of rises of tumour markers, and of results that cannot be judged, all arms pooled
-- Grain:  one row per USUBJID, PARAMCD, LBSPEC, ADT, STATUS, REASON
-- Input:  curated.data_quality, curated.tumor_markers
-- Units:  R2BASELO and R2BASEHI are the ends of the ratio to baseline; counts of rows
-- Source: curated.tumor_markers

with

-- Laboratory rows that could not be counted here, over all sites and tests.
missing_rows as (
    select
        coalesce(sum(ROWS_QUARANTINED), 0)::bigint as rows_quarantined,
        coalesce(sum(ROWS_HELD), 0)::bigint as rows_held
    from curated.data_quality
    where DOMAIN = 'LB'
)

select
    t.SITEID,
    t.USUBJID,
    t.PARAMCD,
    t.LBSPEC,
    t.VISIT,
    t.ADT,
    t.ADY,
    t.AVALC,
    t.R2ANRHI,
    t.BNRIND,
    t.R2BASELO,
    t.R2BASEHI,
    t.STATUS,
    t.REASON,
    t.NEXTDT,
    t.RESDT,
    t.CONTEXT,
    t.PENDFL,
    m.rows_quarantined,
    m.rows_held
from curated.tumor_markers as t
cross join missing_rows as m
