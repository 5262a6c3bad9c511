-- Name:   curated.adae
-- Label:  Adverse events, every accepted one; words that name an arm are masked
-- Grain:  one row per USUBJID, AESEQ, AESPID, SRC_SHA256, SRC_ROW
-- Input:  accepted.ae, curated.adsl, study.protocol
-- Units:  ASTDY, AENDY in days, no day 0
-- Source: ADaM IG, OCCDS; partial dates stay text, and count as treatment-emergent unless they must lie before the dose

with

-- The words to mask, if any cell of any event names one: mostly none does, and then no cell is searched again.
-- An event is never refused for its text, so every cell of it is masked.
blind as (
    select case when regexp_matches(string_agg(seen.cells, chr(10)), any_value(p.blinded)) then any_value(p.blinded) end as words
    from (select distinct concat_ws(chr(10), *columns('^AE')) as cells from accepted.ae) as seen
    cross join study.protocol as p
),

events as (
    select
        *,
        iso_date(AESTDTC) as ASTDT,
        iso_datetime(AESTDTC) as ASTDTM,
        iso_date(AEENDTC) as AENDT
    from accepted.ae
)

select
    e.STUDYID,
    e.SITEID,
    e.USUBJID,
    whole_number(e.AESEQ) as AESEQ,
    masked(e.AESPID, b.words) as AESPID,
    masked(e.AETERM, b.words) as AETERM,
    masked(e.AELLT, b.words) as AELLT,
    masked(e.AEDECOD, b.words) as AEDECOD,
    masked(e.AEBODSYS, b.words) as AEBODSYS,
    masked(e.AESOC, b.words) as AESOC,
    masked(e.AESEV, b.words) as AESEV,
    masked(e.AETOXGR, b.words) as AETOXGR,
    masked(e.AESER, b.words) as AESER,
    masked(e.AESDTH, b.words) as AESDTH,
    masked(e.AESLIFE, b.words) as AESLIFE,
    masked(e.AESHOSP, b.words) as AESHOSP,
    masked(e.AESDISAB, b.words) as AESDISAB,
    masked(e.AESCONG, b.words) as AESCONG,
    masked(e.AEREL, b.words) as AEREL,
    masked(e.AEOUT, b.words) as AEOUT,
    masked(e.AESTDTC, b.words) as AESTDTC,
    masked(e.AEENDTC, b.words) as AEENDTC,
    e.ASTDT,
    e.ASTDTM,
    e.AENDT,
    study_day(e.ASTDT, s.TRTSDT) as ASTDY,
    study_day(e.AENDT, s.TRTSDT) as AENDY,
    case
        when s.TRTSDT is null then null
        when e.ASTDTM is not null and s.TRTSDTM is not null then case when e.ASTDTM >= s.TRTSDTM then 'Y' end
        when e.ASTDT is not null then case when e.ASTDT >= s.TRTSDT then 'Y' end
        when iso_latest(e.AESTDTC) < s.TRTSDT or iso_latest(e.AEENDTC) < s.TRTSDT then null
        else 'Y'
    end as TRTEMFL,
    e.PENDFL,
    e.SRC_SHA256,
    e.SRC_ROW
from events as e
cross join blind as b
left join curated.adsl as s on e.USUBJID = s.USUBJID
