-- Name:   derived.lab_records
-- Label:  Laboratory records with their cells as numbers and times, in the units of the record
-- Grain:  one row per RECORD
-- Input:  accepted.lb
-- Units:  NUM, RECORD_LO, RECORD_HI in LBORRESU
-- Source: the export as collected; RECORD numbers the records of a subject and test in time, and joins these models

with

-- Each text is read once, however many records hold it.
dates as (
    select
        LBDTC,
        iso_date(LBDTC) as ADT,
        iso_datetime(LBDTC) as ADTM
    from (select distinct LBDTC from accepted.lb) as texts
    where LBDTC is not null
),

sequences as (
    select
        LBSEQ,
        whole_number(LBSEQ) as SEQ
    from (select distinct LBSEQ from accepted.lb) as texts
    where LBSEQ is not null
),

visit_numbers as (
    select
        VISITNUM,
        try_cast(exact_number(VISITNUM) as decimal(10, 2)) as VISIT_NUMBER
    from (select distinct VISITNUM from accepted.lb) as texts
    where VISITNUM is not null
),

numbers as (
    select
        CELL,
        exact_number(CELL) as PLAIN,
        reported_number(CELL) as NUM,
        censoring(CELL) as SIGN
    from (
        select LBORRES as CELL from accepted.lb
        union
        select LBORNRLO as CELL from accepted.lb
        union
        select LBORNRHI as CELL from accepted.lb
    ) as texts
    where CELL is not null
)

select
    c.STUDYID,
    c.SITEID,
    c.USUBJID,
    c.LBTESTCD,
    c.LBTEST,
    c.LBSPEC,
    c.LBMETHOD,
    c.LBORRES,
    c.LBORRESU,
    c.LBTPT,
    c.LBREFID,
    c.VISIT,
    c.LBDTC,
    c.PENDFL,
    c.SRC_SHA256,
    c.SRC_ROW,
    d.ADT,
    d.ADTM,
    s.SEQ,
    v.VISIT_NUMBER,
    c.LBORRES is not null and coalesce(c.LBSTAT, '') <> 'NOT DONE' as HAS_RESULT,
    result.SIGN,
    result.NUM,
    low.PLAIN as RECORD_LO,
    high.PLAIN as RECORD_HI,
    -- In time within subject and test; a missing time comes first.
    row_number() over (
        order by
            c.USUBJID asc nulls first, c.LBTESTCD asc nulls first, d.ADT asc nulls first, d.ADTM asc nulls first,
            s.SEQ asc nulls first, c.LBSPEC asc nulls first, c.LBDTC asc nulls first, c.LBTPT asc nulls first,
            c.LBREFID asc nulls first
    ) as RECORD
from accepted.lb as c
left join dates as d on c.LBDTC = d.LBDTC
left join sequences as s on c.LBSEQ = s.LBSEQ
left join visit_numbers as v on c.VISITNUM = v.VISITNUM
left join numbers as result on c.LBORRES = result.CELL
left join numbers as low on c.LBORNRLO = low.CELL
left join numbers as high on c.LBORNRHI = high.CELL
