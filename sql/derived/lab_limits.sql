-- Name:   derived.lab_limits
-- Label:  Limits of the site's laboratory for records without limits of their own, by sex, age and date
-- Grain:  one row per USUBJID, LBTESTCD, LBORRESU, ADT
-- Input:  curated.adsl, derived.lab_records, study.ranges, study.sites
-- Units:  LAB_LO, LAB_HI in LBORRESU
-- Source: labs.csv of the study, the most specific row; two that fit equally well and disagree give no limits: nothing is guessed

with

without_own as (
    select distinct
        SITEID,
        USUBJID,
        LBTESTCD,
        LBORRESU,
        ADT
    from derived.lab_records
    where RECORD_LO is null and RECORD_HI is null
),

-- Of the rows that fit subject and date: those for a sex before those for both, for an age before those for all, the
-- latest first.
fitting as (
    select
        record.USUBJID,
        record.LBTESTCD,
        record.LBORRESU,
        record.ADT,
        exact_number(r.LBORNRLO) as LAB_LO,
        exact_number(r.LBORNRHI) as LAB_HI
    from without_own as record
    inner join study.sites as site on record.SITEID = site.SITEID
    inner join study.ranges as r
        on
            site.lab = r.lab
            and record.LBTESTCD = r.LBTESTCD
            and coalesce(record.LBORRESU, '') = coalesce(r.unit, '')
    left join curated.adsl as subject on record.USUBJID = subject.USUBJID
    where
        (coalesce(r.SEX, '') = '' or r.SEX = subject.SEX)
        and (coalesce(r.age_low, '') = '' or exact_number(r.age_low) <= subject.AGE)
        and (coalesce(r.age_high, '') = '' or exact_number(r.age_high) >= subject.AGE)
        and (coalesce(r.valid_from, '') = '' or iso_date(r.valid_from) <= record.ADT)
        and (coalesce(r.valid_to, '') = '' or iso_date(r.valid_to) >= record.ADT)
    qualify rank() over (
            partition by record.USUBJID, record.LBTESTCD, record.LBORRESU, record.ADT
            order by
                (coalesce(r.SEX, '') <> '')::integer + (coalesce(r.age_low, r.age_high, '') <> '')::integer desc,
                iso_date(r.valid_from) desc nulls last
        ) = 1
)

select
    USUBJID,
    LBTESTCD,
    LBORRESU,
    ADT,
    any_value(LAB_LO) as LAB_LO,
    any_value(LAB_HI) as LAB_HI
from fitting
group by USUBJID, LBTESTCD, LBORRESU, ADT
having count(distinct row(LAB_LO, LAB_HI)) = 1
