-- Name:   facts.ds
-- Label:  What the rules on disposition look at: one delivery's rows, with facts beside the cells as sent
-- Grain:  one row per SRC_ROW
-- Input:  delivery.rows, study.protocol, study.visits
-- Units:  none
-- Source: expectations/common, expectations/visit/ds

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
),

judged as (
    select
        r.*,
        yes_no(coalesce(r.STUDYID = p.STUDYID, false)) as STUDY_OK,
        yes_no(s.well_formed) as ID_OK,
        yes_no(s.site = r.SITEID) as SITE_OK,
        yes_no(names_arm(concat_ws(chr(10), *columns(r.*)), p.blinded)) as ARM_WORD,
        cast(p.last_plausible_date as date) as LAST_DATE,
        yes_no(v.known) as VISIT_KNOWN,
        yes_no(coalesce(regexp_matches(concat_ws(' ', r.DSDECOD, r.DSTERM), '(?i)\b(death|died|fatal)\b'), false)) as DEATH,
        iso_kind(r.DSSTDTC) as DSSTDTC_KIND,
        iso_earliest(r.DSSTDTC) as DSSTDT_EARLIEST,
        iso_kind(r.DSDTC) as DSDTC_KIND
    from delivery.rows as r
    cross join study.protocol as p
    left join subjects as s on r.USUBJID = s.USUBJID
    left join visits as v on r.VISIT = v.VISIT
)

-- A record of a death is never held back for its words: they are judged by a rule of their own, a warning.
select
    * exclude (ARM_WORD),
    case when DEATH = 'N' then ARM_WORD end as ARM_WORD,
    case when DEATH = 'Y' then ARM_WORD end as ARM_WORD_DEATH
from judged
