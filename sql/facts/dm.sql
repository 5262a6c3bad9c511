-- Name:   facts.dm
-- Label:  What the rules on demographics look at: one delivery's rows, with facts beside the cells as sent
-- Grain:  one row per SRC_ROW
-- Input:  delivery.rows, study.protocol, study.sites
-- Units:  AGE_YEARS in years
-- Source: expectations/common, expectations/visit/dm

with

subjects as (
    select
        i.USUBJID,
        regexp_matches(i.USUBJID, p.subject_pattern) as well_formed,
        nullif(regexp_extract(i.USUBJID, p.subject_pattern, 1), '') as site
    from (select distinct USUBJID from delivery.rows) as i
    cross join study.protocol as p
),

judged as (
    select
        r.*,
        yes_no(coalesce(r.STUDYID = p.STUDYID, false)) as STUDY_OK,
        yes_no(s.well_formed) as ID_OK,
        yes_no(s.site = r.SITEID) as SITE_OK,
        yes_no(names_arm(concat_ws(chr(10), *columns(r.*)), p.blinded)) as ARM_WORD,
        cast(p.last_plausible_date as date) as LAST_DATE,
        yes_no(coalesce(r.DTHFL = 'Y' or r.DTHDTC is not null, false)) as DEATH,
        yes_no(r.SITEID_CELL = r.SITEID) as SITEID_OK,
        result_kind(r.AGE) as AGE_KIND,
        approximate(r.AGE) / case r.AGEU when 'MONTHS' then 12 when 'WEEKS' then 52 when 'DAYS' then 365 else 1 end as AGE_YEARS,
        iso_kind(r.RFSTDTC) as RFSTDTC_KIND,
        clock_kind(r.RFSTDTC, z.timezone) as RFSTDTC_CLOCK,
        iso_date(r.RFSTDTC) as RFSTDT,
        iso_kind(r.RFENDTC) as RFENDTC_KIND,
        iso_date(r.RFENDTC) as RFENDT,
        iso_kind(r.RFXSTDTC) as RFXSTDTC_KIND,
        iso_kind(r.RFXENDTC) as RFXENDTC_KIND,
        iso_kind(r.RFICDTC) as RFICDTC_KIND,
        iso_date(r.RFICDTC) as RFICDT,
        iso_kind(r.RFPENDTC) as RFPENDTC_KIND,
        iso_kind(r.DMDTC) as DMDTC_KIND,
        iso_kind(r.DTHDTC) as DTHDTC_KIND,
        iso_earliest(r.DTHDTC) as DTHDT_EARLIEST,
        iso_latest(r.DTHDTC) as DTHDT_LATEST
    from delivery.rows as r
    cross join study.protocol as p
    left join subjects as s on r.USUBJID = s.USUBJID
    left join study.sites as z on r.SITEID = z.SITEID
)

-- A record of a death is never held back for its words: they are judged by a rule of their own, a warning.
select
    * exclude (ARM_WORD),
    case when DEATH = 'N' then ARM_WORD end as ARM_WORD,
    case when DEATH = 'Y' then ARM_WORD end as ARM_WORD_DEATH
from judged
