-- Name:   derived.lab_values
-- Label:  Laboratory results as numbers, with the limits in force, in the record's and in the study's unit
-- Grain:  one row per RECORD
-- Input:  accepted.lb, curated.adsl, derived.lab_limits, derived.lab_records, study.protocol, study.visits
-- Units:  NUM, LO, HI in LBORRESU; AVAL, AVALLO, AVALHI, ANRLO, ANRHI in AVALU
-- Source: ADaM IG, BDS; ANRIND is decided in the units of the record, as rounded conversions move values across limits

with

-- Which time points and visits say that they are before the dose.
said as (
    select
        t.LBTPT,
        t.VISIT,
        coalesce(regexp_matches(t.LBTPT, p.baseline_predose), false)
        or coalesce(regexp_matches(t.VISIT, p.baseline_predose), false) as SAYS_PREDOSE
    from (select distinct LBTPT, VISIT from accepted.lb) as t
    cross join study.protocol as p
),

-- The limits in force, in both units, and the subject's first dose.
placed as (
    select
        c.* exclude (RECORD_LO, RECORD_HI, RECORD_ANRLO, RECORD_ANRHI),
        d.AVISIT,
        d.week as AVISITN,
        s.TRTSDT,
        s.TRTEDT,
        coalesce(c.RECORD_LO, l.LAB_LO) as LO,
        coalesce(c.RECORD_HI, l.LAB_HI) as HI,
        coalesce(c.RECORD_ANRLO, l.LAB_ANRLO) as ANRLO,
        coalesce(c.RECORD_ANRHI, l.LAB_ANRHI) as ANRHI,
        case
            when coalesce(c.RECORD_LO, c.RECORD_HI) is not null then 'RECORD'
            when coalesce(l.LAB_LO, l.LAB_HI) is not null then 'LAB'
        end as RANGESRC,
        -- A same-day sample is before the dose when both times say so, or else when time point or visit does.
        before_dose(c.ADT, c.ADTM, s.TRTSDT, s.TRTSDTM, t.SAYS_PREDOSE) as PREDOSE
    from derived.lab_records as c
    inner join said as t on c.LBTPT is not distinct from t.LBTPT and c.VISIT is not distinct from t.VISIT
    left join study.visits as d on c.VISIT = d.VISIT
    left join curated.adsl as s on c.USUBJID = s.USUBJID
    left join derived.lab_limits as l
        on
            c.USUBJID = l.USUBJID
            and c.LBTESTCD = l.LBTESTCD
            and c.LBORRESU is not distinct from l.LBORRESU
            and c.LBDTC is not distinct from l.LBDTC
            and c.RECORD_LO is null
            and c.RECORD_HI is null
)

-- A censored value is an interval, and the indicator is decided over all of it.
select
    s.* exclude (STANDARD),
    on_treatment(s.ADT, s.PREDOSE, s.TRTSDT, s.TRTEDT, p.on_treatment_days) as ONTRTFL,
    case when s.SIGN is null then s.STANDARD end as AVAL,
    case when s.SIGN in ('<', '<=') and s.STANDARD is not null then 0 else s.STANDARD end::decimal(20, 8) as AVALLO,
    case when s.SIGN is null or s.SIGN in ('<', '<=') then s.STANDARD end as AVALHI,
    case
        when s.NUM is null or s.RANGESRC is null then null
        when s.SIGN is null then case when s.NUM < s.LO then 'LOW' when s.NUM > s.HI then 'HIGH' else 'NORMAL' end
        when s.SIGN = '<' and s.NUM <= s.LO then 'LOW'
        when s.SIGN = '<=' and s.NUM < s.LO then 'LOW'
        when s.SIGN = '>' and s.NUM >= s.HI then 'HIGH'
        when s.SIGN = '>=' and s.NUM > s.HI then 'HIGH'
        when s.SIGN in ('<', '<=') and coalesce(s.LO, 0) <= 0 and coalesce(s.HI, s.NUM) >= s.NUM then 'NORMAL'
        when s.SIGN in ('>', '>=') and s.HI is null and s.NUM >= s.LO then 'NORMAL'
    end as ANRIND
from placed as s
cross join study.protocol as p
