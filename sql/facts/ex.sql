-- Name:   facts.ex
-- Label:  What the rules on exposure look at: one delivery's rows, with facts beside the cells as sent
-- Grain:  one row per SRC_ROW
-- Input:  delivery.rows, study.protocol, study.sites
-- Units:  MINUTES in minutes
-- Source: expectations/common, expectations/visit/ex

with

subjects as (
    select
        i.USUBJID,
        regexp_matches(i.USUBJID, p.subject_pattern) as well_formed,
        nullif(regexp_extract(i.USUBJID, p.subject_pattern, 1), '') as site
    from (select distinct USUBJID from delivery.rows) as i
    cross join study.protocol as p
)

select
    r.*,
    yes_no(coalesce(r.STUDYID = p.STUDYID, false)) as STUDY_OK,
    yes_no(s.well_formed) as ID_OK,
    yes_no(s.site = r.SITEID) as SITE_OK,
    yes_no(names_arm(concat_ws(chr(10), *columns(r.*)), p.blinded)) as ARM_WORD,
    cast(p.last_plausible_date as date) as LAST_DATE,
    iso_kind(r.EXSTDTC) as EXSTDTC_KIND,
    clock_kind(r.EXSTDTC, z.timezone) as EXSTDTC_CLOCK,
    iso_date(r.EXSTDTC) as EXSTDT,
    iso_kind(r.EXENDTC) as EXENDTC_KIND,
    clock_kind(r.EXENDTC, z.timezone) as EXENDTC_CLOCK,
    iso_date(r.EXENDTC) as EXENDT,
    iso_datetime(r.EXSTDTC) as EXSTDTM,
    iso_datetime(r.EXENDTC) as EXENDTM,
    date_diff('minute', iso_datetime(r.EXSTDTC), iso_datetime(r.EXENDTC)) as MINUTES
from delivery.rows as r
cross join study.protocol as p
left join subjects as s on r.USUBJID = s.USUBJID
left join study.sites as z on r.SITEID = z.SITEID
