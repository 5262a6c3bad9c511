-- Name:   derived.judged_tests
-- Label:  Entry criteria that the last result of a test decides: scores, grades, laboratory limits, filtration, antibodies
-- Grain:  one row per USUBJID, CRITERION
-- Input:  derived.entry, derived.entry_results, reference.ckd_epi, reference.units, study.criteria_tests
-- Units:  AVAL, CRITLO, CRITHI in AVALU
-- Source: study.yaml; limits go to the unit of AVAL by reference.units, exactly; filtration by CKD-EPI 2021; a limit is itself allowed

with

-- Beside each asked test, its last result (several where they are of the same moment), and the limits in its unit.
beside as (
    select
        e.USUBJID,
        e.AGE,
        a.*,
        r.* exclude (USUBJID, TESTCD),
        censoring(r.AVALC) as SIGN,
        coalesce(list_contains(a.meets, upper(r.AVALC)), false) as SAYS_YES,
        coalesce(list_contains(a.fails, upper(r.AVALC)), false) as SAYS_NO,
        case a.how
            when 'SCORE' then a.at_least
            when 'LIMIT' then try(cast(a.at_least * u.factor as decimal(20, 8)))
            when 'FILTRATION' then a.at_least
            when 'TITER' then a.at_least
        end as CRITLO,
        case a.how
            when 'LIMIT' then try(cast(a.at_most * u.factor as decimal(20, 8)))
            when 'TIMES ULN' then try(cast(a.at_most * r.ANRHI as decimal(20, 8)))
            when 'ABOVE RANGE' then r.ANRHI
        end as CRITHI,
        to_mg.factor as PER_MG_DL,
        k.* exclude (SEX, source)
    from derived.entry as e
    cross join study.criteria_tests as a
    left join derived.entry_results as r on e.USUBJID = r.USUBJID and a.TESTCD = r.TESTCD
    left join reference.units as u on a.TESTCD = u.LBTESTCD and a.unit = u.unit and r.AVALU = u.standard_unit
    left join reference.units as to_mg
        on a.how = 'FILTRATION' and a.TESTCD = to_mg.LBTESTCD and to_mg.unit = 'mg/dL' and r.AVALU = to_mg.standard_unit
    left join reference.ckd_epi as k on a.how = 'FILTRATION' and e.SEX = k.SEX
),

-- Filtration from creatinine over its interval: the more creatinine, the less filtration. Six decimals, so that the
-- last bits of a power decide nothing.
filtered as (
    select
        * exclude (AVAL, AVALU, AVALLO, AVALHI),
        case when how = 'FILTRATION' then ckd_epi(AVAL / PER_MG_DL, kappa, alpha, beyond, yearly, factor, AGE) else AVAL end as AVAL,
        case when how = 'FILTRATION' then 'mL/min/1.73 m2' else AVALU end as AVALU,
        case when how = 'FILTRATION' then ckd_epi(AVALHI / PER_MG_DL, kappa, alpha, beyond, yearly, factor, AGE) else AVALLO end as AVALLO,
        case when how = 'FILTRATION' then ckd_epi(AVALLO / PER_MG_DL, kappa, alpha, beyond, yearly, factor, AGE) else AVALHI end as AVALHI
    from beside
),

-- The verdict of each result. A censored one decides where its whole interval lies on one side; `<` and `>` exclude
-- their number. NULL: it cannot tell.
judged as (
    select
        *,
        case
            when DOMAIN is null then null
            when how = 'GRADE' and AVALC is not null then SAYS_YES
            when how in ('TITER', 'ABOVE RANGE') and SAYS_YES then case when how = 'ABOVE RANGE' then true end
            when how in ('TITER', 'ABOVE RANGE') and SAYS_NO then false
            when how = 'TITER' and titer_sign(AVALC) in ('<', '<=')
                then case when titer_dilution(AVALC) < CRITLO or (titer_sign(AVALC) = '<' and titer_dilution(AVALC) = CRITLO) then false end
            when how = 'TITER' and titer_sign(AVALC) in ('>', '>=') then case when titer_dilution(AVALC) >= CRITLO then true end
            when how = 'TITER' then titer_dilution(AVALC) >= CRITLO
            when how = 'ABOVE RANGE' then case when ANRIND = 'HIGH' then true when ANRIND in ('NORMAL', 'LOW') then false end
            when AVALLO >= CRITLO or AVALHI <= CRITHI then true
            when AVALHI < CRITLO or AVALLO > CRITHI then false
            when (SIGN = '<' and how <> 'FILTRATION' and AVALHI = CRITLO) or (SIGN = '>' and AVALLO = CRITHI) then false
            when SIGN = '>' and how = 'FILTRATION' and AVALHI = CRITLO then false
        end as FITS,
        case
            when DOMAIN is null then 'NO RESULT'
            when how = 'FILTRATION' and (AGE is null or kappa is null) then 'NO AGE OR SEX'
            when how in ('TIMES ULN', 'ABOVE RANGE') and CRITHI is null and not SAYS_YES and not SAYS_NO then 'NO LIMIT OF NORMAL'
            else 'RESULT NOT USABLE'
        end as WHY_NOT
    from filtered
),

-- Results of the same moment must agree.
tests as (
    select
        *,
        case
            when count(FITS) over same_moment < count(*) over same_moment then null
            when bool_and(FITS) over same_moment then true
            when not bool_or(FITS) over same_moment then false
        end as TEST_FITS,
        count(distinct FITS) over same_moment > 1 as DISAGREE
    from judged
    window same_moment as (partition by USUBJID, CRITERION, TESTCD)
),

-- One test that meets the criterion is enough; not met needs all of them. The result shown is the one that decides,
-- else the one that is missing or cannot be used.
decided as (
    select
        *,
        case
            when bool_or(TEST_FITS) over this then 'MET'
            when count(TEST_FITS) over this = count(*) over this then 'NOT MET'
            else 'CANNOT TELL'
        end as STATUS,
        bool_or(DOMAIN is not null) over this as RECEIVED
    from tests
    window this as (partition by USUBJID, CRITERION)
)

select
    USUBJID,
    CRITERION,
    STATUS,
    case when STATUS = 'CANNOT TELL' then case when DISAGREE then 'RECORDS DISAGREE' else WHY_NOT end end as REASON,
    yes_no(RECEIVED) as RECFL,
    cast(null as integer) as MONTHS,
    cast(null as date) as WINSTDT,
    DOMAIN as EVDOMAIN,
    TESTCD as EVTERM,
    SEQ as EVSEQ,
    DTC as EVSTDTC,
    null as EVENDTC,
    cast(AVAL as decimal(20, 8)) as AVAL,
    AVALC,
    AVALU,
    CRITLO,
    CRITHI,
    PENDFL,
    SRC_SHA256,
    SRC_ROW
from decided
qualify row_number() over (
        partition by USUBJID, CRITERION
        order by
            case when STATUS = 'CANNOT TELL' then TEST_FITS is null else coalesce(TEST_FITS, false) end desc,
            DOMAIN is null asc, AVALC asc nulls last, TESTCD asc, SEQ desc nulls last, SPEC asc, SRC_SHA256 asc, SRC_ROW asc
    ) = 1
