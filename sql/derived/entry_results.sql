-- Name:   derived.entry_results
-- Label:  The last result before the first dose of every test that an entry criterion asks for; equal moments stay together
-- Grain:  one row per USUBJID, DOMAIN, TESTCD, SEQ, SPEC, SRC_SHA256, SRC_ROW
-- Input:  accepted.rs, curated.adlb, curated.advs, derived.entry, study.criteria_steroid, study.criteria_tests, study.protocol
-- Units:  AVAL, AVALLO, AVALHI, ANRHI in AVALU
-- Source: the last result decides, whether it can be used or not; same-day samples as in curated.adlb, scores and weights as in curated.advs

with

-- Laboratory results; without a time, a sample of the dosing day counts where its time point or visit says pre-dose.
laboratory as (
    select
        r.USUBJID,
        'LB' as DOMAIN,
        r.PARAMCD as TESTCD,
        r.LBSEQ as SEQ,
        r.LBSPEC as SPEC,
        r.ADT,
        r.ADTM,
        r.LBDTC as DTC,
        r.AVAL,
        r.AVALC,
        r.AVALLO,
        r.AVALHI,
        r.AVALU,
        r.ANRHI,
        r.ANRIND,
        coalesce(regexp_matches(r.LBTPT, p.baseline_predose), false)
        or coalesce(regexp_matches(r.VISIT, p.baseline_predose), false) as SAME_DAY,
        r.PENDFL,
        r.SRC_SHA256,
        r.SRC_ROW
    from curated.adlb as r
    cross join study.protocol as p
    where r.PARAMCD in (select t.TESTCD from study.criteria_tests as t) and r.AVALC is not null
),

-- Scores and grades of disease activity; what is neither a number nor one letter is no usable result.
scores as (
    select
        r.USUBJID,
        'RS' as DOMAIN,
        r.RSTESTCD as TESTCD,
        whole_number(r.RSSEQ) as SEQ,
        null as SPEC,
        iso_date(r.RSDTC) as ADT,
        iso_datetime(r.RSDTC) as ADTM,
        r.RSDTC as DTC,
        exact_number(r.RSORRES)::decimal(20, 8) as AVAL,
        case when exact_number(r.RSORRES) is not null or regexp_full_match(r.RSORRES, '[A-Z]') then r.RSORRES end as AVALC,
        AVAL as AVALLO,
        AVAL as AVALHI,
        null as AVALU,
        null::decimal(20, 8) as ANRHI,
        null as ANRIND,
        not coalesce(regexp_matches(r.RSTPT, '(?i)post'), false) as SAME_DAY,
        r.PENDFL,
        r.SRC_SHA256,
        r.SRC_ROW
    from accepted.rs as r
    where
        r.RSTESTCD in (select t.TESTCD from study.criteria_tests as t)
        and r.RSORRES is not null
        and coalesce(r.RSSTAT, '') <> 'NOT DONE'
),

-- Weights, for doses per kg; one that cannot be used is passed over: weight is no criterion itself.
weights as (
    select
        r.USUBJID,
        'VS' as DOMAIN,
        r.PARAMCD as TESTCD,
        r.VSSEQ as SEQ,
        null as SPEC,
        r.ADT,
        r.ADTM,
        r.VSDTC as DTC,
        r.AVAL,
        r.AVALC,
        r.AVAL as AVALLO,
        r.AVAL as AVALHI,
        r.AVALU,
        null::decimal(20, 8) as ANRHI,
        null as ANRIND,
        not coalesce(regexp_matches(r.VSTPT, '(?i)post'), false) as SAME_DAY,
        r.PENDFL,
        r.SRC_SHA256,
        r.SRC_ROW
    from curated.advs as r
    where r.PARAMCD = 'WEIGHT' and r.AVAL > 0 and (select count(*) from study.criteria_steroid) > 0
),

every as (
    select * from laboratory
    union all
    select * from scores
    union all
    select * from weights
)

-- All results of a subject never dosed are before a dose. A result without a time comes first on its day.
select every.* exclude (SAME_DAY)
from every
inner join derived.entry as e on every.USUBJID = e.USUBJID
where
    every.ADT is not null
    and (e.SAFFL <> 'Y' or before_dose(every.ADT, every.ADTM, e.TRTSDT, e.TRTSDTM, every.SAME_DAY))
qualify rank() over (
        partition by every.USUBJID, every.DOMAIN, every.TESTCD
        order by every.ADT desc, coalesce(every.ADTM, every.ADT::timestamp) desc
    ) = 1
