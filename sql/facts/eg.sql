-- Name:   facts.eg
-- Label:  What the rules on ECG look at: one delivery's rows, with facts beside the cells as sent
-- Grain:  one row per SRC_ROW
-- Input:  delivery.rows, study.protocol, study.sites, study.visits
-- Units:  EGVAL as sent: beats/min or msec
-- Source: expectations/common, expectations/visit/eg

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
    yes_no(coalesce(r.EGTESTCD in ('EGHRMN', 'PRAG', 'QRSAG', 'QTAG', 'QTCFAG', 'QTCBAG', 'RRAG'), false)) as MEASURED,
    result_writing(r.EGORRES) as RESULT_KIND,
    approximate(r.EGORRES) as EGVAL,
    iso_kind(r.EGDTC) as EGDTC_KIND,
    clock_kind(r.EGDTC, z.timezone) as EGDTC_CLOCK,
    iso_date(r.EGDTC) as EGDT
from delivery.rows as r
cross join study.protocol as p
left join subjects as s on r.USUBJID = s.USUBJID
left join study.sites as z on r.SITEID = z.SITEID
left join visits as v on r.VISIT = v.VISIT
