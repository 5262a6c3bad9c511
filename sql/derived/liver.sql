-- Name:   derived.liver
-- Label:  Results that tell of the liver, on or after the first dose, as intervals of value and date
-- Grain:  one row per USUBJID, PARAMCD, LBSPEC, LBDTC, LBTPT, LBREFID
-- Input:  curated.adlb, curated.adsl, study.liver, study.liver_triggers, study.protocol
-- Units:  VALUE, LOW, HIGH, ANRHI, BASE in AVALU; OF_ULN and OF_BASE are multiples
-- Source: curated.adlb; bilirubin in urine is another test; cut-offs of Hy's law from safety.liver of the study

with

-- The tests that tell of the liver.
tests as (
    select unnest(['ALT', 'AST', 'ALP', 'BILI']) as PARAMCD
    union
    select companion as PARAMCD
    from study.liver_triggers
    where companion is not null
),

-- Blood results of subjects with a first dose. A partial date is the days it may mean.
dated as (
    select
        l.STUDYID,
        l.SITEID,
        l.USUBJID,
        l.PARAMCD,
        l.VISIT,
        l.AVISIT,
        l.AVISITN,
        l.ADT,
        l.ADY,
        l.AVAL,
        l.AVALLO,
        l.AVALHI,
        l.ANRHI,
        l.BASE,
        l.BNRIND,
        l.PENDFL,
        l.LBSPEC,
        l.LBDTC,
        l.LBTPT,
        l.LBREFID,
        l.SRC_SHA256,
        l.SRC_ROW,
        s.TRTSDT,
        censoring(l.AVALC) as SIGN,
        coalesce(l.ADT, greatest(iso_earliest(l.LBDTC), s.TRTSDT), s.TRTSDT) as FIRST_DAY,
        coalesce(l.ADT, iso_latest(l.LBDTC), s.LSTDT, s.TRTSDT) as LAST_DAY,
        before_dose(
            l.ADT,
            l.ADTM,
            s.TRTSDT,
            s.TRTSDTM,
            case
                when l.ADT = s.TRTSDT
                    then
                        coalesce(regexp_matches(l.LBTPT, p.baseline_predose), false)
                        or coalesce(regexp_matches(l.VISIT, p.baseline_predose), false)
            end
        ) as PREDOSE
    from curated.adlb as l
    inner join tests as t on l.PARAMCD = t.PARAMCD
    inner join curated.adsl as s on l.USUBJID = s.USUBJID
    cross join study.protocol as p
    where
        s.TRTSDT is not null
        and coalesce(l.LBSPEC, '') <> 'URINE'
        and l.AVALC is not null
        and l.ABLFL is null
)

select
    d.STUDYID,
    d.SITEID,
    d.USUBJID,
    d.PARAMCD,
    d.PARAMCD in ('ALT', 'AST') as IS_TRANSAMINASE,
    d.VISIT,
    d.AVISIT,
    d.AVISITN,
    d.ADT,
    d.ADY,
    d.FIRST_DAY,
    d.LAST_DAY,
    -- A censored value is shown by the bound that is known.
    coalesce(d.AVAL, case when d.SIGN in ('<', '<=') then d.AVALHI else d.AVALLO end) as VALUE,
    d.AVALLO as LOW,
    d.AVALHI as HIGH,
    d.SIGN,
    d.ANRHI,
    nullif(d.BASE, 0) as BASE,
    d.BNRIND,
    case when d.ANRHI > 0 then round(VALUE::double / d.ANRHI::double, 6) end as OF_ULN,
    case when d.BASE > 0 then round(VALUE::double / d.BASE::double, 6) end as OF_BASE,
    -- At or above the cut-off of Hy's law for this test; NULL when it cannot be told.
    reaches(
        d.AVALLO,
        d.AVALHI,
        d.SIGN,
        case d.PARAMCD when 'BILI' then cut.bilirubin when 'ALP' then cut.alp else cut.transaminase end * d.ANRHI
    ) as RAISED,
    d.PENDFL,
    d.LBSPEC,
    d.LBDTC,
    d.LBTPT,
    d.LBREFID,
    d.SRC_SHA256,
    d.SRC_ROW
from dated as d
cross join study.liver as cut
where not coalesce(d.PREDOSE, d.LAST_DAY < d.TRTSDT)
