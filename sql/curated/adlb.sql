-- Name:   curated.adlb
-- Label:  Laboratory analysis dataset (ADaM BDS): one row per accepted result, numeric, censored or text, with its CTCAE grades
-- Grain:  one row per USUBJID, PARAMCD, LBSPEC, LBDTC, LBTPT, LBREFID
-- Input:  derived.lab_baselines, derived.lab_toxicity, derived.lab_values, study.analytes, study.protocol
-- Units:  AVAL, AVALLO, AVALHI, ANRLO, ANRHI, BASE, CHG in AVALU; PCHG in %; ADY in days, no day 0; grades 0 to 4
-- Source: ADaM IG, BDS; NCI CTCAE v5.0, up to and including the baseline by limits of normal, after it by an abnormal baseline

with

-- One record per subject, test and planned visit: the baseline if it is there, else the last measured one.
analysed as (
    select
        coalesce(
            max(b.RECORD) filter (where v.AVALLO is not null),
            max(b.RECORD),
            max(v.RECORD) filter (where v.AVALLO is not null),
            max(v.RECORD)
        ) as RECORD
    from derived.lab_values as v
    left join derived.lab_baselines as b on v.RECORD = b.RECORD
    where v.HAS_RESULT and v.AVISIT is not null
    group by v.USUBJID, v.LBTESTCD, v.AVISIT
),

-- Each record beside its baseline.
compared as (
    select
        v.*,
        b.BASE,
        b.BNRIND,
        coalesce(b.RECORD = v.RECORD, false) as IS_BASELINE,
        v.ADT is not null and coalesce(v.RECORD > b.RECORD, false) as IS_AFTER,
        case
            when IS_BASELINE or (p.baseline_change = 'post_baseline' and not IS_AFTER) then null
            else (v.AVAL - b.BASE)::decimal(20, 8)
        end as CHG
    from derived.lab_values as v
    cross join study.protocol as p
    left join derived.lab_baselines as b
        on v.USUBJID = b.USUBJID and v.LBTESTCD = b.LBTESTCD and v.LBSPEC is not distinct from b.LBSPEC
)

select
    v.STUDYID,
    v.SITEID,
    v.USUBJID,
    v.LBTESTCD as PARAMCD,
    coalesce(a.PARAM, v.LBTEST, v.LBTESTCD) as PARAM,
    coalesce(a.PARCAT1, 'OTHER') as PARCAT1,
    v.AVISIT,
    v.AVISITN,
    v.VISIT,
    v.VISIT_NUMBER as VISITNUM,
    v.SEQ as LBSEQ,
    v.ADT,
    v.ADTM,
    study_day(v.ADT, v.TRTSDT) as ADY,
    v.AVAL,
    v.LBORRES as AVALC,
    v.AVALLO,
    v.AVALHI,
    v.AVALU,
    v.ANRLO,
    v.ANRHI,
    v.ANRIND,
    v.RANGESRC,
    v.BASE,
    v.BNRIND,
    v.CHG,
    case when v.BASE <> 0 then round(100 * v.CHG::double / v.BASE::double, 6) end as PCHG,
    case when v.BASE > 0 then round(v.AVAL::double / v.BASE::double, 6) end as R2BASE,
    case when v.ANRHI > 0 then round(v.AVAL::double / v.ANRHI::double, 6) end as R2ANRHI,
    case when v.IS_BASELINE then 'Y' end as ABLFL,
    case when n.RECORD is not null then 'Y' end as ANL01FL,
    v.ONTRTFL,
    v.PENDFL,
    case when v.IS_AFTER then v.BNRIND || ' to ' || v.ANRIND end as SHIFT1,
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
    v.LBSPEC,
    v.LBDTC,
    v.LBTPT,
    v.LBREFID,
    v.SRC_SHA256,
    v.SRC_ROW
from compared as v
left join derived.lab_toxicity as t on v.RECORD = t.RECORD
left join analysed as n on v.RECORD = n.RECORD
left join study.analytes as a on v.LBTESTCD = a.LBTESTCD
