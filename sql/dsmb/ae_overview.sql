-- Name:   dsmb.ae_overview
-- Label:  Treatment-emergent adverse events at a glance: dosed subjects with at least one of a kind, all arms pooled
-- Grain:  one row per position
-- Input:  curated.adae, curated.adsl, curated.data_quality
-- Units:  counts of events, subjects and rows; percent of expected
-- Source: ICH E3, 12.2.1; curated.adae, TRTEMFL = Y; a subject whose answer hangs on what a site did not say is counted as cannot_tell

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

kinds as (
    select
        listed.position,
        listed.category
    from (
        values
        (1, 'ANY'),
        (2, 'SERIOUS'),
        (3, 'GRADE 3 OR MORE'),
        (4, 'RELATED'),
        (5, 'SERIOUS AND RELATED'),
        (6, 'GRADE 3 OR MORE AND RELATED'),
        (7, 'HOSPITALISED'),
        (8, 'LIFE THREATENING'),
        (9, 'FATAL'),
        (10, 'LED TO LEAVING THE STUDY'),
        (11, 'SPECIAL INTEREST'),
        (12, 'INFUSION REACTION'),
        (13, 'NOT TREATMENT-EMERGENT, OR OF A SUBJECT NOT KNOWN AS DOSED')
    ) as listed (position, category)
),

-- Of every event: Y it is one, N it is none, U the site did not say. In this order of letters the least of two answers is
-- the answer to both, and the greatest of a subject's answers is the answer for the subject.
said as (
    select
        USUBJID,
        TRTEMFL,
        AESHOSP,
        AESLIFE,
        AESIFL,
        INFRFL,
        coalesce(ASERFL, 'U') as SERIOUS,
        case when ATOXGR >= 3 then 'Y' when ATOXGR is null then 'U' else 'N' end as SEVERE,
        case AREL when 'RELATED' then 'Y' when 'NOT RELATED' then 'N' else 'U' end as RELATED,
        coalesce(ATOXGR = 5, false) as IS_FATAL
    from curated.adae
),

answers as (
    select
        USUBJID,
        unnest([1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12]) as position,
        unnest([
            'Y',
            SERIOUS,
            SEVERE,
            RELATED,
            least(SERIOUS, RELATED),
            least(SEVERE, RELATED),
            case when AESHOSP = 'Y' then 'Y' else 'N' end,
            case when AESLIFE = 'Y' then 'Y' else 'N' end,
            case when IS_FATAL then 'Y' else 'N' end,
            coalesce(AESIFL, 'N'),
            coalesce(INFRFL, 'N')
        ]) as answer
    from said
    where TRTEMFL = 'Y'
),

-- One answer per dosed subject and kind. Who left because of an event stands in the disposition, not with the event.
per_subject as (
    select
        k.position,
        d.USUBJID,
        any_value(d.SENT) as SENT,
        count(*) filter (where a.answer = 'Y') as EVENTS,
        case
            when k.position = 10 then case when any_value(d.DCSREAS) = 'ADVERSE EVENT' then 'Y' else 'N' end
            else coalesce(max(a.answer), 'N')
        end as ANSWER
    from kinds as k
    cross join dosed as d
    left join answers as a on k.position = a.position and d.USUBJID = a.USUBJID
    group by k.position, d.USUBJID
),

-- Events that no line above can count.
others as (
    select
        count(*) as EVENTS,
        count(distinct USUBJID) as SUBJECTS
    from said
    where TRTEMFL is null
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
    k.position,
    any_value(k.category) as category,
    count(p.USUBJID) as expected,
    count(*) filter (where p.SENT) as received,
    count(*) filter (where p.SENT and p.ANSWER <> 'U') as gradable,
    case
        when k.position = 13 then any_value(o.EVENTS)
        when k.position <> 10 then coalesce(sum(p.EVENTS), 0)::bigint
    end as events,
    case when k.position = 13 then any_value(o.SUBJECTS) else count(*) filter (where p.ANSWER = 'Y') end as subjects,
    case
        when k.position <> 13 then percentage(count(*) filter (where p.ANSWER = 'Y'), count(p.USUBJID))
    end as percent,
    count(*) filter (where p.ANSWER = 'U') as cannot_tell,
    any_value(m.rows_quarantined) as rows_quarantined,
    any_value(m.rows_held) as rows_held
from kinds as k
cross join others as o
cross join missing_rows as m
left join per_subject as p on k.position = p.position
group by k.position
