-- Name:   curated.adsv
-- Label:  Visits: planned ones of every dosed subject, attended or not, and every other visit that took place
-- Grain:  one row per USUBJID, VISITNUM, VISIT, SVSTDTC, SRC_SHA256, SRC_ROW
-- Input:  accepted.sv, curated.adsl, derived.visit_records, study.protocol, study.visits
-- Units:  AWTARGET, AWLO, AWHI, ADY in days, no day 0; RECEIVED, USABLE are records of LB, VS, EG, RS and XR
-- Source: study.yaml visits; a visit that cannot be judged (no first dose, or no full date) has no VISSTAT

with

-- Planned visits of dosed subjects as dates. Windows are counted in dates, so that there is no day 0 in them.
planned as (
    select
        s.STUDYID,
        s.SITEID,
        s.USUBJID,
        v.VISIT,
        v.VISITNUM,
        v.AVISIT,
        v.week as AVISITN,
        v.expected,
        v.day as AWTARGET,
        s.TRTSDT,
        s.TRTSDT + v.day - case when v.day > 0 then 1 else 0 end as TARGET,
        TARGET - v.before as OPENS,
        TARGET + v.after as CLOSES,
        case when s.EOSSTT <> 'ONGOING' then coalesce(s.EOSDT, s.LSTDT) end as LEFT_ON,
        p.as_of
    from curated.adsl as s
    cross join study.visits as v
    cross join study.protocol as p
    where s.SAFFL = 'Y' and s.TRTSDT is not null
),

-- A planned visit attended more than once counts once: a date inside the window first, then the nearest to the
-- target: TURN 1.
attended as (
    select
        sv.*,
        iso_date(sv.SVSTDTC) as ADT,
        try_cast(exact_number(sv.VISITNUM) as decimal(10, 2)) as NUM,
        case
            when pl.USUBJID is not null
                then row_number() over (
                        partition by sv.USUBJID, sv.VISIT
                        order by
                            coalesce(iso_date(sv.SVSTDTC) between pl.OPENS and pl.CLOSES, false) desc,
                            abs(iso_date(sv.SVSTDTC) - pl.TARGET) asc nulls last, iso_date(sv.SVSTDTC) asc nulls last,
                            sv.SVSTDTC asc nulls last, sv.VISITNUM asc nulls last
                    )
        end as TURN
    from accepted.sv as sv
    left join planned as pl on sv.USUBJID = pl.USUBJID and sv.VISIT = pl.VISIT
),

-- Visits of the plan, attended or not.
of_plan as (
    select
        pl.STUDYID,
        pl.SITEID,
        pl.USUBJID,
        pl.VISIT,
        coalesce(f.NUM, pl.VISITNUM) as VISITNUM,
        pl.AVISIT,
        pl.AVISITN,
        pl.AWTARGET,
        study_day(pl.OPENS, pl.TRTSDT) as AWLO,
        study_day(pl.CLOSES, pl.TRTSDT) as AWHI,
        f.SVSTDTC,
        f.ADT,
        study_day(f.ADT, pl.TRTSDT) as ADY,
        case
            when f.ADT < pl.OPENS then 'EARLY'
            when f.ADT > pl.CLOSES then 'LATE'
            when f.ADT is not null then 'IN'
            when f.USUBJID is not null then null
            when pl.expected <> 'Y' or pl.CLOSES > pl.LEFT_ON then 'NOT EXPECTED'
            when pl.as_of > pl.CLOSES then 'MISSED'
            when pl.as_of >= pl.OPENS then 'DUE'
            else 'UPCOMING'
        end as VISSTAT,
        case when VISSTAT in ('UPCOMING', 'NOT EXPECTED') then 'N' else 'Y' end as EXPFL,
        f.PENDFL,
        f.SRC_SHA256,
        f.SRC_ROW
    from planned as pl
    left join attended as f on pl.USUBJID = f.USUBJID and pl.VISIT = f.VISIT and f.TURN = 1
),

-- Everything else that took place: unscheduled visits, repeats, and all visits of subjects without a first dose.
others as (
    select
        a.STUDYID,
        a.SITEID,
        a.USUBJID,
        a.VISIT,
        a.NUM as VISITNUM,
        case when s.TRTSDT is null then v.AVISIT end as AVISIT,
        case when s.TRTSDT is null then v.week end as AVISITN,
        null::integer as AWTARGET,
        null::integer as AWLO,
        null::integer as AWHI,
        a.SVSTDTC,
        a.ADT,
        study_day(a.ADT, s.TRTSDT) as ADY,
        case when v.VISIT is null or s.TRTSDT is not null then 'UNSCHEDULED' end as VISSTAT,
        null::varchar as EXPFL,
        a.PENDFL,
        a.SRC_SHA256,
        a.SRC_ROW
    from attended as a
    left join study.visits as v on a.VISIT = v.VISIT
    left join curated.adsl as s on a.USUBJID = s.USUBJID
    where a.TURN is distinct from 1
),

-- What the visits brought. Records of a visit attended twice stand with the planned one.
records as (
    select
        USUBJID,
        VISIT,
        sum(RECEIVED) as RECEIVED,
        sum(USABLE) as USABLE
    from derived.visit_records
    group by USUBJID, VISIT
),

visits as (
    select * from of_plan
    union all
    select * from others
)

select
    v.STUDYID,
    v.SITEID,
    v.USUBJID,
    v.VISIT,
    v.VISITNUM,
    v.AVISIT,
    v.AVISITN,
    v.AWTARGET,
    v.AWLO,
    v.AWHI,
    v.SVSTDTC,
    v.ADT,
    v.ADY,
    v.VISSTAT,
    v.EXPFL,
    case when v.AWTARGET is not null then coalesce(r.RECEIVED, 0)::integer end as RECEIVED,
    case when v.AWTARGET is not null then coalesce(r.USABLE, 0)::integer end as USABLE,
    v.PENDFL,
    v.SRC_SHA256,
    v.SRC_ROW
from visits as v
left join records as r on v.USUBJID = r.USUBJID and v.VISIT = r.VISIT
