-- Name:   derived.judged_drugs
-- Label:  Entry criteria on medication: not taken, or not changed, within so many months before entry
-- Grain:  one row per USUBJID, CRITERION
-- Input:  derived.entry, derived.entry_medications, reference.drug_classes, study.criteria_medication
-- Units:  MONTHS are calendar months back from entry; WINSTDT is the first day that counts
-- Source: study.yaml; the day exactly so many months back is outside, the day of entry itself cannot tell

with

-- The classes that drugs belong to: of a medication known by its class only, it may be any of them.
classes_of as (
    select
        a.CRITERION,
        list(distinct d.class) as CLASSES
    from study.criteria_medication as a
    inner join reference.drug_classes as d on list_contains(a.drugs, d.drug)
    group by a.CRITERION
),

windows as (
    select
        e.USUBJID,
        e.REFDT,
        e.CM_RECEIVED,
        a.*,
        (e.REFDT - to_months(a.months))::date as LIMITDT,
        a.classes || coalesce(d.CLASSES, []) as MAY_BE
    from derived.entry as e
    cross join study.criteria_medication as a
    left join classes_of as d on a.CRITERION = d.CRITERION
),

-- A record that another one of the same drug and daily dose leads up to, or goes on from, changed nothing there.
steps as (
    select
        m.*,
        coalesce(
            bool_or(
                m.FIRST_START = m.LAST_START and o.FIRST_END = o.LAST_END
                and o.LAST_START < m.FIRST_START and o.LAST_END >= m.FIRST_START - 1
            ),
            false
        ) as GOES_ON,
        coalesce(
            bool_or(
                m.FIRST_END = m.LAST_END and o.FIRST_START = o.LAST_START
                and o.FIRST_END > m.LAST_END and o.LAST_START <= m.LAST_END + 1
            ),
            false
        ) as IS_FOLLOWED
    from derived.entry_medications as m
    left join derived.entry_medications as o
        on
            m.USUBJID = o.USUBJID
            and m.DRUG = o.DRUG
            and coalesce(round(m.MG_A_DAY, 6)::varchar, m.REGIMEN) = coalesce(round(o.MG_A_DAY, 6)::varchar, o.REGIMEN)
    group by all
),

-- Medications that are, or may be, one of those asked for.
matched as (
    select
        w.*,
        m.* exclude (USUBJID),
        coalesce(
            (list_contains(w.drugs, m.DRUG) or list_contains(w.classes, m.CLASS))
            and (len(w.other_than) = 0 or (m.DRUG is not null and not list_contains(w.other_than, m.DRUG))),
            false
        ) as IS_ONE
    from windows as w
    inner join steps as m on w.USUBJID = m.USUBJID
    where
        IS_ONE
        or m.CLASS is null
        or (m.DRUG is null and list_contains(w.MAY_BE, m.CLASS))
),

-- What happened within the window for certain, and what may have. REFDT unknown: anything may have.
happened as (
    select
        *,
        IS_ONE and coalesce(case
            when unchanged
                then
                    (FIRST_START > LIMITDT and LAST_START < REFDT and not GOES_ON)
                    or (FIRST_END > LIMITDT and LAST_END < REFDT and not IS_FOLLOWED)
            else LAST_START < REFDT and FIRST_END > LIMITDT
        end, false) as CERTAIN,
        coalesce(case
            when unchanged
                then
                    (LAST_START > LIMITDT and FIRST_START <= REFDT and not GOES_ON)
                    or (LAST_END > LIMITDT and FIRST_END <= REFDT and not IS_FOLLOWED)
            else FIRST_START <= REFDT and LAST_END > LIMITDT
        end, true) as POSSIBLE
    from matched
),

-- The record that decides; among equals the one that ended last.
deciding as (
    select *
    from happened
    qualify row_number() over (
            partition by USUBJID, CRITERION
            order by
                CERTAIN desc, POSSIBLE desc, IS_ONE desc, LAST_END desc, LAST_START desc, CMSEQ desc nulls last, CMSPID asc,
                SRC_SHA256 asc, SRC_ROW asc
        ) = 1
)

select
    w.USUBJID,
    w.CRITERION,
    case
        when d.CERTAIN then 'NOT MET'
        when d.POSSIBLE or not w.CM_RECEIVED then 'CANNOT TELL'
        else 'MET'
    end as STATUS,
    case
        when d.CERTAIN then null
        when d.POSSIBLE
            then case when w.REFDT is null then 'NO ENTRY DATE' when d.IS_ONE then 'DATES NOT EXACT' else 'UNKNOWN DRUG' end
        when not w.CM_RECEIVED then 'DOMAIN NOT RECEIVED'
    end as REASON,
    yes_no(w.CM_RECEIVED) as RECFL,
    w.months,
    w.LIMITDT + 1 as WINSTDT,
    case when d.USUBJID is not null then 'CM' end as EVDOMAIN,
    d.NAME as EVTERM,
    d.CMSEQ as EVSEQ,
    d.CMSTDTC as EVSTDTC,
    d.CMENDTC as EVENDTC,
    null::decimal(20, 8) as AVAL,
    d.REGIMEN as AVALC,
    null as AVALU,
    null::decimal(20, 8) as CRITLO,
    null::decimal(20, 8) as CRITHI,
    d.PENDFL,
    d.SRC_SHA256,
    d.SRC_ROW
from windows as w
left join deciding as d on w.USUBJID = d.USUBJID and w.CRITERION = d.CRITERION
