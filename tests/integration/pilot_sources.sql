-- The records that the pilot's laboratory tables are made of, twice: schema `ours` from a release and the closed list,
-- schema `theirs` from the ADaM datasets that the pilot's authors published. Both sides have the same columns:
--   subject  USUBJID, ARM                              everyone dosed
--   lab      a record per subject, test and planned visit, and once more as `End of treatment`; AVAL, CHG exact;
--            RANGE: against the reference range, SHIFT and BASE: against 1.5 x ULN and 0.5 x LLN, now and at baseline
--            (L, N, H, or NULL); PICKED: the value of treatment furthest beyond those
--   liver    a record per subject, planned visit of treatment and PARAMCD (TRANSHY, HYLAW): SHIFT, BASE as N or H
-- Given: curated.adlb, curated.adsl, closed, adlb (adlbc and adlbh), adlbhy, study.*; macros of sql/macros.sql.

create schema ours;
create schema theirs;

-- The tests of the tables: chemistry and haematology with a number.
create table shown as
select unnest([
    'ALB', 'ALP', 'ALT', 'AST', 'BILI', 'CA', 'CHOL', 'CK', 'CL', 'CREAT', 'GGT', 'GLUC', 'K', 'PHOS', 'PROT', 'SODIUM',
    'URATE', 'UREAN', 'BASO', 'EOS', 'HCT', 'HGB', 'LYM', 'MCH', 'MCHC', 'MCV', 'MONO', 'PLAT', 'RBC', 'WBC'
]) as PARAMCD;

create view ours.subject as
select s.USUBJID, c.ARM
from curated.adsl as s
inner join closed as c on s.USUBJID = c.USUBJID
where s.SAFFL = 'Y';

create view theirs.subject as
select USUBJID, TRT01P as ARM
from adsl
where SAFFL = 'Y';

-- == lab ==========================================================================================================

create table ours.judged as
select
    r.USUBJID,
    r.PARAMCD,
    r.AVISIT,
    r.AVISITN,
    r.LBSEQ,
    r.ABLFL,
    r.AVAL,
    r.CHG,
    left(r.ANRIND, 1) as RANGE,
    left(
        beyond_limits(r.AVALLO, r.AVALHI, censoring(r.AVALC), r.ANRLO, r.ANRHI, t.times_lln, t.times_uln), 1
    ) as SHIFT,
    excess(r.AVALLO, r.AVALHI, r.ANRLO, r.ANRHI, t.times_lln, t.times_uln) as EXCESS,
    r.AVISITN > 0 and r.AVISITN <= last.week as ON_TREATMENT
from curated.adlb as r
inner join ours.subject as s on r.USUBJID = s.USUBJID
inner join study.visits as v on r.VISIT = v.VISIT
cross join study.lab_threshold as t
cross join study.lab_period as p
inner join study.visits as last on p.until = last.AVISIT
-- What the pilot's tables call Baseline is its first screening visit; one subject's sample of Day 1 is in none of them.
where r.ANL01FL = 'Y' and v.expected = 'Y' and r.AVISIT <> 'Baseline' and r.PARAMCD in (from shown);

create table ours.lab as
with picked as (
    select USUBJID, LBSEQ
    from ours.judged
    where ON_TREATMENT and SHIFT is not null
    qualify row_number() over (partition by USUBJID, PARAMCD order by SHIFT <> 'N' desc, EXCESS desc, AVISITN) = 1
),

baseline as (select USUBJID, PARAMCD, SHIFT from ours.judged where ABLFL = 'Y'),

ended as (
    select USUBJID, LBSEQ
    from ours.judged
    where ON_TREATMENT
    qualify row_number() over (partition by USUBJID, PARAMCD order by AVISITN desc) = 1
),

visits as (
    select * replace (case when AVISIT = 'Screening 1' then 'Baseline' else AVISIT end as AVISIT) from ours.judged
    union all
    select j.* replace ('End of treatment' as AVISIT)
    from ours.judged as j
    inner join ended as e on j.USUBJID = e.USUBJID and j.LBSEQ = e.LBSEQ
)

select
    s.ARM,
    v.USUBJID,
    v.PARAMCD,
    v.AVISIT,
    v.AVAL,
    v.CHG,
    v.RANGE,
    v.SHIFT,
    b.SHIFT as BASE,
    coalesce(p.LBSEQ is not null and v.AVISIT <> 'End of treatment', false) as PICKED
from visits as v
inner join ours.subject as s on v.USUBJID = s.USUBJID
left join picked as p on v.USUBJID = p.USUBJID and v.LBSEQ = p.LBSEQ
left join baseline as b on v.USUBJID = b.USUBJID and v.PARAMCD = b.PARAMCD;

create table theirs.lab as
select
    TRTP as ARM,
    USUBJID,
    case PARAMCD when 'BUN' then 'UREAN' else PARAMCD end as PARAMCD,
    case AVISITN when 99 then 'End of treatment' else AVISIT end as AVISIT,
    AVAL::decimal(20, 8) as AVAL,
    CHG::decimal(20, 8) as CHG,
    left(LBNRIND, 1) as RANGE,
    ANRIND as SHIFT,
    BNRIND as BASE,
    coalesce(ANL01FL = 'Y' and AVISITN <> 99, false) as PICKED
from adlb
where SAFFL = 'Y' and AVISIT is not null and (AVISITN <> 99 or AENTMTFL = 'Y')
    and (PARAMCD = 'BUN' or PARAMCD in (from shown));

-- == liver ========================================================================================================

-- TRANSHY: ALT or AST above its limit; HYLAW: bilirubin too, at the same visit.
create table ours.liver as
with by_visit as (
    select
        ARM,
        USUBJID,
        AVISIT,
        bool_or(SHIFT = 'H') filter (where PARAMCD in ('ALT', 'AST')) as TRANSHY,
        bool_or(SHIFT = 'H') filter (where PARAMCD = 'BILI') as BILIHY,
        bool_or(BASE = 'H') filter (where PARAMCD in ('ALT', 'AST')) as BASE_TRANSHY,
        bool_or(BASE = 'H') filter (where PARAMCD = 'BILI') as BASE_BILIHY
    from ours.lab
    where AVISIT not in ('Baseline', 'Week 26', 'End of treatment')
    group by ARM, USUBJID, AVISIT
)

select ARM, USUBJID, AVISIT, 'TRANSHY' as PARAMCD, if(TRANSHY, 'H', 'N') as SHIFT, if(BASE_TRANSHY, 'H', 'N') as BASE
from by_visit
where TRANSHY is not null and BASE_TRANSHY is not null
union all
select ARM, USUBJID, AVISIT, 'HYLAW', if(TRANSHY and BILIHY, 'H', 'N'), if(BASE_TRANSHY and BASE_BILIHY, 'H', 'N')
from by_visit
where (TRANSHY and BILIHY) is not null and (BASE_TRANSHY and BASE_BILIHY) is not null;

create table theirs.liver as
select TRTP as ARM, USUBJID, AVISIT, PARAMCD, if(AVAL = 1, 'H', 'N') as SHIFT, if(BASE = 1, 'H', 'N') as BASE
from adlbhy
where SAFFL = 'Y' and PARAMCD in ('TRANSHY', 'HYLAW') and AVISITN > 0 and AVAL is not null and BASE is not null;
