-- Name:   derived.lab_limits
-- Label:  Limits of the site's laboratory for its records, by sex, age and date
-- Grain:  one row per USUBJID, LBTESTCD, LBORRESU, LBDTC
-- Input:  accepted.lb, curated.adsl, reference.units, study.analytes, study.ranges, study.sites
-- Units:  LAB_LO, LAB_HI in LBORRESU; LAB_ANRLO, LAB_ANRHI in AVALU
-- Source: labs.csv of the study, the most specific row; two that fit equally well and disagree give no limits: nothing is guessed

with

listed as (
    select distinct
        lab,
        LBTESTCD
    from study.ranges
),

-- The subjects, tests, units and moments of which the site's laboratory may have limits.
wanted as (
    select distinct
        c.USUBJID,
        c.LBTESTCD,
        c.LBORRESU,
        c.LBDTC,
        site.lab
    from accepted.lb as c
    inner join study.sites as site on c.SITEID = site.SITEID
    inner join listed as known on site.lab = known.lab and c.LBTESTCD = known.LBTESTCD
),

-- Of the rows that fit subject and date: those for a sex before those for both, for an age before those for all, the
-- latest first.
fitting as (
    select
        record.USUBJID,
        record.LBTESTCD,
        record.LBORRESU,
        record.LBDTC,
        exact_number(r.LBORNRLO) as LAB_LO,
        exact_number(r.LBORNRHI) as LAB_HI,
        converted(LAB_LO, u.factor) as LAB_ANRLO,
        converted(LAB_HI, u.factor) as LAB_ANRHI
    from wanted as record
    inner join study.ranges as r
        on
            record.lab = r.lab
            and record.LBTESTCD = r.LBTESTCD
            and coalesce(record.LBORRESU, '') = coalesce(r.unit, '')
    left join study.analytes as a on record.LBTESTCD = a.LBTESTCD
    left join reference.units as u
        on
            a.LBTESTCD = u.LBTESTCD
            and record.LBORRESU is not distinct from u.unit
            and a.standard_unit is not distinct from u.standard_unit
    left join curated.adsl as subject on record.USUBJID = subject.USUBJID
    where
        (coalesce(r.SEX, '') = '' or r.SEX = subject.SEX)
        and (coalesce(r.age_low, '') = '' or exact_number(r.age_low) <= subject.AGE)
        and (coalesce(r.age_high, '') = '' or exact_number(r.age_high) >= subject.AGE)
        and (coalesce(r.valid_from, '') = '' or iso_date(r.valid_from) <= iso_date(record.LBDTC))
        and (coalesce(r.valid_to, '') = '' or iso_date(r.valid_to) >= iso_date(record.LBDTC))
    qualify rank() over (
            partition by record.USUBJID, record.LBTESTCD, record.LBORRESU, record.LBDTC
            order by
                (coalesce(r.SEX, '') <> '')::integer + (coalesce(r.age_low, r.age_high, '') <> '')::integer desc,
                iso_date(r.valid_from) desc nulls last
        ) = 1
)

select
    USUBJID,
    LBTESTCD,
    LBORRESU,
    LBDTC,
    any_value(LAB_LO) as LAB_LO,
    any_value(LAB_HI) as LAB_HI,
    any_value(LAB_ANRLO) as LAB_ANRLO,
    any_value(LAB_ANRHI) as LAB_ANRHI
from fitting
group by USUBJID, LBTESTCD, LBORRESU, LBDTC
having count(distinct row(LAB_LO, LAB_HI)) = 1
