-- Name:   dsmb.ecg_findings
-- Label:  ECG readings by visit: normal, abnormal, clinically significant and newly so, all arms pooled
-- Grain:  one row per AVISITN, AVISIT
-- Input:  curated.adeg, curated.adsl, curated.data_quality, curated.visit_data
-- Units:  counts of dosed subjects and of rows
-- Source: curated.adeg; of several readings at a visit the gravest counts; the row without a visit is what was unscheduled

with

dosed as (
    select USUBJID
    from curated.adsl
    where SAFFL = 'Y'
),

-- One row per subject and visit. A reading that nobody could interpret is none.
readings as (
    select
        r.AVISIT,
        r.AVISITN,
        r.USUBJID,
        case max(list_position(['NORMAL', 'ABNORMAL NCS', 'ABNORMAL', 'ABNORMAL CS'], r.AVALC))
            when 4 then 'ABNORMAL CS'
            when 3 then 'ABNORMAL'
            when 2 then 'ABNORMAL NCS'
            when 1 then 'NORMAL'
        end as GRAVEST,
        bool_or(r.NEWCSFL = 'Y') as IS_NEW,
        bool_or(r.NEWCSFL = 'U') as IS_OPEN
    from curated.adeg as r
    inner join dosed as d on r.USUBJID = d.USUBJID
    where r.PARAMCD = 'INTP'
    group by r.AVISIT, r.AVISITN, r.USUBJID
),

read as (
    select
        AVISIT,
        AVISITN,
        count(*) as received,
        count(GRAVEST) as gradable,
        count(*) filter (where GRAVEST = 'NORMAL') as normal,
        count(*) filter (where GRAVEST = 'ABNORMAL NCS') as abnormal_ncs,
        count(*) filter (where GRAVEST = 'ABNORMAL CS') as abnormal_cs,
        count(*) filter (where GRAVEST = 'ABNORMAL') as abnormal_untold,
        count(*) filter (where IS_NEW) as newly_significant,
        count(*) filter (where IS_OPEN and not coalesce(IS_NEW, false)) as cannot_tell
    from readings
    group by AVISIT, AVISITN
),

asked as (
    select
        AVISIT,
        AVISITN,
        count(*) as expected
    from curated.visit_data
    where DOMAIN = 'EG' and EXPFL = 'Y'
    group by AVISIT, AVISITN
),

-- Rows that could not be counted here, over all sites.
missing_rows as (
    select
        coalesce(sum(ROWS_QUARANTINED), 0)::bigint as rows_quarantined,
        coalesce(sum(ROWS_HELD), 0)::bigint as rows_held
    from curated.data_quality
    where DOMAIN = 'EG'
)

select
    coalesce(a.AVISIT, r.AVISIT) as AVISIT,
    coalesce(a.AVISITN, r.AVISITN) as AVISITN,
    coalesce(a.expected, 0) as expected,
    coalesce(r.received, 0) as received,
    coalesce(r.gradable, 0) as gradable,
    coalesce(r.normal, 0) as normal,
    coalesce(r.abnormal_ncs, 0) as abnormal_ncs,
    coalesce(r.abnormal_cs, 0) as abnormal_cs,
    coalesce(r.abnormal_untold, 0) as abnormal_untold,
    coalesce(r.newly_significant, 0) as newly_significant,
    coalesce(r.cannot_tell, 0) as cannot_tell,
    m.rows_quarantined,
    m.rows_held
from asked as a
full join read as r on a.AVISIT = r.AVISIT and a.AVISITN = r.AVISITN
cross join missing_rows as m
