-- Name:   facts.vs
-- Label:  What the rules on vital signs look at: one delivery's rows, with facts beside the cells as sent
-- Grain:  one row per SRC_ROW
-- Input:  delivery.rows, study.protocol, study.sites, study.visits, reference.vital_units
-- Units:  VSVAL_STD in check_unit of reference.vital_units, SYSTOLIC in mmHg
-- Source: expectations/common, expectations/visit/vs

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

tests as (select distinct VSTESTCD from reference.vital_units),

-- Systolic pressures, to stand beside the diastolic ones of the same reading.
systolic as (
    select
        USUBJID,
        VSDTC,
        concat_ws('|', VSPOS, VSTPT, VSLOC) as reading,
        max(approximate(VSORRES)) as pressure
    from delivery.rows
    where VSTESTCD = 'SYSBP' and VSORRESU = 'mmHg'
    group by USUBJID, VSDTC, concat_ws('|', VSPOS, VSTPT, VSLOC)
)

select
    r.*,
    yes_no(coalesce(r.STUDYID = p.STUDYID, false)) as STUDY_OK,
    yes_no(s.well_formed) as ID_OK,
    yes_no(s.site = r.SITEID) as SITE_OK,
    yes_no(names_arm(concat_ws(chr(10), *columns(r.*)), p.blinded)) as ARM_WORD,
    cast(p.last_plausible_date as date) as LAST_DATE,
    yes_no(v.known) as VISIT_KNOWN,
    result_writing(r.VSORRES) as RESULT_KIND,
    case when r.VSTESTCD is not null then yes_no(t.VSTESTCD is not null) end as TEST_KNOWN,
    yes_no(garbled(r.VSORRESU)) as UNIT_GARBLED,
    case
        when t.VSTESTCD is not null and r.VSORRES is not null and not coalesce(garbled(r.VSORRESU), false)
            then yes_no(u.factor is not null)
    end as UNIT_KNOWN,
    approximate(r.VSORRES) * cast(u.factor as double) + cast(u.addend as double) as VSVAL_STD,
    case when r.VSTESTCD = 'DIABP' then sys.pressure end as SYSTOLIC,
    iso_kind(r.VSDTC) as VSDTC_KIND,
    clock_kind(r.VSDTC, z.timezone) as VSDTC_CLOCK,
    iso_date(r.VSDTC) as VSDT
from delivery.rows as r
cross join study.protocol as p
left join subjects as s on r.USUBJID = s.USUBJID
left join study.sites as z on r.SITEID = z.SITEID
left join visits as v on r.VISIT = v.VISIT
left join tests as t on r.VSTESTCD = t.VSTESTCD
left join systolic as sys
    on r.USUBJID = sys.USUBJID and r.VSDTC = sys.VSDTC and concat_ws('|', r.VSPOS, r.VSTPT, r.VSLOC) = sys.reading
left join reference.vital_units as u on r.VSTESTCD = u.VSTESTCD and r.VSORRESU = u.unit
