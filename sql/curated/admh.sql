-- Name:   curated.admh
-- Label:  Medical history; words that name an arm are masked
-- Grain:  one row per USUBJID, MHSEQ, MHSPID, SRC_SHA256, SRC_ROW
-- Input:  accepted.mh, curated.adsl, study.protocol
-- Units:  ASTDY in days, no day 0
-- Source: ADaM IG, OCCDS; partial dates stay text and give no date

with

-- The words to mask, if any history names one.
blind as (
    select case when regexp_matches(string_agg(seen.cell, chr(10)), any_value(p.blinded)) then any_value(p.blinded) end as words
    from (
        select distinct unnest([MHSPID, MHTERM, MHLLT, MHDECOD, MHBODSYS]) as cell
        from accepted.mh
    ) as seen
    cross join study.protocol as p
)

select
    m.STUDYID,
    m.SITEID,
    m.USUBJID,
    whole_number(m.MHSEQ) as MHSEQ,
    masked(m.MHSPID, b.words) as MHSPID,
    m.MHCAT,
    masked(m.MHTERM, b.words) as MHTERM,
    masked(m.MHLLT, b.words) as MHLLT,
    masked(m.MHDECOD, b.words) as MHDECOD,
    masked(m.MHBODSYS, b.words) as MHBODSYS,
    m.MHSEV,
    m.MHSTDTC,
    iso_date(m.MHSTDTC) as ASTDT,
    study_day(iso_date(m.MHSTDTC), s.TRTSDT) as ASTDY,
    m.PENDFL,
    m.SRC_SHA256,
    m.SRC_ROW
from accepted.mh as m
cross join blind as b
left join curated.adsl as s on m.USUBJID = s.USUBJID
