-- Name:   derived.entry
-- Label:  Subjects and the day for which their entry criteria are judged
-- Grain:  one row per USUBJID
-- Input:  curated.adsl, curated.data_quality
-- Units:  AGE in years
-- Source: eligibility is judged for the day of the first dose; for a subject never dosed, for the day it left the study

with

-- What came in from the site: where a domain never arrived, no record of a subject means nothing.
received as (
    select
        SITEID,
        bool_or(DOMAIN = 'CM') as CM_RECEIVED,
        bool_or(DOMAIN = 'MH') as MH_RECEIVED
    from curated.data_quality
    where DELIVERIES_ACCEPTED + DELIVERIES_PARTIAL > 0
    group by SITEID
)

select
    s.STUDYID,
    s.SITEID,
    s.USUBJID,
    case when coalesce(s.AGEU, 'YEARS') = 'YEARS' then s.AGE end as AGE,
    s.SEX,
    s.SAFFL,
    s.TRTSDT,
    s.TRTSDTM,
    case when s.SAFFL = 'Y' then s.TRTSDT else s.EOSDT end as REFDT,
    coalesce(r.CM_RECEIVED, false) as CM_RECEIVED,
    coalesce(r.MH_RECEIVED, false) as MH_RECEIVED,
    s.PENDFL,
    s.SRC_SHA256,
    s.SRC_ROW
from curated.adsl as s
left join received as r on s.SITEID = r.SITEID
