-- Name:   cross.visits
-- Label:  First and last day of each visit that took place, for the models beside it
-- Grain:  one row per SITEID, USUBJID, number
-- Input:  arrived.sv
-- Units:  none
-- Source: rows in force; a site that has sent no visits yet is not asked for one

select
    SITEID,
    USUBJID,
    exact_number(VISITNUM) as number,
    min(iso_date(SVSTDTC)) as first_day,
    max(greatest(iso_date(SVSTDTC), iso_date(SVENDTC))) as last_day
from arrived.sv
group by SITEID, USUBJID, exact_number(VISITNUM)
