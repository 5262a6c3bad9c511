-- Name:   dsmb.events_of_interest
-- Label:  Treatment-emergent adverse events of special interest by category, those without events too, all arms pooled
-- Grain:  one row per AESI
-- Input:  curated.adae, curated.adsl, curated.data_quality, study.special_interest
-- Units:  counts of events, subjects and rows; percent of expected; first_day in study days
-- Source: curated.adae, TRTEMFL = Y; safety.events of the study; what the dates (INFRFL) or missing codes cannot tell is no event

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

categories as (
    select
        name as AESI,
        any_value(position) as position
    from study.special_interest
    group by name
),

-- Events that a list names; of the others in a category of infusion reactions, only the dates can say whether they are.
listed as (
    select distinct
        e.SRC_SHA256,
        e.SRC_ROW,
        i.name as AESI
    from curated.adae as e
    inner join study.special_interest as i
        on
            (i.kind = 'SOC' and i.term = upper(trim(coalesce(e.AESOC, e.AEBODSYS))))
            or (i.kind = 'TERM' and i.term = upper(trim(coalesce(e.AEDECOD, e.AELLT, e.AETERM))))
),

-- One row per event and category: it can be of several. One that is not coded can be of each.
found as (
    select
        *,
        unnest(AESI) as CATEGORY
    from curated.adae
    where TRTEMFL = 'Y'
),

events as (
    select
        e.USUBJID,
        e.CATEGORY as AESI,
        case when e.INFRFL = 'U' and i.AESI is null then 'U' else 'Y' end as ANSWER,
        e.ASERFL,
        e.ATOXGR,
        e.AREL,
        e.ASTDY
    from found as e
    left join listed as i
        on e.SRC_SHA256 is not distinct from i.SRC_SHA256 and e.SRC_ROW = i.SRC_ROW and e.CATEGORY = i.AESI
    union all
    select
        e.USUBJID,
        c.AESI,
        'U' as ANSWER,
        null as ASERFL,
        null as ATOXGR,
        null as AREL,
        null as ASTDY
    from curated.adae as e
    cross join categories as c
    where e.TRTEMFL = 'Y' and e.AESIFL = 'U'
),

per_subject as (
    select
        c.AESI,
        d.USUBJID,
        any_value(d.SENT) as SENT,
        coalesce(max(e.ANSWER), 'N') as ANSWER,
        count(*) filter (where e.ANSWER = 'Y') as EVENTS,
        coalesce(bool_or(e.ANSWER = 'Y' and e.ASERFL = 'Y'), false) as IS_SERIOUS,
        coalesce(bool_or(e.ANSWER = 'Y' and e.ATOXGR >= 3), false) as IS_SEVERE,
        coalesce(bool_or(e.ANSWER = 'Y' and e.AREL <> 'NOT RELATED'), false) as IS_RELATED,
        min(e.ASTDY) filter (where e.ANSWER = 'Y') as FIRST_DAY
    from categories as c
    cross join dosed as d
    left join events as e on c.AESI = e.AESI and d.USUBJID = e.USUBJID
    group by c.AESI, d.USUBJID
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
    c.position,
    c.AESI,
    count(p.USUBJID) as expected,
    count(*) filter (where p.SENT) as received,
    count(*) filter (where p.SENT and p.ANSWER <> 'U') as gradable,
    coalesce(sum(p.EVENTS), 0)::bigint as events,
    count(*) filter (where p.ANSWER = 'Y') as subjects,
    percentage(count(*) filter (where p.ANSWER = 'Y'), count(p.USUBJID)) as percent,
    count(*) filter (where p.IS_SERIOUS) as serious_subjects,
    count(*) filter (where p.IS_SEVERE) as grade_3_or_more_subjects,
    count(*) filter (where p.IS_RELATED) as related_subjects,
    min(p.FIRST_DAY) as first_day,
    count(*) filter (where p.ANSWER = 'U') as cannot_tell,
    any_value(m.rows_quarantined) as rows_quarantined,
    any_value(m.rows_held) as rows_held
from categories as c
cross join missing_rows as m
left join per_subject as p on c.AESI = p.AESI
group by c.position, c.AESI
