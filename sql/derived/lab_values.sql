-- Name:   derived.lab_values
-- Label:  Laboratory results as numbers, with the limits in force, in the record's and in the study's unit
-- Grain:  one row per SRC_SHA256, SRC_ROW
-- Input:  accepted.lb, curated.adsl, derived.lab_limits, reference.units, study.analytes, study.protocol, study.visits
-- Units:  NUM, LO, HI in LBORRESU; AVAL, AVALLO, AVALHI, ANRLO, ANRHI in AVALU
-- Source: ADaM IG, BDS; ANRIND is decided in the units of the record, as rounded conversions move values across limits

with

-- Each text is read once, however many records hold it.
dates as (
    select
        LBDTC,
        iso_date(LBDTC) as ADT,
        iso_datetime(LBDTC) as ADTM
    from (select distinct LBDTC from accepted.lb) as texts
    where LBDTC is not null
),

numbers as (
    select
        CELL,
        exact_number(CELL) as PLAIN,
        reported_number(CELL) as NUM,
        censoring(CELL) as SIGN
    from (
        select LBORRES as CELL from accepted.lb
        union
        select LBORNRLO as CELL from accepted.lb
        union
        select LBORNRHI as CELL from accepted.lb
    ) as texts
    where CELL is not null
),

-- Cells as numbers and times, in the units of the record.
collected as (
    select
        c.*,
        d.ADT,
        d.ADTM,
        whole_number(c.LBSEQ) as SEQ,
        c.LBORRES is not null and coalesce(c.LBSTAT, '') <> 'NOT DONE' as HAS_RESULT,
        result.SIGN,
        result.NUM,
        low.PLAIN as RECORD_LO,
        high.PLAIN as RECORD_HI
    from accepted.lb as c
    left join dates as d on c.LBDTC = d.LBDTC
    left join numbers as result on c.LBORRES = result.CELL
    left join numbers as low on c.LBORNRLO = low.CELL
    left join numbers as high on c.LBORNRHI = high.CELL
),

-- The limits in force, still in the record's units; the factor to the study's unit; the subject's first dose.
placed as (
    select
        c.*,
        coalesce(a.PARAM, c.LBTEST, c.LBTESTCD) as PARAM,
        coalesce(a.PARCAT1, 'OTHER') as PARCAT1,
        a.standard_unit,
        u.factor,
        v.AVISIT,
        v.week as AVISITN,
        s.TRTSDT,
        s.TRTEDT,
        coalesce(c.RECORD_LO, l.LAB_LO) as LO,
        coalesce(c.RECORD_HI, l.LAB_HI) as HI,
        case
            when coalesce(c.RECORD_LO, c.RECORD_HI) is not null then 'RECORD'
            when coalesce(l.LAB_LO, l.LAB_HI) is not null then 'LAB'
        end as RANGESRC,
        -- A same-day sample is before the dose when both times say so, or else when time point or visit does.
        before_dose(
            c.ADT,
            c.ADTM,
            s.TRTSDT,
            s.TRTSDTM,
            coalesce(regexp_matches(c.LBTPT, p.baseline_predose), false)
            or coalesce(regexp_matches(c.VISIT, p.baseline_predose), false)
        ) as PREDOSE
    from collected as c
    cross join study.protocol as p
    left join curated.adsl as s on c.USUBJID = s.USUBJID
    left join study.analytes as a on c.LBTESTCD = a.LBTESTCD
    left join reference.units as u
        on
            a.LBTESTCD = u.LBTESTCD
            and c.LBORRESU is not distinct from u.unit
            and a.standard_unit is not distinct from u.standard_unit
    left join study.visits as v on c.VISIT = v.VISIT
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
        *,
        converted(NUM, factor) as VALUE,
        converted(LO, factor) as ANRLO,
        converted(HI, factor) as ANRHI
    from placed
)

-- A censored value is an interval, and the indicator is decided over all of it.
select
    * exclude (VALUE),
    case when SIGN is null then VALUE end as AVAL,
    case when SIGN in ('<', '<=') and VALUE is not null then 0 else VALUE end::decimal(20, 8) as AVALLO,
    case when SIGN is null or SIGN in ('<', '<=') then VALUE end as AVALHI,
    case when factor is not null then standard_unit end as AVALU,
    case
        when NUM is null or RANGESRC is null then null
        when SIGN is null then case when NUM < LO then 'LOW' when NUM > HI then 'HIGH' else 'NORMAL' end
        when SIGN = '<' and NUM <= LO then 'LOW'
        when SIGN = '<=' and NUM < LO then 'LOW'
        when SIGN = '>' and NUM >= HI then 'HIGH'
        when SIGN = '>=' and NUM > HI then 'HIGH'
        when SIGN in ('<', '<=') and coalesce(LO, 0) <= 0 and coalesce(HI, NUM) >= NUM then 'NORMAL'
        when SIGN in ('>', '>=') and HI is null and NUM >= LO then 'NORMAL'
    end as ANRIND,
    -- Records of one subject, test and specimen in time; a missing time comes first.
    row_number() over (
        partition by USUBJID, LBTESTCD, LBSPEC
        order by
            ADT nulls first, ADTM nulls first, SEQ nulls first, LBDTC nulls first, LBTPT nulls first,
            LBREFID nulls first
    ) as POSITION
from standardised
