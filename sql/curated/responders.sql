-- Name:   curated.responders
-- Label:  Responder index (SRI) of every dosed subject at every planned visit with a score after the dose, with its parts
-- Grain:  one row per USUBJID, PARAMCD, AVISITN, AVISIT
-- Input:  curated.adrs, study.bilag, study.responder, study.sledai
-- Units:  SLEDAI, PGA in points; NEWA, NEWB and their unknowns are counts of organ systems
-- Source: Furie 2009 (SRI), thresholds of safety.activity; a part that is missing leaves the answer open: no imputation

with

-- One record per score and visit, and whether it is after the dose.
scores as (
    select
        *,
        coalesce(ABLFL, '') = 'Y' as IS_BASELINE
    from curated.adrs
    where ANL01FL = 'Y' or ABLFL = 'Y'
),

visits as (
    select
        STUDYID,
        SITEID,
        USUBJID,
        AVISIT,
        AVISITN,
        max(ADT) as ADT,
        max(ADY) as ADY
    from scores
    where ANL01FL = 'Y' and ONTRTFL = 'Y'
    group by STUDYID, SITEID, USUBJID, AVISIT, AVISITN
),

-- The baseline of each score, and its record at each visit.
base as (
    select *
    from scores
    where IS_BASELINE
),

later as (
    select *
    from scores
    where ANL01FL = 'Y' and ONTRTFL = 'Y'
),

-- SLEDAI: how far the total fell. A total that its items contradict, here or at baseline, proves nothing.
sledai as (
    select
        v.USUBJID,
        v.AVISIT,
        l.AVAL,
        b.AVAL as BASE,
        coalesce(l.ITEMSFL, '') = 'N' or coalesce(b.ITEMSFL, '') = 'N' as DISPUTED
    from visits as v
    inner join study.sledai as total on total.role = 'TOTAL'
    left join later as l on v.USUBJID = l.USUBJID and v.AVISIT = l.AVISIT and total.RSTESTCD = l.PARAMCD
    left join base as b on v.USUBJID = b.USUBJID and total.RSTESTCD = b.PARAMCD
),

-- BILAG: the grade of each organ system at the visit and at baseline.
graded as (
    select
        v.USUBJID,
        v.AVISIT,
        l.AVALC as GRADE,
        b.AVALC as BASE_GRADE
    from visits as v
    cross join study.bilag as system
    left join later as l on v.USUBJID = l.USUBJID and v.AVISIT = l.AVISIT and system.RSTESTCD = l.PARAMCD
    left join base as b on v.USUBJID = b.USUBJID and system.RSTESTCD = b.PARAMCD
),

-- A new A: A now and not before. A new B: B now and C, D or E before. A grade that is missing may be either, unless
-- the other one rules it out.
bilag as (
    select
        USUBJID,
        AVISIT,
        count(*) as SYSTEMS,
        count(GRADE) as SYSTEMS_GRADED,
        count(*) filter (where GRADE = 'A' and BASE_GRADE <> 'A') as NEWA,
        count(*) filter (where GRADE = 'B' and BASE_GRADE in ('C', 'D', 'E')) as NEWB,
        count(*) filter (
            where (GRADE is null and coalesce(BASE_GRADE, '') <> 'A') or (GRADE = 'A' and BASE_GRADE is null)
        ) as MAYBEA,
        count(*) filter (
            where
            (GRADE is null and coalesce(BASE_GRADE, 'C') in ('C', 'D', 'E')) or (GRADE = 'B' and BASE_GRADE is null)
        ) as MAYBEB
    from graded
    group by USUBJID, AVISIT
),

global as (
    select
        v.USUBJID,
        v.AVISIT,
        l.AVAL,
        b.AVAL as BASE
    from visits as v
    inner join study.responder as r on r.pga is not null
    left join later as l on v.USUBJID = l.USUBJID and v.AVISIT = l.AVISIT and r.pga = l.PARAMCD
    left join base as b on v.USUBJID = b.USUBJID and r.pga = b.PARAMCD
),

parts as (
    select
        v.*,
        r.drop,
        s.BASE as SLEDAIB,
        s.AVAL as SLEDAI,
        b.SYSTEMS::integer as SYSTEMS,
        b.SYSTEMS_GRADED::integer as GRADED,
        b.NEWA::integer as NEWA,
        b.NEWB::integer as NEWB,
        b.MAYBEA::integer as MAYBEA,
        b.MAYBEB::integer as MAYBEB,
        g.BASE as PGAB,
        g.AVAL as PGA,
        case
            when s.DISPUTED or s.BASE is null or s.AVAL is null then 'CANNOT TELL'
            when s.BASE - s.AVAL >= r.drop then 'Y'
            else 'N'
        end as SLEDAIFL,
        case
            when b.NEWA > r.new_a or b.NEWB > r.new_b then 'N'
            when b.NEWA + b.MAYBEA <= r.new_a and b.NEWB + b.MAYBEB <= r.new_b then 'Y'
            else 'CANNOT TELL'
        end as BILAGFL,
        case
            when r.pga is null then 'NOT COLLECTED'
            when g.BASE is null or g.AVAL is null then 'CANNOT TELL'
            when g.AVAL - g.BASE < r.pga_rise then 'Y'
            else 'N'
        end as PGAFL
    from visits as v
    cross join study.responder as r
    left join sledai as s on v.USUBJID = s.USUBJID and v.AVISIT = s.AVISIT
    left join bilag as b on v.USUBJID = b.USUBJID and v.AVISIT = b.AVISIT
    left join global as g on v.USUBJID = g.USUBJID and v.AVISIT = g.AVISIT
)

select
    STUDYID,
    SITEID,
    USUBJID,
    'SRI' || drop as PARAMCD,
    'SLE Responder Index, drop of ' || drop || ' points' as PARAM,
    AVISIT,
    AVISITN,
    ADT,
    ADY,
    -- One part that fails is enough; all must hold.
    case
        when 'N' in (SLEDAIFL, BILAGFL, PGAFL) then 'N'
        when 'CANNOT TELL' in (SLEDAIFL, BILAGFL, PGAFL) then 'CANNOT TELL'
        else 'Y'
    end as AVALC,
    SLEDAIFL,
    SLEDAIB,
    SLEDAI,
    BILAGFL,
    SYSTEMS,
    GRADED,
    NEWA,
    NEWB,
    MAYBEA,
    MAYBEB,
    PGAFL,
    PGAB,
    PGA
from parts
