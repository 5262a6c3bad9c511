-- Name:   facts.lb
-- Label:  What the rules on laboratory results look at: one delivery's rows, with facts beside the cells as sent
-- Grain:  one row per SRC_ROW
-- Input:  delivery.rows, study.protocol, study.visits, study.analytes, study.ranges, study.sites, reference.units, reference.check_units
-- Units:  LBVAL_STD in check_unit of reference.check_units; limits as reported
-- Source: expectations/common, expectations/lab

with

subjects as (
    select
        i.USUBJID,
        regexp_matches(i.USUBJID, p.subject_pattern) as well_formed,
        nullif(regexp_extract(i.USUBJID, p.subject_pattern, 1), '') as site
    from (select distinct USUBJID from delivery.rows) as i
    cross join study.protocol as p
),

visits as (
    select
        i.VISIT,
        i.VISIT in (select w.VISIT from study.visits as w) or regexp_matches(i.VISIT, p.unscheduled_visits) as known
    from (select distinct VISIT from delivery.rows) as i
    cross join study.protocol as p
),

-- Analytes whose reference range labs.csv holds for the laboratory of a site.
ranged as (
    select distinct
        s.SITEID,
        g.LBTESTCD
    from study.sites as s
    inner join study.ranges as g on s.lab = g.lab
)

select
    r.*,
    yes_no(coalesce(r.STUDYID = p.STUDYID, false)) as STUDY_OK,
    yes_no(s.well_formed) as ID_OK,
    yes_no(s.site = r.SITEID) as SITE_OK,
    yes_no(names_arm(concat_ws(chr(10), *columns(r.*)), p.blinded)) as ARM_WORD,
    cast(p.last_plausible_date as date) as LAST_DATE,
    yes_no(v.known) as VISIT_KNOWN,
    case when r.LBTESTCD is not null then yes_no(a.LBTESTCD is not null) end as TEST_KNOWN,
    yes_no(a.standard_unit is not null) as HAS_UNIT,
    result_writing(r.LBORRES) as RESULT_KIND,
    yes_no(garbled(r.LBORRESU)) as UNIT_GARBLED,
    case
        when a.standard_unit is not null and r.LBORRES is not null and not coalesce(garbled(r.LBORRESU), false)
            then yes_no(u.factor is not null)
    end as UNIT_KNOWN,
    case when result_kind(r.LBORRES) = 'NUMBER' then yes_no(exact_number(r.LBORRES) is not null) end as RESULT_EXACT,
    approximate(r.LBORRES) * cast(cu.factor as double) as LBVAL_STD,
    result_kind(r.LBORNRLO) as RANGE_LO_KIND,
    result_kind(r.LBORNRHI) as RANGE_HI_KIND,
    approximate(r.LBORNRLO) as RANGE_LO,
    approximate(r.LBORNRHI) as RANGE_HI,
    yes_no(coalesce(r.LBORNRLO, r.LBORNRHI) is not null or g.LBTESTCD is not null) as HAS_RANGE,
    result_kind(r.VISITNUM) as VISITNUM_KIND,
    iso_kind(r.LBDTC) as LBDTC_KIND,
    clock_kind(r.LBDTC, z.timezone) as LBDTC_CLOCK,
    iso_date(r.LBDTC) as LBDT
from delivery.rows as r
cross join study.protocol as p
left join subjects as s on r.USUBJID = s.USUBJID
left join study.sites as z on r.SITEID = z.SITEID
left join visits as v on r.VISIT = v.VISIT
left join study.analytes as a on r.LBTESTCD = a.LBTESTCD
left join reference.units as u
    on r.LBTESTCD = u.LBTESTCD and r.LBORRESU = u.unit and a.standard_unit = u.standard_unit
left join reference.check_units as c on r.LBTESTCD = c.LBTESTCD
left join reference.units as cu
    on r.LBTESTCD = cu.LBTESTCD and r.LBORRESU = cu.unit and c.check_unit = cu.standard_unit
left join ranged as g on r.SITEID = g.SITEID and r.LBTESTCD = g.LBTESTCD
