-- Name:   derived.lab_grades
-- Label:  Of every result that CTCAE v5 has criteria for, the least and the highest grade that it may have
-- Grain:  one row per RECORD
-- Input:  derived.lab_baselines, derived.lab_correcting, derived.lab_criteria, derived.lab_values, reference.ctcae5, reference.specimens
-- Units:  grades 0 to 4
-- Source: NCI CTCAE v5.0, sql/reference/ctcae5.csv; results alone, so no grade that rests on symptoms or treatment

with

-- Which tests have criteria, in which direction.
terms as (
    select
        LBTESTCD,
        any_value(term) filter (where direction = 'LOW') as TERM_LOW,
        any_value(term) filter (where direction = 'HIGH') as TERM_HIGH
    from reference.ctcae5
    group by LBTESTCD
),

-- Up to and including the baseline a result is judged by the limit of normal; so is every result of a subject without
-- a dose. A result without a date may lie on either side.
paired as (
    select
        v.RECORD,
        v.USUBJID,
        v.LBTESTCD,
        v.ONTRTFL,
        v.SIGN,
        v.NUM,
        v.LO,
        v.HI,
        case
            when v.TRTSDT is null then true
            when b.RECORD is not null then v.ADT is not null and v.RECORD <= b.RECORD
            else coalesce(v.PREDOSE, false)
        end as IS_EARLY,
        t.TERM_LOW,
        t.TERM_HIGH,
        k.* exclude (LBTESTCD, unit),
        case when k.corrected_by is null then 0 else k.corrected_slope * (k.corrected_at - a.MEASURED) end as CORRECTION,
        b.RECORD as BASE_RECORD,
        b.BASE_SIGN,
        v.ADT is not null and coalesce(v.RECORD > b.RECORD, false) as IS_AFTER,
        try((b.BASE_NUM * kb.high_factor)::decimal(30, 12)) as BASE_NUM,
        try((b.BASE_HI * kb.high_factor)::decimal(30, 12)) as BASE_ULN
    from derived.lab_values as v
    left join derived.lab_baselines as b
        on v.USUBJID = b.USUBJID and v.LBTESTCD = b.LBTESTCD and v.LBSPEC is not distinct from b.LBSPEC
    inner join terms as t on v.LBTESTCD = t.LBTESTCD
    left join derived.lab_criteria as k on v.LBTESTCD = k.LBTESTCD and v.LBORRESU is not distinct from k.unit
    left join derived.lab_criteria as kb on b.LBTESTCD = kb.LBTESTCD and b.BASE_UNIT is not distinct from kb.unit
    left join derived.lab_correcting as a
        on
            k.corrected_by = a.LBTESTCD
            and v.USUBJID = a.USUBJID
            and v.LBDTC = a.LBDTC
            and v.LBSPEC is not distinct from a.LBSPEC
    left join reference.specimens as s on upper(v.LBSPEC) = s.LBSPEC
    where s.graded is distinct from 'N'
),

-- Values and limits in the units of the cut-offs. A censored value is an interval; NULL as its end is no end.
measured as (
    select
        *,
        try((NUM * low_factor)::decimal(30, 12) + CORRECTION::decimal(30, 12)) as LOW_VALUE,
        try((NUM * high_factor)::decimal(30, 12) + CORRECTION::decimal(30, 12)) as HIGH_VALUE,
        case when SIGN in ('<', '<=') and LOW_VALUE is not null then 0 else LOW_VALUE end as LOW_LEAST,
        case when SIGN in ('>', '>=') then null else LOW_VALUE end as LOW_MOST,
        case when SIGN in ('<', '<=') and HIGH_VALUE is not null then 0 else HIGH_VALUE end as HIGH_LEAST,
        case when SIGN in ('>', '>=') then null else HIGH_VALUE end as HIGH_MOST,
        try((LO * low_factor)::decimal(30, 12)) as LLN,
        try((HI * high_factor)::decimal(30, 12)) as ULN,
        case when BASE_SIGN in ('<', '<=') and BASE_NUM is not null then 0 else BASE_NUM end as BASE_LEAST,
        case when BASE_SIGN in ('>', '>=') then null else BASE_NUM end as BASE_MOST,
        case
            when BASE_LEAST > BASE_ULN or (BASE_LEAST = BASE_ULN and BASE_SIGN is not distinct from '>') then true
            when BASE_MOST <= BASE_ULN then false
        end as IS_ABNORMAL_BASE
    from paired
),

