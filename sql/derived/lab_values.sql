-- Name:   derived.lab_values
-- Label:  Laboratory results as numbers, with the limits in force, in the record's and in the study's unit
-- Grain:  one row per RECORD
-- Input:  curated.adsl, derived.lab_limits, derived.lab_records, reference.units, study.analytes, study.protocol, study.visits
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
    from (select distinct LBTPT, VISIT from derived.lab_records) as t
    cross join study.protocol as p
),

-- The limits in force, still in the record's units; the factor to the study's unit; the subject's first dose.
placed as (
    select
        c.* exclude (RECORD_LO, RECORD_HI),
        d.AVISIT,
        d.week as AVISITN,
        s.TRTSDT,
        s.TRTEDT,
        u.factor,
        case when u.factor is not null then a.standard_unit end as AVALU,
        coalesce(c.RECORD_LO, l.LAB_LO) as LO,
        coalesce(c.RECORD_HI, l.LAB_HI) as HI,
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
    left join study.analytes as a on c.LBTESTCD = a.LBTESTCD
    left join reference.units as u
        on
            a.LBTESTCD = u.LBTESTCD
            and c.LBORRESU is not distinct from u.unit
            and a.standard_unit is not distinct from u.standard_unit
    left join derived.lab_limits as l
        on
            c.USUBJID = l.USUBJID
            and c.LBTESTCD = l.LBTESTCD
            and c.LBORRESU is not distinct from l.LBORRESU
            and c.ADT is not distinct from l.ADT
            and c.RECORD_LO is null
            and c.RECORD_HI is null
),

-- Everything in the study's unit.
standardised as (
    select
        * exclude (factor),
        converted(NUM, factor) as VALUE,
        converted(LO, factor) as ANRLO,
        converted(HI, factor) as ANRHI
    from placed
)

-- A censored value is an interval, and the indicator is decided over all of it.
select
    s.* exclude (VALUE),
    on_treatment(s.ADT, s.PREDOSE, s.TRTSDT, s.TRTEDT, p.on_treatment_days) as ONTRTFL,
    case when s.SIGN is null then s.VALUE end as AVAL,
    case when s.SIGN in ('<', '<=') and s.VALUE is not null then 0 else s.VALUE end::decimal(20, 8) as AVALLO,
    case when s.SIGN is null or s.SIGN in ('<', '<=') then s.VALUE end as AVALHI,
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
from standardised as s
cross join study.protocol as p
