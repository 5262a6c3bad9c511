-- Name:   curated.adex
-- Label:  Exposure, as much of it as cannot tell the arm: when, how long, interrupted or not
-- Grain:  one row per USUBJID
-- Input:  accepted.ex
-- Units:  DURATION in minutes, from the first start to the last end
-- Source: blinding plan: no dose, volume, kit or lot; one row however many a site sends, and no source row number to count by

with

-- How a record speaks of an interruption, if it does.
records as (
    select
        *,
        case
            when regexp_matches(EXADJ, '(?i)\b(no|not|never|without)\b.*(interrupt|pause|stopped)|uninterrupted') then 'N'
            when regexp_full_match(EXADJ, '(?i)y|yes') or regexp_matches(EXADJ, '(?i)interrupt|pause|stopped') then 'Y'
            when regexp_full_match(EXADJ, '(?i)n|no|none') then 'N'
        end as BROKEN
    from accepted.ex
),

-- A start or end counts only when every record has its time, so that no part is mistaken for the whole.
spans as (
    select
        STUDYID,
        SITEID,
        USUBJID,
        case when count(*) = count(iso_datetime(EXSTDTC)) then min(iso_datetime(EXSTDTC)) end as TRTSDTM,
        case when count(*) = count(iso_datetime(EXENDTC)) then max(iso_datetime(EXENDTC)) end as TRTEDTM,
        max(BROKEN) as INTERRUPTED,
        max(PENDFL) as PENDFL,
        min(SRC_SHA256) as SRC_SHA256
    from records
    group by STUDYID, SITEID, USUBJID
)

select
    STUDYID,
    SITEID,
    USUBJID,
    TRTSDTM,
    TRTEDTM,
    date_diff('minute', TRTSDTM, TRTEDTM)::integer as DURATION,
    INTERRUPTED,
    PENDFL,
    SRC_SHA256
from spans
