-- Name:   dsmb.ae_by_grade
-- Label:  Treatment-emergent adverse events by worst grade of each subject, with totals (ALL), all arms pooled
-- Grain:  one row per AESOC, AEDECOD
-- Input:  curated.adae, curated.adsl, curated.data_quality
-- Units:  counts of events, subjects and rows; percent of expected
-- Source: curated.adae, TRTEMFL = Y; CTCAE v5 grades or the study's grades of severities; a subject counts once a line, at the worst known grade

with

senders as (
    select distinct SITEID
    from curated.data_quality
    where DOMAIN = 'AE' and DELIVERIES_ACCEPTED + DELIVERIES_PARTIAL > 0
),

-- Everybody dosed; SENT: the site has sent adverse events that count, so that no event means none.
dosed as (
    select
        s.*,
        q.SITEID is not null as SENT
    from curated.adsl as s
    left join senders as q on s.SITEID = q.SITEID
    where s.SAFFL = 'Y'
),

-- Every event stands on three lines: its term, all terms of its organ class, all events.
lines as (
    select
        USUBJID,
        ATOXGR,
        unnest([coalesce(AESOC, AEBODSYS, 'NOT CODED'), coalesce(AESOC, AEBODSYS, 'NOT CODED'), 'ALL']) as SOC,
        unnest([coalesce(AEDECOD, 'NOT CODED'), 'ALL', 'ALL']) as TERM
    from curated.adae
    where TRTEMFL = 'Y'
),

-- Without any known grade WORST is NULL, never 0.
per_subject as (
    select
        SOC,
        TERM,
        USUBJID,
        count(*) as EVENTS,
        max(ATOXGR) as WORST,
        bool_or(ATOXGR is null) as PARTLY
    from lines
    group by SOC, TERM, USUBJID
),

asked as (
    select
        count(*) as expected,
        count(*) filter (where SENT) as received
    from dosed
),

-- Adverse-event rows that could not be counted here.
missing_rows as (
    select
        coalesce(sum(ROWS_QUARANTINED), 0)::bigint as rows_quarantined,
        coalesce(sum(ROWS_HELD), 0)::bigint as rows_held
    from curated.data_quality
    where DOMAIN = 'AE'
)

select
    p.SOC as AESOC,
    p.TERM as AEDECOD,
    any_value(a.expected) as expected,
    any_value(a.received) as received,
    any_value(a.received) - count(*) filter (where p.PARTLY) as gradable,
    sum(p.EVENTS)::bigint as events,
    count(*) as subjects,
    percentage(count(*), any_value(a.expected)) as percent,
    count(*) filter (where p.WORST = 1) as grade_1,
    count(*) filter (where p.WORST = 2) as grade_2,
    count(*) filter (where p.WORST = 3) as grade_3,
    count(*) filter (where p.WORST = 4) as grade_4,
    count(*) filter (where p.WORST = 5) as grade_5,
    count(*) filter (where p.WORST >= 3) as grade_3_or_more,
    percentage(count(*) filter (where p.WORST >= 3), any_value(a.expected)) as grade_3_or_more_percent,
    count(*) filter (where p.WORST is null) as not_gradable,
    count(*) filter (where p.PARTLY and p.WORST is not null) as partly_gradable,
    any_value(m.rows_quarantined) as rows_quarantined,
    any_value(m.rows_held) as rows_held
from per_subject as p
cross join asked as a
cross join missing_rows as m
group by p.SOC, p.TERM
