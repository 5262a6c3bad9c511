-- Name:   dsmb.infusion_reactions
-- Label:  Listing of infusion reactions, and of events whose dates cannot tell (INFRFL U), all arms pooled
-- Grain:  one row per USUBJID, AESEQ, AESPID, SRC_SHA256, SRC_ROW
-- Input:  curated.adae, curated.adex, curated.data_quality
-- Units:  INFRMIN, DURATION in minutes; ADURN in days; counts of rows
-- Source: curated.adae, INFRFL; dsmb.infusions counts them; a subject has one line of exposure, which does not tell the arm

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
    e.INFRFL,
    e.AESTDTC,
    e.INFRMIN,
    e.ADURN,
    e.ATOXGR,
    e.ASERFL,
    e.AREL,
    e.AEOUT,
    x.TRTSDTM,
    x.DURATION,
    x.INTERRUPTED,
    m.rows_quarantined,
    m.rows_held,
    e.SRC_SHA256,
    e.SRC_ROW
from curated.adae as e
cross join missing_rows as m
left join curated.adex as x on e.USUBJID = x.USUBJID
where e.INFRFL in ('Y', 'U')
