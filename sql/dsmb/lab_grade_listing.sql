-- Name:   dsmb.lab_grade_listing
-- Label:  Every result after the dose that is, or at the least is, of CTCAE grade 3 on either scale, all arms pooled
-- Grain:  one row per USUBJID, PARAMCD, LBSPEC, LBDTC, LBTPT, LBREFID
-- Input:  curated.adlb, curated.adsl
-- Units:  AVAL, ANRLO, ANRHI, BASE in AVALU; ADY in days, no day 0
-- Source: NCI CTCAE v5.0; WORSEFL marks what is worse than at baseline on the same scale

select
    l.SITEID,
    l.USUBJID,
    l.PARAMCD,
    l.PARAM,
    l.VISIT,
    l.ADT,
    l.ADY,
    l.AVALC,
    l.AVAL,
    l.AVALU,
    l.ANRLO,
    l.ANRHI,
    l.BASE,
    l.ATOXGRL,
    l.ATOXGRH,
    l.ATOXGRHU,
    l.ATOXLLO,
    l.ATOXHLO,
    l.BTOXGRL,
    l.BTOXGRH,
    l.TOXVER,
    l.TOXCERT,
    l.WORSEFL,
    l.PENDFL,
    l.LBSPEC,
    l.LBDTC,
    l.LBTPT,
    l.LBREFID
from curated.adlb as l
inner join curated.adsl as s on l.USUBJID = s.USUBJID
where
    s.SAFFL = 'Y'
    and l.ONTRTFL = 'Y'
    and (l.ATOXLLO >= 3 or l.ATOXHLO >= 3 or l.ATOXGRHU >= 3)
