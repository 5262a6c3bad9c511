-- Name:   facts.cm
-- Label:  What the rules on concomitant medications look at: one delivery's rows, with facts beside the cells as sent
-- Grain:  one row per SRC_ROW
-- Input:  delivery.rows, study.protocol, study.visits
-- Units:  DOSE in CMDOSU, PREDNISONE_MG in mg
-- Source: expectations/common, expectations/visit/cm

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
        i.VISIT in (select w.VISIT from study.visits as w) or regexp_matches(i.VISIT, p.unscheduled_visits) as known
    from (select distinct VISIT from delivery.rows) as i
    cross join study.protocol as p
)

select
    r.*,
    yes_no(coalesce(r.STUDYID = p.STUDYID, false)) as STUDY_OK,
    yes_no(s.well_formed) as ID_OK,
    yes_no(s.site = r.SITEID) as SITE_OK,
    yes_no(names_arm(concat_ws(chr(10), *columns(r.*)), p.blinded)) as ARM_WORD,
    cast(p.last_plausible_date as date) as LAST_DATE,
    yes_no(v.known) as VISIT_KNOWN,
    iso_kind(r.CMSTDTC) as CMSTDTC_KIND,
    iso_kind(r.CMENDTC) as CMENDTC_KIND,
    iso_earliest(r.CMSTDTC) as CMSTDT_EARLIEST,
    iso_latest(r.CMENDTC) as CMENDT_LATEST,
    result_kind(r.CMDOSE) as CMDOSE_KIND,
    approximate(r.CMDOSE) as DOSE,
    case
        when r.CMDOSU = 'mg' and regexp_matches(coalesce(r.CMDECOD, r.CMTRT), '(?i)^predniso(lo)?ne') then approximate(r.CMDOSE)
    end as PREDNISONE_MG
from delivery.rows as r
cross join study.protocol as p
left join subjects as s on r.USUBJID = s.USUBJID
left join visits as v on r.VISIT = v.VISIT
