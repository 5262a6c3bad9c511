-- Name:   curated.liver_triggers
-- Label:  Signs of liver injury on or after the first dose: the first time a subject meets each, or might
-- Grain:  one row per USUBJID, TRIGGER_ID
-- Input:  derived.liver, study.liver_triggers
-- Units:  VALUE, COMPVAL in AVALU of their test; _ULN and R2BASE are multiples; DAYS in days
-- Source: safety.liver of the study; a baseline above the limit is judged by its own multiples where the trigger has them

with

-- ALT and AST above the limit, or without one, under every trigger.
judged as (
    select
        l.*,
        t.id as TRIGGER_ID,
        t.says,
        t.companion,
        t.companion_uln,
        t.companion_value,
        t.within_days,
        t.companion_needed,
        t.lasting_days,
        l.BNRIND = 'HIGH' and l.BASE is not null and t.baseline is not null as BY_BASELINE,
        reaches(
            l.LOW,
            l.HIGH,
            l.SIGN,
            case
                when l.BNRIND = 'HIGH' and l.BASE is not null and t.baseline is not null
                    then least(t.baseline * l.BASE, t.ceiling)
                else t.uln * l.ANRHI
            end
        ) as REACHED
    from derived.liver as l
    cross join study.liver_triggers as t
    where l.IS_TRANSAMINASE
),

-- Days in a row on which the level was reached; a day on which it was surely not ends the row.
daily as (
    select
        USUBJID,
        TRIGGER_ID,
        ADT,
        any_is(REACHED) as REACHED
    from judged
    where ADT is not null and lasting_days is not null
    group by USUBJID, TRIGGER_ID, ADT
),

rows_of_days as (
    select
        *,
        count(*) filter (where not REACHED) over (
            partition by USUBJID, TRIGGER_ID order by ADT rows unbounded preceding
        ) as ROW_NO
    from daily
),

lasting as (
    select
        USUBJID,
        TRIGGER_ID,
        ADT,
        min(ADT) over (partition by USUBJID, TRIGGER_ID, ROW_NO) as SINCE
    from rows_of_days
    where REACHED
),

-- With what goes together: the result of the other test on the same day or within the days after.
together as (
    select
        j.*,
        c.PARAMCD as COMPCD,
        c.VALUE as COMPVAL,
        c.OF_ULN as COMP_ULN,
        c.ADT as COMPDT,
        c.FIRST_DAY as COMP_DAY,
        c.SRC_SHA256 as COMP_SHA256,
        c.SRC_ROW as COMP_ROW,
        d.SINCE,
        reaches(c.LOW, c.HIGH, c.SIGN, coalesce(j.companion_uln * c.ANRHI, j.companion_value)) as COMP_REACHED,
        coalesce(c.FIRST_DAY < j.LAST_DAY or c.LAST_DAY > j.FIRST_DAY + j.within_days, false) as UNSURE_DAYS
    from judged as j
    left join derived.liver as c
        on
            j.USUBJID = c.USUBJID
            and j.companion = c.PARAMCD
            and c.LAST_DAY >= j.FIRST_DAY
            and c.FIRST_DAY <= j.LAST_DAY + j.within_days
    left join lasting as d on j.USUBJID = d.USUBJID and j.TRIGGER_ID = d.TRIGGER_ID and j.ADT = d.ADT
    where coalesce(j.REACHED, true)
),

-- What is met, and what cannot be told; the rest is dropped.
decided as (
    select
        *,
        case
            when lasting_days is not null then case when REACHED and ADT - SINCE > lasting_days then 'Y' end
            when companion is null then case when REACHED then 'Y' end
            when REACHED and COMP_REACHED and not UNSURE_DAYS then 'Y'
            when REACHED and COMPCD is null and companion_needed then 'CANNOT TELL'
            when (REACHED and COMPCD is not null and coalesce(COMP_REACHED, true)) or COMP_REACHED then 'CANNOT TELL'
        end as STATUS
    from together
)

select
    STUDYID,
    SITEID,
    USUBJID,
    TRIGGER_ID,
    says as TRIGGER_TEXT,
    STATUS,
    case
        when STATUS = 'Y' then null
        when COMPCD is null then companion || ' not measured within ' || within_days || ' days'
        when REACHED is null then PARAMCD || ' without limit or censored'
        when COMP_REACHED is null then COMPCD || ' without limit or censored'
        else 'partial date'
    end as REASON,
    VISIT,
    AVISIT,
    AVISITN,
    ADT,
    ADY,
    PARAMCD,
    VALUE,
    OF_ULN as R2ANRHI,
    OF_BASE as R2BASE,
    case when BY_BASELINE then 'BASELINE' else 'ULN' end as SCALE,
    SINCE,
    COMPCD,
    COMPVAL,
    COMP_ULN,
    COMPDT,
    (COMPDT - ADT)::integer as DAYS,
    PENDFL,
    SRC_SHA256,
    SRC_ROW
from decided
where STATUS is not null
qualify row_number() over (
        partition by USUBJID, TRIGGER_ID
        order by
            STATUS = 'Y' desc, FIRST_DAY asc, COMP_DAY asc nulls last, OF_ULN desc nulls last,
            COMP_ULN desc nulls last, PARAMCD asc, SRC_SHA256 asc, SRC_ROW asc, COMP_SHA256 asc, COMP_ROW asc
    ) = 1
