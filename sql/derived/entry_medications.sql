-- Name:   derived.entry_medications
-- Label:  Systemic medications of the classes that entry criteria name, and those that nobody can place, with the days they may span
-- Grain:  one row per USUBJID, CMSEQ, CMSPID, SRC_SHA256, SRC_ROW, CLASS
-- Input:  curated.adcm, reference.dose_frequencies, reference.dose_units, reference.drug_classes, reference.local_routes, reference.steroids
-- Units:  MG_A_DAY in mg, DAILY in mg of prednisone a day; FIRST_START … LAST_END are days
-- Source: reference tables; a record without an end goes on, one taken ONCE ends on its day; without a route it is systemic

with

-- Each way to write a medication, once.
spellings as (
    select distinct
        CMDECOD,
        CMTRT,
        CMCLAS
    from curated.adcm
),

-- Names of reference.drug_classes in them: in the coded name, else as reported, else in the class. The longest wins.
found as (
    select
        s.*,
        c.drug,
        c.class,
        case
            when contains(as_words(s.CMDECOD), as_words(c.name)) then 1
            when contains(as_words(s.CMTRT), as_words(c.name)) then 2
            else 3
        end as PLACE
    from spellings as s
    inner join reference.drug_classes as c
        on
            contains(as_words(s.CMDECOD), as_words(c.name))
            or contains(as_words(s.CMTRT), as_words(c.name))
            or contains(as_words(s.CMCLAS), as_words(c.name))
    qualify
        row_number() over (
            partition by s.CMDECOD, s.CMTRT, s.CMCLAS, c.class
            order by PLACE asc, c.drug asc nulls last, length(c.name) desc, c.name asc
        ) = 1
        and PLACE = min(PLACE) over (partition by s.CMDECOD, s.CMTRT, s.CMCLAS)
),

-- DRUG NULL: it may be any of its class; CLASS NULL too: neither coded nor classed, it may be anything.
identified as (
    select
        m.*,
        coalesce(f.drug, m.CMDECOD) as DRUG,
        f.class
    from curated.adcm as m
    left join found as f
        on
            m.CMDECOD is not distinct from f.CMDECOD
            and m.CMTRT is not distinct from f.CMTRT
            and m.CMCLAS is not distinct from f.CMCLAS
    where
        (f.class is not null or (m.CMDECOD is null and m.CMCLAS is null))
        and coalesce(upper(m.CMROUTE), '') not in (select r.CMROUTE from reference.local_routes as r)
),

-- The days on which it may have begun and ended; contradictory dates say nothing.
dated as (
    select
        *,
        coalesce(iso_earliest(CMSTDTC), '0001-01-01'::date) as BEGINS,
        coalesce(iso_latest(CMSTDTC), '9999-12-31'::date) as BEGUN,
        case
            when CMENDTC is not null then coalesce(iso_earliest(CMENDTC), BEGINS)
            when CMDOSFRQ = 'ONCE' then BEGINS
            else '9999-12-31'::date
        end as ENDS,
        case
            when CMENDTC is not null then coalesce(iso_latest(CMENDTC), '9999-12-31'::date)
            when CMDOSFRQ = 'ONCE' then BEGUN
            else '9999-12-31'::date
        end as ENDED,
        ENDED < BEGINS as CONTRADICTORY
    from identified
),

-- The day's dose; here and as prednisone to a millionth of a mg, so that a third in decimals crosses no limit.
dosed as (
    select
        d.*,
        s.equivalent,
        approximate(d.CMDOSE) * u.mg::double * f.doses::double / f.days::double as MG_A_DAY
    from dated as d
    left join reference.steroids as s on d.DRUG = s.drug
    left join reference.dose_units as u on d.CMDOSU = u.CMDOSU
    left join reference.dose_frequencies as f on upper(d.CMDOSFRQ) = f.CMDOSFRQ
)

select
    USUBJID,
    CMSEQ,
    CMSPID,
    CLASS,
    DRUG,
    coalesce(CMDECOD, CMTRT) as NAME,
    CMSTDTC,
    CMENDTC,
    concat_ws(' ', CMDOSE, CMDOSU, CMDOSFRQ) as REGIMEN,
    case when MG_A_DAY >= 0 then MG_A_DAY end as MG_A_DAY,
    case when MG_A_DAY >= 0 then try(round(MG_A_DAY * 5 / equivalent::double, 6)::decimal(20, 8)) end as DAILY,
    case when CONTRADICTORY then '0001-01-01' else BEGINS end::date as FIRST_START,
    case when CONTRADICTORY then '9999-12-31' else least(BEGUN, ENDED) end::date as LAST_START,
    case when CONTRADICTORY then '0001-01-01' else greatest(BEGINS, ENDS) end::date as FIRST_END,
    case when CONTRADICTORY then '9999-12-31' else ENDED end::date as LAST_END,
    PENDFL,
    SRC_SHA256,
    SRC_ROW
from dosed
