-- Name:   derived.lab_baselines
-- Label:  The baseline record of each subject, test and specimen
-- Grain:  one row per USUBJID, LBTESTCD, LBSPEC
-- Input:  derived.lab_values, study.protocol
-- Units:  BASE in AVALU of the record
-- Source: baseline rule of the study; a censored baseline leaves BASE NULL

-- The last record that the study's rule lets be the baseline; a text result only where there is no measured one.
select
    v.USUBJID,
    v.LBTESTCD,
    v.LBSPEC,
    v.RECORD,
    v.AVAL as BASE,
    v.ANRIND as BNRIND,
    v.NUM as BASE_NUM,
    v.SIGN as BASE_SIGN,
    v.HI as BASE_HI,
    v.LBORRESU as BASE_UNIT
from derived.lab_values as v
cross join study.protocol as p
where
    v.HAS_RESULT
    and case p.baseline_rule when 'visit' then v.VISIT = p.baseline_visit else v.PREDOSE end
qualify row_number() over (
        partition by v.USUBJID, v.LBTESTCD, v.LBSPEC
        order by (v.AVALLO is not null) desc, v.RECORD desc
    ) = 1
