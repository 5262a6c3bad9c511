-- Name:   cross.ex
-- Label:  What the rules across domains look at: exposure that arrived, beside the site's other records
-- Grain:  one row per SITEID, SRC_SHA256, SRC_ROW
-- Input:  arrived.ds, arrived.ex, cross.subjects, study.protocol
-- Units:  none
-- Source: expectations/cross/ex

with

randomised as (
    select
        SITEID,
        USUBJID,
        min(iso_earliest(DSSTDTC)) as randomised_on
    from arrived.ds
    where DSDECOD in ('RANDOMIZED', 'RANDOMISED')
    group by SITEID, USUBJID
),

days as (
    select
        SITEID,
        USUBJID,
        count(distinct iso_date(EXSTDTC)) as doses
    from arrived.ex
    group by SITEID, USUBJID
)

select
    r.*,
    yes_no(d.USUBJID is not null) as SUBJECT_KNOWN,
    yes_no(iso_date(r.EXSTDTC) > d.death) as AFTER_DEATH,
    yes_no(iso_date(r.EXSTDTC) < d.consent) as BEFORE_CONSENT,
    yes_no(iso_date(r.EXSTDTC) < z.randomised_on) as BEFORE_RANDOMISATION,
    yes_no(n.doses > p.max_doses) as TOO_MANY_DOSES,
    case
        when iso_date(r.EXSTDTC) = min(iso_date(r.EXSTDTC)) over (partition by r.SITEID, r.USUBJID)
            then yes_no(iso_date(r.EXSTDTC) = d.first_day)
    end as FIRST_DOSE_AGREES
from arrived.ex as r
cross join study.protocol as p
left join "cross".subjects as d on r.SITEID = d.SITEID and r.USUBJID = d.USUBJID
left join randomised as z on r.SITEID = z.SITEID and r.USUBJID = z.USUBJID
left join days as n on r.SITEID = n.SITEID and r.USUBJID = n.USUBJID
