-- Name:   derived.lab_judged
-- Label:  Of every result that CTCAE v5 has criteria for, all that its grade depends on
-- Grain:  one row per RECORD
-- Input:  derived.lab_baselines, derived.lab_correcting, derived.lab_criteria, derived.lab_values, reference.ctcae5, reference.specimens
-- Units:  NUM, LO, HI in LBORRESU; MEASURED in the unit of the correction; BASE_NUM, BASE_HI in BASE_UNIT
-- Source: NCI CTCAE v5.0, sql/reference/ctcae5.csv

with

graded_tests as (
    select distinct LBTESTCD from reference.ctcae5
)

select
    v.RECORD,
    v.USUBJID,
    v.LBTESTCD,
    v.ONTRTFL,
    v.LBORRESU,
    v.SIGN,
    v.NUM,
    v.LO,
    v.HI,
    a.MEASURED,
    b.RECORD as BASE_RECORD,
    v.ADT is not null and coalesce(v.RECORD > b.RECORD, false) as IS_AFTER,
    -- Up to and including the baseline a result is judged by the limit of normal; so is every result of a subject
    -- without a dose. A result without a date may lie on either side.
    case
        when v.TRTSDT is null then true
        when b.RECORD is not null then v.ADT is not null and v.RECORD <= b.RECORD
        else coalesce(v.PREDOSE, false)
    end as IS_EARLY,
    -- The baseline, where criteria of the test are multiples of it.
    case when k.base_when is not null then b.BASE_SIGN end as BASE_SIGN,
    case when k.base_when is not null then b.BASE_NUM end as BASE_NUM,
    case when k.base_when is not null then b.BASE_HI end as BASE_HI,
    case when k.base_when is not null then b.BASE_UNIT end as BASE_UNIT
from derived.lab_values as v
inner join graded_tests as t on v.LBTESTCD = t.LBTESTCD
left join derived.lab_baselines as b
    on v.USUBJID = b.USUBJID and v.LBTESTCD = b.LBTESTCD and v.LBSPEC is not distinct from b.LBSPEC
left join derived.lab_criteria as k on v.LBTESTCD = k.LBTESTCD and v.LBORRESU is not distinct from k.unit
left join derived.lab_correcting as a
    on
        k.corrected_by = a.LBTESTCD
        and v.USUBJID = a.USUBJID
        and v.LBDTC = a.LBDTC
        and v.LBSPEC is not distinct from a.LBSPEC
left join reference.specimens as s on upper(v.LBSPEC) = s.LBSPEC
where s.graded is distinct from 'N'
