-- Name:   facts.lb
-- Label:  What the rules on laboratory results look at: one delivery's rows, with facts beside the cells as sent
-- Grain:  one row per SRC_ROW
-- Input:  delivery.rows, study.protocol, study.visits, study.analytes, study.ranges, study.sites, reference.units, reference.check_units
-- Units:  LBVAL_STD in check_unit of reference.check_units; limits as reported; MCHC_IMPLIED g/L; MCV_RATIO none
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
        w.VISITNUM as number,
        w.VISIT is not null or regexp_matches(i.VISIT, p.unscheduled_visits) as known
    from (select distinct VISIT from delivery.rows) as i
    cross join study.protocol as p
    left join study.visits as w on i.VISIT = w.VISIT
),

-- Analytes whose reference range labs.csv holds for the laboratory of a site.
ranged as (
    select distinct
        s.SITEID,
        g.LBTESTCD
    from study.sites as s
    inner join study.ranges as g on s.lab = g.lab
),

-- Results in the unit that limits of plausibility are given in.
measured as (
    select
        r.SRC_ROW,
        r.USUBJID,
        r.LBDTC,
        coalesce(r.LBTPT, '') as timepoint,
        r.LBTESTCD as test,
        approximate(r.LBORRES) * cast(u.factor as double) as value
    from delivery.rows as r
    inner join reference.check_units as c on r.LBTESTCD = c.LBTESTCD
    inner join reference.units as u
        on r.LBTESTCD = u.LBTESTCD and r.LBORRESU = u.unit and c.check_unit = u.standard_unit
),

-- Results of one blood draw that must fit together.
samples as (
    select
        USUBJID,
        LBDTC,
        timepoint,
        max(value) filter (where test = 'BILI') as bili,
        max(value) filter (where test = 'HGB') as hgb,
        max(value) filter (where test = 'HCT') as hct,
        max(value) filter (where test = 'RBC') as rbc,
        coalesce(max(value) filter (where test = 'NEUT'), 0)
        + coalesce(max(value) filter (where test = 'LYM'), 0)
        + coalesce(max(value) filter (where test = 'MONO'), 0)
        + coalesce(max(value) filter (where test = 'EOS'), 0)
        + coalesce(max(value) filter (where test = 'BASO'), 0) as types,
        coalesce(max(value) filter (where test = 'CD4'), 0)
        + coalesce(max(value) filter (where test = 'CD8'), 0)
        + coalesce(max(value) filter (where test = 'CD19'), 0) as subsets
    from measured
    where test in ('BILI', 'HGB', 'HCT', 'RBC', 'NEUT', 'LYM', 'MONO', 'EOS', 'BASO', 'CD4', 'CD8', 'CD19')
    group by USUBJID, LBDTC, timepoint
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
    m.value as LBVAL_STD,
    case when r.LBTESTCD = 'BILDIR' then yes_no(m.value <= q.bili + 2) end as DIRECT_FITS_TOTAL,
    case when r.LBTESTCD = 'WBC' then yes_no(q.types <= m.value * 1.1 + 0.05) end as TYPES_FIT_WBC,
    case when r.LBTESTCD = 'LYM' then yes_no(q.subsets <= m.value * 1.2 + 0.05) end as SUBSETS_FIT_LYM,
    case when r.LBTESTCD = 'HCT' and m.value > 0 then q.hgb / m.value end as MCHC_IMPLIED,
    case when r.LBTESTCD = 'MCV' and m.value > 0 and q.rbc > 0 then q.hct * 1000 / q.rbc / m.value end as MCV_RATIO,
    result_kind(r.LBORNRLO) as RANGE_LO_KIND,
    result_kind(r.LBORNRHI) as RANGE_HI_KIND,
    approximate(r.LBORNRLO) as RANGE_LO,
    approximate(r.LBORNRHI) as RANGE_HI,
    yes_no(coalesce(r.LBORNRLO, r.LBORNRHI) is not null or g.LBTESTCD is not null) as HAS_RANGE,
    result_kind(r.VISITNUM) as VISITNUM_KIND,
    yes_no(exact_number(r.VISITNUM) = v.number) as VISITNUM_FITS,
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
left join measured as m on r.SRC_ROW = m.SRC_ROW
left join samples as q on r.USUBJID = q.USUBJID and r.LBDTC = q.LBDTC and coalesce(r.LBTPT, '') = q.timepoint
left join ranged as g on r.SITEID = g.SITEID and r.LBTESTCD = g.LBTESTCD
