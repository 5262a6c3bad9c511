-- Name:   curated.hys_law
-- Label:  Possible cases of Hy's law on or after the first dose: ALT or AST and then bilirubin raised, judged by ALP
-- Grain:  one row per USUBJID, CASENO
-- Input:  derived.liver, study.liver
-- Units:  ALT, AST, ALP, BILI in their AVALU; _ULN are multiples of the upper limit of normal; BILIDAYS in days
-- Source: FDA guidance on drug-induced liver injury (2009), with cut-offs and days of safety.liver of the study

with

-- A transaminase and a bilirubin on the same day or up to so many days later. One of the two is surely raised; the
-- other may be: censored, without a limit, or of a partial date.
pairs as (
    select
        t.*,
        b.VALUE as BILI,
        b.OF_ULN as BILI_ULN,
        b.ADT as BILIDT,
        b.VISIT as BILIVISIT,
        b.BNRIND as BILI_BNRIND,
        b.FIRST_DAY as BILI_DAY,
        b.SRC_SHA256 as BILI_SHA256,
        b.SRC_ROW as BILI_ROW,
        case
            when t.RAISED is null then 'transaminase without limit or censored'
            when b.RAISED is null then 'bilirubin without limit or censored'
            when b.FIRST_DAY < t.LAST_DAY or b.LAST_DAY > t.FIRST_DAY + cut.days then 'partial date'
        end as DOUBT
    from derived.liver as t
    inner join derived.liver as b
        on
            t.USUBJID = b.USUBJID
            and b.PARAMCD = 'BILI'
            and coalesce(b.RAISED, true)
            and (t.RAISED or b.RAISED)
    cross join study.liver as cut
    where
        t.IS_TRANSAMINASE
        and coalesce(t.RAISED, true)
        and b.LAST_DAY >= t.FIRST_DAY
        and b.FIRST_DAY <= t.LAST_DAY + cut.days
),

-- The best pair of each transaminase: the sure one, then the earliest bilirubin.
rises as (
    select *
    from pairs
    qualify row_number() over (
            partition by SRC_SHA256, SRC_ROW
            order by DOUBT is null desc, BILI_DAY asc, BILI_ULN desc nulls last, BILI_SHA256 asc, BILI_ROW asc
        ) = 1
),

-- Days on which none of the ALT and AST measured was raised.
calm as (
    select
        l.USUBJID,
        l.ADT
    from derived.liver as l
    semi join rises as r on l.USUBJID = r.USUBJID
    where l.IS_TRANSAMINASE and l.ADT is not null
    group by l.USUBJID, l.ADT
    having not any_is(l.RAISED)
),

-- A case is over with a calm day on or after its bilirubin; a rise after that day begins the next case.
ordered as (
    select
        *,
        lag(BILI_DAY) over (
            partition by USUBJID order by FIRST_DAY asc, BILI_DAY asc, OF_ULN desc nulls last, SRC_SHA256 asc, SRC_ROW asc
        ) as BILI_BEFORE
    from rises
),

split as (
    select
        o.*,
        exists(
            select 1
            from calm as c
            where c.USUBJID = o.USUBJID and c.ADT >= o.BILI_BEFORE and c.ADT < o.FIRST_DAY
        ) as IS_NEXT
    from ordered as o
),

numbered as (
    select
        *,
        1 + count(*) filter (where IS_NEXT) over (
            partition by USUBJID
            order by FIRST_DAY asc, BILI_DAY asc, OF_ULN desc nulls last, SRC_SHA256 asc, SRC_ROW asc
            rows unbounded preceding
        ) as CASENO
    from split
),

-- One row per case: its first sure rise, or the first at all; of one day's ALT and AST the higher.
cases as (
    select *
    from numbered
    qualify row_number() over (
            partition by USUBJID, CASENO
            order by
                DOUBT is null desc, FIRST_DAY asc, OF_ULN desc nulls last, PARAMCD asc, SRC_SHA256 asc, SRC_ROW asc
        ) = 1
),

-- The results of the day on which a case begins.
same_day as (
    select l.*
    from derived.liver as l
    semi join cases as c on l.USUBJID = c.USUBJID and l.ADT = c.ADT
),

-- The highest of them by test.
highest as (
    select *
    from same_day
    qualify row_number() over (
            partition by USUBJID, PARAMCD, ADT
            order by OF_ULN desc nulls last, VALUE desc nulls last, SRC_SHA256 asc, SRC_ROW asc
        ) = 1
),

-- ALP of a day is raised, or not, only where all its results say so.
alp_days as (
    select
        USUBJID,
        ADT,
        any_is(RAISED) as IS_HIGH,
        any_is(not RAISED) as IS_BELOW,
        count(ANRHI) as LIMITS
    from same_day
    where PARAMCD = 'ALP'
    group by USUBJID, ADT
)

select
    c.STUDYID,
    c.SITEID,
    c.USUBJID,
    c.CASENO::integer as CASENO,
    c.VISIT,
    c.AVISIT,
    c.AVISITN,
    c.ADT,
    c.ADY,
    c.PARAMCD,
    coalesce(alt.VALUE, case when c.PARAMCD = 'ALT' then c.VALUE end) as ALT,
    coalesce(alt.OF_ULN, case when c.PARAMCD = 'ALT' then c.OF_ULN end) as ALT_ULN,
    coalesce(ast.VALUE, case when c.PARAMCD = 'AST' then c.VALUE end) as AST,
    coalesce(ast.OF_ULN, case when c.PARAMCD = 'AST' then c.OF_ULN end) as AST_ULN,
    alp.VALUE as ALP,
    alp.OF_ULN as ALP_ULN,
    c.BILI,
    c.BILI_ULN,
    c.BILIDT,
    c.BILIVISIT,
    (c.BILIDT - c.ADT)::integer as BILIDAYS,
    -- R: liver cells (> 5) or bile flow (< 2). The new R takes the higher of ALT and AST.
    case when ALP_ULN > 0 then round(ALT_ULN / ALP_ULN, 2) end as RRATIO,
    case when ALP_ULN > 0 then round(greatest(ALT_ULN, AST_ULN) / ALP_ULN, 2) end as NRRATIO,
    c.BASE,
    c.OF_BASE as R2BASE,
    c.BNRIND,
    c.BILI_BNRIND,
    case
        when not day.IS_BELOW then 'N'
        when c.DOUBT is null and not day.IS_HIGH then 'Y'
        else 'CANNOT TELL'
    end as HYSLAW,
    case
        when not day.IS_BELOW then 'ALP too high'
        when c.DOUBT is not null then c.DOUBT
        when day.USUBJID is null then 'ALP not measured'
        when day.LIMITS = 0 then 'ALP without limit'
        when coalesce(day.IS_HIGH, true) then 'ALP censored or contradictory'
    end as REASON,
    c.PENDFL,
    c.SRC_SHA256,
    c.SRC_ROW,
    c.BILI_SHA256,
    c.BILI_ROW
from cases as c
left join alp_days as day on c.USUBJID = day.USUBJID and c.ADT = day.ADT
left join highest as alt on c.USUBJID = alt.USUBJID and c.ADT = alt.ADT and alt.PARAMCD = 'ALT'
left join highest as ast on c.USUBJID = ast.USUBJID and c.ADT = ast.ADT and ast.PARAMCD = 'AST'
left join highest as alp on c.USUBJID = alp.USUBJID and c.ADT = alp.ADT and alp.PARAMCD = 'ALP'
