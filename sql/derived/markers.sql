-- Name:   derived.markers
-- Label:  Results of tumour markers on or after the first dose beside the own baseline: rise, none, or why not told
-- Grain:  one row per USUBJID, PARAMCD, SPEC, LBDTC, LBTPT, LBREFID
-- Input:  curated.adlb, curated.adsl, derived.lab_values, reference.units, study.analytes, study.markers, study.protocol
-- Units:  AVAL, ANRHI, BASELO, BASEHI in AVALU
-- Source: safety.markers of the study; a baseline below or above the assay's range is an interval

with

-- Unit and method of the record, which tell one assay from another.
assays as (
    select
        l.SRC_SHA256,
        l.SRC_ROW,
        l.LBMETHOD,
        u.ucum
    from derived.lab_values as l
    inner join study.markers as m on l.LBTESTCD = m.PARAMCD
    left join study.analytes as a on l.LBTESTCD = a.LBTESTCD
    left join reference.units as u
        on l.LBTESTCD = u.LBTESTCD and l.LBORRESU = u.unit and a.standard_unit = u.standard_unit
),

-- Measured results of the markers that are followed, in subjects with a first dose.
results as (
    select
        l.STUDYID,
        l.SITEID,
        l.USUBJID,
        l.PARAMCD,
        l.PARAM,
        l.VISIT,
        l.AVISIT,
        l.AVISITN,
        l.ADT,
        l.ADTM,
        l.ADY,
        l.AVAL,
        l.AVALC,
        l.AVALLO,
        l.AVALHI,
        l.AVALU,
        l.ANRHI,
        l.RANGESRC,
        l.R2ANRHI,
        l.BNRIND,
        l.ABLFL,
        l.PENDFL,
        l.LBSPEC,
        l.LBDTC,
        l.LBTPT,
        l.LBREFID,
        l.SRC_SHA256,
        l.SRC_ROW,
        m.ratio,
        m.repeat_days,
        assay.LBMETHOD,
        assay.ucum,
        censoring(l.AVALC) as SIGN,
        coalesce(l.LBSPEC, '') as SPEC,
        coalesce(
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
            ),
            iso_latest(l.LBDTC) < s.TRTSDT,
            false
        ) as PREDOSE
    from curated.adlb as l
    inner join study.markers as m on l.PARAMCD = m.PARAMCD
    inner join curated.adsl as s on l.USUBJID = s.USUBJID
    cross join study.protocol as p
    left join assays as assay on l.SRC_SHA256 = assay.SRC_SHA256 and l.SRC_ROW = assay.SRC_ROW
    where
        s.TRTSDT is not null
        and l.AVALLO is not null
        and (m.SEX is null or s.SEX is null or m.SEX = s.SEX)
),

-- Above the limit; a multiple of the baseline, over the whole of both intervals; of another laboratory or assay, as
-- limits, their source, unit and method tell.
compared as (
    select
        r.*,
        b.AVALLO as BASELO,
        b.AVALHI as BASEHI,
        b.ADT as BASEDT,
        b.USUBJID is not null as HAS_BASELINE,
        exceeds(r.AVALLO, r.AVALHI, r.SIGN, r.ANRHI) as IS_ABOVE,
        case
            when r.AVALLO >= r.ratio * b.AVALHI then true
            when r.AVALHI < r.ratio * b.AVALLO then false
            when r.AVALHI = r.ratio * b.AVALLO and (r.SIGN = '<' or b.SIGN = '>') then false
        end as IS_MULTIPLE,
        concat_ws(
            ', ',
            case when r.ANRHI <> b.ANRHI then 'limit' end,
            case when r.RANGESRC <> b.RANGESRC then 'source of the limit' end,
            case when r.ucum <> b.ucum then 'unit' end,
            case when upper(r.LBMETHOD) <> upper(b.LBMETHOD) then 'method' end
        ) as OTHER
    from results as r
    left join results as b
        on r.USUBJID = b.USUBJID and r.PARAMCD = b.PARAMCD and r.SPEC = b.SPEC and b.ABLFL = 'Y'
    where r.ABLFL is null and not r.PREDOSE
)

select
    *,
    case
        when not IS_ABOVE then 'NO RISE'
        when OTHER <> '' then case when IS_ABOVE then 'NOT COMPARABLE' else 'NO ANSWER' end
        when not IS_MULTIPLE then 'NO RISE'
        when IS_ABOVE and IS_MULTIPLE and ADT is not null then 'RISE'
        when IS_ABOVE or IS_MULTIPLE then 'CANNOT TELL'
        -- Neither limit nor baseline known: nothing points to a rise.
        else 'NO ANSWER'
    end as JUDGED,
    case
        when JUDGED = 'NOT COMPARABLE' then 'other ' || OTHER || ' than at baseline'
        when JUDGED <> 'CANNOT TELL' then null
        when not HAS_BASELINE then 'no baseline'
        when ANRHI is null then 'no limit'
        when IS_ABOVE and IS_MULTIPLE then 'partial date'
        else 'censored'
    end as REASON
from compared
