-- Name:   derived.lab_grades
-- Label:  CTCAE grades of every case of derived.lab_judged: the least and the highest it may have, and how far they can be told
-- Grain:  one row per LBTESTCD, LBORRESU, SIGN, NUM, LO, HI, MEASURED, IS_EARLY, BASE_SIGN, BASE_NUM, BASE_HI, BASE_UNIT
-- Input:  derived.lab_criteria, derived.lab_judged, reference.ctcae5
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

-- Each case is judged once, however many results there are of it.
cases as (
    select distinct
        LBTESTCD,
        LBORRESU,
        SIGN,
        NUM,
        LO,
        HI,
        MEASURED,
        IS_EARLY,
        BASE_SIGN,
        BASE_NUM,
        BASE_HI,
        BASE_UNIT
    from derived.lab_judged
),

paired as (
    select
        c.*,
        try((c.BASE_NUM * kb.high_factor)::decimal(30, 12)) as BASE_VALUE,
        try((c.BASE_HI * kb.high_factor)::decimal(30, 12)) as BASE_ULN,
        t.TERM_LOW,
        t.TERM_HIGH,
        k.* exclude (LBTESTCD, unit),
        case when k.corrected_by is null then 0 else k.corrected_slope * (k.corrected_at - c.MEASURED) end as CORRECTION
    from cases as c
    inner join terms as t on c.LBTESTCD = t.LBTESTCD
    left join derived.lab_criteria as k on c.LBTESTCD = k.LBTESTCD and c.LBORRESU is not distinct from k.unit
    left join derived.lab_criteria as kb on c.LBTESTCD = kb.LBTESTCD and c.BASE_UNIT is not distinct from kb.unit
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
        case when BASE_SIGN in ('<', '<=') and BASE_VALUE is not null then 0 else BASE_VALUE end as BASE_LEAST,
        case when BASE_SIGN in ('>', '>=') then null else BASE_VALUE end as BASE_MOST,
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
        LBTESTCD,
        LBORRESU,
        SIGN,
        NUM,
        LO,
        HI,
        MEASURED,
        IS_EARLY,
        BASE_SIGN,
        BASE_NUM,
        BASE_HI,
        BASE_UNIT,
        TERM_LOW,
        TERM_HIGH,
        base_when,
        needs_lln,
        needs_uln,
        LOW_VALUE,
        HIGH_VALUE,
        LLN,
        ULN,
        BASE_VALUE,
        IS_ABNORMAL_BASE,
        least_grade(LOW_1, LOW_2, LOW_3, LOW_4) as LOW_FROM,
        highest_grade(LOW_1, LOW_2, LOW_3, LOW_4) as LOW_TO,
        least_grade(HIGH_1, HIGH_2, HIGH_3, HIGH_4) as ULN_FROM,
        highest_grade(HIGH_1, HIGH_2, HIGH_3, HIGH_4) as ULN_TO,
        least_grade(BASE_1, BASE_2, BASE_3, BASE_4) as BASE_FROM,
        case
            when BASE_VALUE is null and base_when = 'ABNORMAL' and ULN_TO = 0 then 0
            else highest_grade(BASE_1, BASE_2, BASE_3, BASE_4)
        end as BASE_TO
    from tested
),

-- The scale that the criteria ask for: above an abnormal baseline, else above the limit; creatinine takes the worse. An
-- unknown baseline is judged both ways.
chosen as (
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
),

-- A grade stands when the least and the highest possible one are the same. A result that is too low is not too high, and
-- the other way round. Of creatinine, grade 2 and above stands on the limit or on the baseline alone.
graded as (
    select
        g.*,
        case
            when g.TERM_LOW is null then null
            when g.LOW_VALUE is null then 'NOT GRADABLE'
            when g.LOW_FROM = g.LOW_TO or g.HIGH_FROM > 0 then 'CERTAIN'
            when g.LLN is null and g.needs_lln then 'NOT GRADABLE'
            else 'INDETERMINATE'
        end as CERT_LOW,
        case
            when g.TERM_HIGH is null then null
            when g.HIGH_VALUE is null then 'NOT GRADABLE'
            when g.base_when = 'ANY' and not g.IS_EARLY and g.ULN is null and g.BASE_VALUE is null
                then 'NOT GRADABLE'
            when g.base_when = 'ANY' and not g.IS_EARLY and g.ULN is null
                then case when g.BASE_FROM = g.BASE_TO and g.BASE_FROM >= 2 then 'CERTAIN' else 'NOT GRADABLE' end
            when g.base_when = 'ANY' and not g.IS_EARLY and g.BASE_VALUE is null
                then case when g.ULN_FROM = g.ULN_TO and g.ULN_FROM >= 2 then 'CERTAIN' else 'NOT GRADABLE' end
            when g.HIGH_FROM = g.HIGH_TO or g.LOW_FROM > 0 then 'CERTAIN'
            when g.ULN is null and g.needs_uln and not coalesce(g.IS_ABNORMAL_BASE, false)
                then 'NOT GRADABLE'
            else 'INDETERMINATE'
        end as CERT_HIGH
    from chosen as g
)

select
    * exclude (needs_lln, needs_uln, CERT_LOW, CERT_HIGH),
    row_number() over () as CASE_NUMBER,
    case when CERT_LOW = 'CERTAIN' then case when HIGH_FROM > 0 then 0 else LOW_FROM end end as ATOXGRL,
    case when CERT_HIGH = 'CERTAIN' then case when LOW_FROM > 0 then 0 else HIGH_FROM end end as ATOXGRH,
    case
        when CERT_HIGH is null or HIGH_VALUE is null then null
        when LOW_FROM > 0 then 0
        when ULN_FROM = ULN_TO then ULN_FROM
    end as ATOXGRHU,
    case when CERT_LOW is not null and LOW_VALUE is not null then LOW_FROM end as ATOXLLO,
    case when CERT_LOW is not null and LOW_VALUE is not null then case when HIGH_FROM > 0 then 0 else LOW_TO end end as ATOXLHI,
    case when CERT_HIGH is not null and HIGH_VALUE is not null then HIGH_FROM end as ATOXHLO,
    case when CERT_HIGH is not null and HIGH_VALUE is not null then case when LOW_FROM > 0 then 0 else HIGH_TO end end as ATOXHHI,
    case
        when 'NOT GRADABLE' in (CERT_LOW, CERT_HIGH) then 'NOT GRADABLE'
        when 'INDETERMINATE' in (CERT_LOW, CERT_HIGH) then 'INDETERMINATE'
        else coalesce(CERT_LOW, CERT_HIGH)
    end as TOXCERT
from graded