tested as (
    select
        *,
        meets(below_1, LOW_LEAST, LOW_MOST, SIGN, cut_off(below_1, LLN, null, null), cut_off(below_1, LLN, null, null)) as LOW_1,
        meets(below_2, LOW_LEAST, LOW_MOST, SIGN, cut_off(below_2, LLN, null, null), cut_off(below_2, LLN, null, null)) as LOW_2,
        meets(below_3, LOW_LEAST, LOW_MOST, SIGN, cut_off(below_3, LLN, null, null), cut_off(below_3, LLN, null, null)) as LOW_3,
        meets(below_4, LOW_LEAST, LOW_MOST, SIGN, cut_off(below_4, LLN, null, null), cut_off(below_4, LLN, null, null)) as LOW_4,
        meets(above_1, HIGH_LEAST, HIGH_MOST, SIGN, cut_off(above_1, null, ULN, null), cut_off(above_1, null, ULN, null)) as HIGH_1,
        meets(above_2, HIGH_LEAST, HIGH_MOST, SIGN, cut_off(above_2, null, ULN, null), cut_off(above_2, null, ULN, null)) as HIGH_2,
        meets(above_3, HIGH_LEAST, HIGH_MOST, SIGN, cut_off(above_3, null, ULN, null), cut_off(above_3, null, ULN, null)) as HIGH_3,
        meets(above_4, HIGH_LEAST, HIGH_MOST, SIGN, cut_off(above_4, null, ULN, null), cut_off(above_4, null, ULN, null)) as HIGH_4,
        meets(
            times_1, HIGH_LEAST, HIGH_MOST, SIGN,
            cut_off(times_1, null, null, BASE_LEAST), cut_off(times_1, null, null, BASE_MOST)
        ) as BASE_1,
        meets(
            times_2, HIGH_LEAST, HIGH_MOST, SIGN,
            cut_off(times_2, null, null, BASE_LEAST), cut_off(times_2, null, null, BASE_MOST)
        ) as BASE_2,
        meets(
            times_3, HIGH_LEAST, HIGH_MOST, SIGN,
            cut_off(times_3, null, null, BASE_LEAST), cut_off(times_3, null, null, BASE_MOST)
        ) as BASE_3,
        meets(
            times_4, HIGH_LEAST, HIGH_MOST, SIGN,
            cut_off(times_4, null, null, BASE_LEAST), cut_off(times_4, null, null, BASE_MOST)
        ) as BASE_4
    from measured
),

-- Each scale by itself. With a baseline that nobody knows, a value within the limit of normal is no multiple of an
-- abnormal one.
scaled as (
    select
        RECORD,
        USUBJID,
        LBTESTCD,
        ONTRTFL,
        BASE_RECORD,
        IS_EARLY,
        IS_AFTER,
        TERM_LOW,
        TERM_HIGH,
        base_when,
        needs_lln,
        needs_uln,
        LOW_VALUE,
        HIGH_VALUE,
        LLN,
        ULN,
        BASE_NUM,
        IS_ABNORMAL_BASE,
        least_grade(LOW_1, LOW_2, LOW_3, LOW_4) as LOW_FROM,
        highest_grade(LOW_1, LOW_2, LOW_3, LOW_4) as LOW_TO,
        least_grade(HIGH_1, HIGH_2, HIGH_3, HIGH_4) as ULN_FROM,
        highest_grade(HIGH_1, HIGH_2, HIGH_3, HIGH_4) as ULN_TO,
        least_grade(BASE_1, BASE_2, BASE_3, BASE_4) as BASE_FROM,
        case
            when BASE_NUM is null and base_when = 'ABNORMAL' and ULN_TO = 0 then 0
            else highest_grade(BASE_1, BASE_2, BASE_3, BASE_4)
        end as BASE_TO
    from tested
)

-- The scale that the criteria ask for: above an abnormal baseline, else above the limit; creatinine takes the worse. An
-- unknown baseline is judged both ways.
select
    *,
    case
        when base_when is null or IS_EARLY then ULN_FROM
        when base_when = 'ANY' then greatest(ULN_FROM, BASE_FROM)
        when IS_ABNORMAL_BASE then BASE_FROM
        when not IS_ABNORMAL_BASE then ULN_FROM
        else least(ULN_FROM, BASE_FROM)
    end as HIGH_FROM,
    case
        when base_when is null or IS_EARLY then ULN_TO
        when base_when = 'ANY' then greatest(ULN_TO, BASE_TO)
        when IS_ABNORMAL_BASE then BASE_TO
        when not IS_ABNORMAL_BASE then ULN_TO
        else greatest(ULN_TO, BASE_TO)
    end as HIGH_TO
from scaled
