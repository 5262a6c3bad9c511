-- Name:   dsmb.serious_events
-- Label:  Listing of serious adverse events, before the dose too, all arms pooled
-- Grain:  one row per USUBJID, AESEQ, AESPID, SRC_SHA256, SRC_ROW
-- Input:  curated.adae, curated.data_quality
-- Units:  ASTDY, ADURN in days, no day 0; counts of rows
-- Source: ICH E3, 12.3.2; curated.adae, ASERFL = Y: marked as serious, or with a criterion of seriousness, or fatal

with

-- Adverse-event rows that could not be counted here.
missing_rows as (
    select
        coalesce(sum(ROWS_QUARANTINED), 0)::bigint as rows_quarantined,
        coalesce(sum(ROWS_HELD), 0)::bigint as rows_held
    from curated.data_quality
    where DOMAIN = 'AE'
)

select
    e.SITEID,
    e.USUBJID,
    e.AESEQ,
    e.AESPID,
    coalesce(e.AESOC, e.AEBODSYS, 'NOT CODED') as AESOC,
    coalesce(e.AEDECOD, 'NOT CODED') as AEDECOD,
    e.AETERM,
    e.AESTDTC,
    e.ASTDY,
    e.AEENDTC,
    e.ADURN,
    e.TRTEMFL,
    e.ATOXGR,
    e.AESER,
    e.AESDTH,
    e.AESLIFE,
    e.AESHOSP,
    e.AESDISAB,
    e.AESCONG,
    e.AREL,
    e.AEOUT,
    e.INFRFL,
    e.AESI,
    e.PENDFL,
    m.rows_quarantined,
    m.rows_held,
    e.SRC_SHA256,
    e.SRC_ROW
from curated.adae as e
cross join missing_rows as m
where e.ASERFL = 'Y'
