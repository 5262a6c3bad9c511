-- Name:   curated.visit_data
-- Label:  What a planned visit brought and what it should have brought, by domain and, for laboratory, category
-- Grain:  one row per USUBJID, AVISITN, VISIT, DOMAIN, PARCAT1
-- Input:  curated.adsv, derived.visit_records, study.assessments
-- Units:  counts of accepted records
-- Source: assessments of the study at visits expected by now (adsv EXPFL); nothing expected and nothing received is no row

with

visits as (
    select *
    from curated.adsv
    where AWTARGET is not null
),

asked as (
    select
        v.USUBJID,
        v.VISIT,
        a.DOMAIN,
        a.PARCAT1
    from visits as v
    inner join study.assessments as a on v.VISIT = a.VISIT
    where v.EXPFL = 'Y'
),

-- Domains and categories of which the study says where they are asked for.
told as (select distinct DOMAIN, PARCAT1 from study.assessments),

met as (
    select
        coalesce(a.USUBJID, r.USUBJID) as USUBJID,
        coalesce(a.VISIT, r.VISIT) as VISIT,
        coalesce(a.DOMAIN, r.DOMAIN) as DOMAIN,
        coalesce(a.PARCAT1, r.PARCAT1) as PARCAT1,
        a.USUBJID is not null as IS_ASKED,
        coalesce(r.RECEIVED, 0) as RECEIVED,
        coalesce(r.USABLE, 0) as USABLE
    from asked as a
    full join derived.visit_records as r
        on
            a.USUBJID = r.USUBJID
            and a.VISIT = r.VISIT
            and a.DOMAIN = r.DOMAIN
            and a.PARCAT1 is not distinct from r.PARCAT1
)

select
    v.STUDYID,
    v.SITEID,
    v.USUBJID,
    v.VISIT,
    v.AVISIT,
    v.AVISITN,
    v.VISSTAT,
    m.DOMAIN,
    m.PARCAT1,
    case when m.IS_ASKED then 'Y' when t.DOMAIN is not null then 'N' end as EXPFL,
    m.RECEIVED,
    m.USABLE
from met as m
inner join visits as v on m.USUBJID = v.USUBJID and m.VISIT = v.VISIT
left join told as t on m.DOMAIN = t.DOMAIN and m.PARCAT1 is not distinct from t.PARCAT1
