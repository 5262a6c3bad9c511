-- Name:   curated.adsv
-- Label:  Visits: planned ones of every dosed subject, attended or not, and every other visit that took place
-- Grain:  one row per USUBJID, VISITNUM, VISIT, SVSTDTC, SRC_SHA256, SRC_ROW
-- Input:  accepted.sv, curated.adsl, study.protocol, study.visits
-- Units:  AWTARGET, AWLO, AWHI, ADY in days, no day 0
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

-- A planned visit attended more than once counts once, with the date nearest to its target: TURN 1.
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
                            abs(iso_date(sv.SVSTDTC) - pl.TARGET) nulls last, iso_date(sv.SVSTDTC) nulls last,
                            sv.SVSTDTC nulls last, sv.VISITNUM nulls last
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
        a.PENDFL,
        a.SRC_SHA256,
        a.SRC_ROW
    from attended as a
    left join study.visits as v on a.VISIT = v.VISIT
    left join curated.adsl as s on a.USUBJID = s.USUBJID
    where a.TURN is distinct from 1
)

select * from of_plan
union all
select * from others
