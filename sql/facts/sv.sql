-- Name:   facts.sv
-- Label:  What the rules on subject visits look at: one delivery's rows, with facts beside the cells as sent
-- Grain:  one row per SRC_ROW
-- Input:  delivery.rows, study.protocol, study.sites, study.visits
-- Units:  none
-- Source: expectations/common, expectations/visit/sv

with

subjects as (
    select
        i.USUBJID,
        regexp_matches(i.USUBJID, p.subject_pattern) as well_formed,
        nullif(regexp_extract(i.USUBJID, p.subject_pattern, 1), '') as site
    from (select distinct USUBJID from delivery.rows) as i
    cross join study.protocol as p
),

visits as (
    select
        i.VISIT,
        w.VISITNUM as number,
        w.VISIT is not null or regexp_matches(i.VISIT, p.unscheduled_visits) as known
    from (select distinct VISIT from delivery.rows) as i
    cross join study.protocol as p
    left join study.visits as w on i.VISIT = w.VISIT
)

select
    r.*,
    yes_no(coalesce(r.STUDYID = p.STUDYID, false)) as STUDY_OK,
    yes_no(s.well_formed) as ID_OK,
    yes_no(s.site = r.SITEID) as SITE_OK,
    yes_no(names_arm(concat_ws(chr(10), *columns(r.*)), p.blinded)) as ARM_WORD,
    cast(p.last_plausible_date as date) as LAST_DATE,
    yes_no(v.known) as VISIT_KNOWN,
    result_kind(r.VISITNUM) as VISITNUM_KIND,
    yes_no(exact_number(r.VISITNUM) = v.number) as VISITNUM_FITS,
    iso_kind(r.SVSTDTC) as SVSTDTC_KIND,
    clock_kind(r.SVSTDTC, z.timezone) as SVSTDTC_CLOCK,
    iso_date(r.SVSTDTC) as SVSTDT,
    iso_kind(r.SVENDTC) as SVENDTC_KIND,
    iso_date(r.SVENDTC) as SVENDT
from delivery.rows as r
cross join study.protocol as p
left join subjects as s on r.USUBJID = s.USUBJID
left join study.sites as z on r.SITEID = z.SITEID
left join visits as v on r.VISIT = v.VISIT
