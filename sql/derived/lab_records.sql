-- Name:   derived.lab_records
-- Label:  Laboratory records with their cells as numbers and times, in the units of the record and of the study
-- Grain:  one row per RECORD
-- Input:  accepted.lb, reference.units, study.analytes
-- Units:  NUM, RECORD_LO, RECORD_HI in LBORRESU; STANDARD, RECORD_ANRLO, RECORD_ANRHI in AVALU
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

-- What a cell of a test says, in the record's unit and, where a factor is known, in the study's.
numbers as (
    select
        texts.*,
        exact_number(texts.CELL) as PLAIN,
        reported_number(texts.CELL) as NUM,
        censoring(texts.CELL) as SIGN,
        converted(PLAIN, u.factor) as PLAIN_STANDARD,
        converted(NUM, u.factor) as STANDARD,
        case when u.factor is not null then a.standard_unit end as AVALU
    from (
        select LBTESTCD, LBORRESU, LBORRES as CELL from accepted.lb
        union
        select LBTESTCD, LBORRESU, LBORNRLO as CELL from accepted.lb
        union
        select LBTESTCD, LBORRESU, LBORNRHI as CELL from accepted.lb
    ) as texts
    left join study.analytes as a on texts.LBTESTCD = a.LBTESTCD
    left join reference.units as u
        on
            a.LBTESTCD = u.LBTESTCD
            and texts.LBORRESU is not distinct from u.unit
            and a.standard_unit is not distinct from u.standard_unit
),

-- In time within subject and test; a missing time comes first.
numbered as (
    select
        c.*,
        d.ADT,
        d.ADTM,
        s.SEQ,
        row_number() over (
            order by
                c.USUBJID asc nulls first, c.LBTESTCD asc nulls first, d.ADT asc nulls first, d.ADTM asc nulls first,
                s.SEQ asc nulls first, c.LBSPEC asc nulls first, c.LBDTC asc nulls first, c.LBTPT asc nulls first,
                c.LBREFID asc nulls first
        ) as RECORD
    from accepted.lb as c
    left join dates as d on c.LBDTC = d.LBDTC
    left join sequences as s on c.LBSEQ = s.LBSEQ
)

select
    c.RECORD,
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
    c.ADT,
    c.ADTM,
    c.SEQ,
    v.VISIT_NUMBER,
    c.LBORRES is not null and coalesce(c.LBSTAT, '') <> 'NOT DONE' as HAS_RESULT,
    result.SIGN,
    result.NUM,
    result.STANDARD,
    result.AVALU,
    low.PLAIN as RECORD_LO,
    low.PLAIN_STANDARD as RECORD_ANRLO,
    high.PLAIN as RECORD_HI,
    high.PLAIN_STANDARD as RECORD_ANRHI
from numbered as c
left join visit_numbers as v on c.VISITNUM = v.VISITNUM
left join numbers as result
    on
        c.LBTESTCD = result.LBTESTCD
        and c.LBORRESU is not distinct from result.LBORRESU
        and c.LBORRES is not distinct from result.CELL
left join numbers as low
    on
        c.LBTESTCD = low.LBTESTCD
        and c.LBORRESU is not distinct from low.LBORRESU
        and c.LBORNRLO is not distinct from low.CELL
left join numbers as high
    on
        c.LBTESTCD = high.LBTESTCD
        and c.LBORRESU is not distinct from high.LBORRESU
        and c.LBORNRHI is not distinct from high.CELL
