-- Name:   dsmb.new_findings
-- Label:  Listing of new clinically significant findings in ECG and chest radiography, and of those that may be new
-- Grain:  one row per DOMAIN, USUBJID, DTC, TPT, SEQ
-- Input:  curated.adeg, curated.adsl, curated.adxr, curated.data_quality
-- Units:  ADY in days, no day 0; counts of rows
-- Source: NEWCSFL Y or U of curated.adeg and curated.adxr; dosed subjects

with

findings as (
    select
        'EG' as DOMAIN,
        SITEID,
        USUBJID,
        AVISIT,
        VISIT,
        EGDTC as DTC,
        EGTPT as TPT,
        EGSEQ as SEQ,
        ADT,
        ADY,
        BASEC,
        AVALC,
        NEWCSFL,
        PENDFL
    from curated.adeg
    union all
    select
        'XR' as DOMAIN,
        SITEID,
        USUBJID,
        AVISIT,
        VISIT,
        XRDTC as DTC,
        null as TPT,
        XRSEQ as SEQ,
        ADT,
        ADY,
        BASEC,
        AVALC,
        NEWCSFL,
        PENDFL
    from curated.adxr
),

-- Rows that could not be looked at, over all sites.
missing_rows as (
    select
        DOMAIN,
        sum(ROWS_QUARANTINED) as rows_quarantined,
        sum(ROWS_HELD) as rows_held
    from curated.data_quality
    group by DOMAIN
)

select
    f.*,
    coalesce(m.rows_quarantined, 0)::bigint as rows_quarantined,
    coalesce(m.rows_held, 0)::bigint as rows_held
from findings as f
inner join curated.adsl as s on f.USUBJID = s.USUBJID and s.SAFFL = 'Y'
left join missing_rows as m on f.DOMAIN = m.DOMAIN
where f.NEWCSFL in ('Y', 'U')
