-- Name:   dsmb.lab_abnormal
-- Label:  Laboratory results low, normal and high, by reference range and by the study's own threshold, all arms pooled
-- Grain:  one row per PARAMCD, criterion, AVISITN, AVISIT
-- Input:  dsmb.lab_shift
-- Units:  counts of dosed subjects and of rows
-- Source: dsmb.lab_shift, summed over what was seen at baseline

select
    PARAMCD,
    min(PARAM) as PARAM,
    min(PARCAT1) as PARCAT1,
    criterion,
    AVISIT,
    AVISITN,
    min(expected) as expected,
    min(received) as received,
    min(gradable) as gradable,
    sum(low)::bigint as low,
    sum(normal)::bigint as normal,
    sum(high)::bigint as high,
    sum(not_gradable)::bigint as not_gradable,
    min(rows_quarantined) as rows_quarantined,
    min(rows_held) as rows_held
from dsmb.lab_shift
group by PARAMCD, criterion, AVISIT, AVISITN
