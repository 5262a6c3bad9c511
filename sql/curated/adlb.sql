-- Name:   curated.adlb
-- Label:  Laboratory analysis dataset (ADaM BDS): one row per accepted result, numeric, censored or text, with its CTCAE grades
-- Grain:  one row per USUBJID, PARAMCD, LBSPEC, LBDTC, LBTPT, LBREFID
-- Input:  derived.lab_baselines, derived.lab_records, derived.lab_toxicity, derived.lab_values, study.analytes, study.protocol, study.visits
-- Units:  AVAL, AVALLO, AVALHI, ANRLO, ANRHI, BASE, CHG in AVALU; PCHG in %; ADY in days, no day 0; grades 0 to 4
-- Source: ADaM IG, BDS; NCI CTCAE v5.0, up to and including the baseline by limits of normal, after it by an abnormal baseline

with

-- One record per subject, test and planned visit: the baseline if it is there, else the last measured one.
analysed as (
    select c.RECORD
    from derived.lab_records as c
    inner join derived.lab_values as v on c.RECORD = v.RECORD
    inner join study.visits as p on c.VISIT = p.VISIT
    left join derived.lab_baselines as b on c.RECORD = b.RECORD
    where c.HAS_RESULT
    qualify row_number() over (
            partition by c.USUBJID, c.LBTESTCD, p.AVISIT
            order by
                b.RECORD is not null desc, (v.AVALLO is not null) desc, c.ADT desc nulls last, c.ADTM desc nulls last,
                c.SEQ desc nulls last, c.RECORD desc
        ) = 1
),

compared as (
    select
        v.RECORD,
        b.BASE,
        b.BNRIND,
        coalesce(b.RECORD = v.RECORD, false) as IS_BASELINE,
        v.ADT is not null and coalesce(v.RECORD > b.RECORD, false) as IS_AFTER,
        case
            when IS_BASELINE or (p.baseline_change = 'post_baseline' and not IS_AFTER) then null
            else (v.AVAL - b.BASE)::decimal(20, 8)
        end as CHG,
        on_treatment(v.ADT, v.PREDOSE, v.TRTSDT, v.TRTEDT, p.on_treatment_days) as ONTRTFL
    from derived.lab_values as v
    cross join study.protocol as p
    left join derived.lab_baselines as b
        on v.USUBJID = b.USUBJID and v.LBTESTCD = b.LBTESTCD and v.LBSPEC is not distinct from b.LBSPEC
)

select
    c.STUDYID,
    c.SITEID,
    c.USUBJID,
    c.LBTESTCD as PARAMCD,
    coalesce(a.PARAM, c.LBTEST, c.LBTESTCD) as PARAM,
    coalesce(a.PARCAT1, 'OTHER') as PARCAT1,
    p.AVISIT,
    p.week as AVISITN,
    c.VISIT,
    c.VISIT_NUMBER as VISITNUM,
    c.SEQ as LBSEQ,
    c.ADT,
    c.ADTM,
    study_day(c.ADT, v.TRTSDT) as ADY,
    v.AVAL,
    c.LBORRES as AVALC,
    v.AVALLO,
    v.AVALHI,
    v.AVALU,
    v.ANRLO,
    v.ANRHI,
    v.ANRIND,
    v.RANGESRC,
    f.BASE,
    f.BNRIND,
    f.CHG,
    case when f.BASE <> 0 then round(100 * f.CHG::double / f.BASE::double, 6) end as PCHG,
    case when f.BASE > 0 then round(v.AVAL::double / f.BASE::double, 6) end as R2BASE,
    case when v.ANRHI > 0 then round(v.AVAL::double / v.ANRHI::double, 6) end as R2ANRHI,
    case when f.IS_BASELINE then 'Y' end as ABLFL,
    case when n.RECORD is not null then 'Y' end as ANL01FL,
    f.ONTRTFL,
    c.PENDFL,
    case when f.IS_AFTER then f.BNRIND || ' to ' || v.ANRIND end as SHIFT1,
    t.SHIFT2,
    t.SHIFT3,
    t.ATOXDSCL,
    t.ATOXDSCH,
    t.ATOXGRL,
    t.ATOXGRH,
    t.ATOXGRHU,
    t.ATOXLLO,
    t.ATOXLHI,
    t.ATOXHLO,
    t.ATOXHHI,
    t.BTOXGRL,
    t.BTOXGRH,
    t.TOXVER,
    t.TOXCERT,
    t.WORSEFL,
    t.WGRLFL,
    t.WGRHFL,
    c.LBSPEC,
    c.LBDTC,
    c.LBTPT,
    c.LBREFID,
    c.SRC_SHA256,
    c.SRC_ROW
from derived.lab_records as c
inner join derived.lab_values as v on c.RECORD = v.RECORD
inner join compared as f on c.RECORD = f.RECORD
left join derived.lab_toxicity as t on c.RECORD = t.RECORD
left join analysed as n on c.RECORD = n.RECORD
left join study.analytes as a on c.LBTESTCD = a.LBTESTCD
left join study.visits as p on c.VISIT = p.VISIT
