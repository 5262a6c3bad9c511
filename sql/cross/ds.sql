-- Name:   cross.ds
-- Label:  What the rules across domains look at: disposition that arrived, beside the site's other records
-- Grain:  one row per SITEID, SRC_SHA256, SRC_ROW
-- Input:  arrived.ds, cross.subjects
-- Units:  none
-- Source: expectations/cross/ds

select
    r.*,
    yes_no(d.USUBJID is not null) as SUBJECT_KNOWN,
    yes_no(iso_earliest(r.DSSTDTC) > d.death) as AFTER_DEATH,
    yes_no(iso_latest(r.DSSTDTC) < d.consent) as BEFORE_CONSENT,
    yes_no(coalesce(regexp_matches(concat_ws(' ', r.DSDECOD, r.DSTERM), '(?i)\b(death|died|fatal)\b'), false)) as DEATH
from arrived.ds as r
left join "cross".subjects as d on r.SITEID = d.SITEID and r.USUBJID = d.USUBJID
