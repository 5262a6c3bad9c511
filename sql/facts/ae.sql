-- Name:   facts.ae
-- Label:  What the rules on adverse events look at: one delivery's rows, with facts beside the cells as sent
-- Grain:  one row per SRC_ROW
-- Input:  delivery.rows, study.protocol, study.sites
-- Units:  none
-- Source: expectations/common, expectations/visit/ae

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
    case when r.AETERM is null and r.AEDECOD is null then 'N' else 'Y' end as TERM_PRESENT,
    iso_kind(r.AESTDTC) as AESTDTC_KIND,
    clock_kind(r.AESTDTC, z.timezone) as AESTDTC_CLOCK,
    iso_kind(r.AEENDTC) as AEENDTC_KIND,
    iso_earliest(r.AESTDTC) as AESTDT_EARLIEST,
    iso_earliest(r.AEENDTC) as AEENDT_EARLIEST,
    iso_latest(r.AEENDTC) as AEENDT_LATEST,
    yes_no(len(list_filter(
        [r.AESCONG, r.AESDISAB, r.AESDTH, r.AESHOSP, r.AESLIFE], lambda flag: flag not in ('Y', 'N')
    )) = 0) as SERIOUS_FLAGS_OK,
    yes_no(list_contains([r.AESCONG, r.AESDISAB, r.AESDTH, r.AESHOSP, r.AESLIFE], 'Y')) as SERIOUS_REASON,
    yes_no(coalesce(r.AESDTH = 'Y', false) or coalesce(r.AEOUT = 'FATAL', false)) as FATAL
from delivery.rows as r
cross join study.protocol as p
left join subjects as s on r.USUBJID = s.USUBJID
left join study.sites as z on r.SITEID = z.SITEID
