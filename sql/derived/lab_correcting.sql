-- Name:   derived.lab_correcting
-- Label:  Results that correct others of the same sample before they are graded: albumin corrects calcium
-- Grain:  one row per USUBJID, LBDTC, LBSPEC, LBTESTCD
-- Input:  derived.lab_values, reference.lab_corrections, reference.units
-- Units:  MEASURED in by_unit of the correction
-- Source: sql/reference/lab_corrections.csv; two of one sample that differ correct nothing

select
    v.USUBJID,
    v.LBDTC,
    v.LBSPEC,
    v.LBTESTCD,
    min(v.NUM * u.factor) as MEASURED
from (select distinct by_LBTESTCD, by_unit from reference.lab_corrections) as r
inner join derived.lab_values as v on r.by_LBTESTCD = v.LBTESTCD
inner join reference.units as u
    on v.LBTESTCD = u.LBTESTCD and v.LBORRESU is not distinct from u.unit and r.by_unit = u.standard_unit
where v.NUM is not null and v.SIGN is null
group by v.USUBJID, v.LBDTC, v.LBSPEC, v.LBTESTCD
having count(distinct v.NUM * u.factor) = 1
