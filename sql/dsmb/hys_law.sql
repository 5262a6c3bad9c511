-- Name:   dsmb.hys_law
-- Label:  Listing of possible Hy's law cases, with what they were found among, all arms pooled
-- Grain:  one row per USUBJID, CASENO
-- Input:  curated.adsl, curated.data_quality, curated.hys_law, curated.liver_peaks
-- Units:  _ULN are multiples of the upper limit of normal; BILIDAYS in days; counts of subjects and of rows
-- Source: curated.hys_law; expected = dosed; received = with a result after the dose; gradable = ALT or AST, and BILI, on the limit

with

-- Among how many dosed subjects the cases were looked for.
subjects as (
    select
        count(*) as expected,
        count(p.USUBJID) as received,
        count(*) filter (where p.EDISH <> 'CANNOT TELL') as gradable
    from curated.adsl as s
    left join curated.liver_peaks as p on s.USUBJID = p.USUBJID
    where s.SAFFL = 'Y'
),

-- Laboratory rows that could not be counted here, over all sites and tests.
missing_rows as (
    select
        coalesce(sum(ROWS_QUARANTINED), 0)::bigint as rows_quarantined,
        coalesce(sum(ROWS_HELD), 0)::bigint as rows_held
    from curated.data_quality
    where DOMAIN = 'LB'
)

select
    h.SITEID,
    h.USUBJID,
    h.CASENO,
    h.HYSLAW,
    h.REASON,
    h.VISIT,
    h.ADT,
    h.ADY,
    h.PARAMCD,
    h.ALT_ULN,
    h.AST_ULN,
    h.ALP_ULN,
    h.BILI_ULN,
    h.BILIDT,
    h.BILIDAYS,
    h.RRATIO,
    h.NRRATIO,
    h.BNRIND,
    h.PENDFL,
    s.expected,
    s.received,
    s.gradable,
    m.rows_quarantined,
    m.rows_held
from curated.hys_law as h
cross join subjects as s
cross join missing_rows as m
