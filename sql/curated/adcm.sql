-- Name:   curated.adcm
-- Label:  Concomitant medications, prior ones included; words that name an arm are masked
-- Grain:  one row per USUBJID, CMSEQ, CMSPID, SRC_SHA256, SRC_ROW
-- Input:  accepted.cm, curated.adsl, study.protocol
-- Units:  CMDOSE in CMDOSU (the medication's own dose, never the study treatment's); ASTDY, AENDY in days, no day 0
-- Source: ADaM IG, OCCDS; partial dates stay text and give no date

with

-- The words to mask, if any medication names one.
blind as (
    select case when regexp_matches(string_agg(seen.cell, chr(10)), any_value(p.blinded)) then any_value(p.blinded) end as words
    from (
        select distinct unnest([CMSPID, CMTRT, CMDECOD, CMINDC, CMCLAS]) as cell
        from accepted.cm
    ) as seen
    cross join study.protocol as p
)

select
    c.STUDYID,
    c.SITEID,
    c.USUBJID,
    whole_number(c.CMSEQ) as CMSEQ,
    masked(c.CMSPID, b.words) as CMSPID,
    masked(c.CMTRT, b.words) as CMTRT,
    masked(c.CMDECOD, b.words) as CMDECOD,
    masked(c.CMINDC, b.words) as CMINDC,
    masked(c.CMCLAS, b.words) as CMCLAS,
    c.CMDOSE,
    c.CMDOSU,
    c.CMDOSFRQ,
    c.CMROUTE,
    c.CMSTDTC,
    c.CMENDTC,
    iso_date(c.CMSTDTC) as ASTDT,
    iso_date(c.CMENDTC) as AENDT,
    study_day(iso_date(c.CMSTDTC), s.TRTSDT) as ASTDY,
    study_day(iso_date(c.CMENDTC), s.TRTSDT) as AENDY,
    c.PENDFL,
    c.SRC_SHA256,
    c.SRC_ROW
from accepted.cm as c
cross join blind as b
left join curated.adsl as s on c.USUBJID = s.USUBJID
