-- Name:   dsmb.stopping_status
-- Label:  Stopping rules: what they say, subjects evaluated, events, boundary and state, all arms pooled
-- Grain:  one row per rule
-- Input:  curated.adae, curated.adsl, curated.data_quality, study.stopping_boundary, study.stopping_rules
-- Units:  counts of subjects and rows; percent of evaluated
-- Source: safety.stopping of the study; a subject counts once a rule; beyond the last planned number the last boundary holds

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

-- What every rule makes of every subject. Y: an event that certainly counts; U: one that counts if what the site did not
-- say turns out so. An event of unknown relation counts as related. The last day of the time allowed belongs to it.
found as (
    select
        r.rule,
        d.USUBJID,
        case when d.DTHDT is null and r.within_days is not null then 'U' else 'Y' end as ANSWER
    from study.stopping_rules as r
    inner join dosed as d on d.DTHFL = 'Y'
    where r.event = 'DEATH' and coalesce(d.DTHDT - d.TRTSDT <= r.within_days, true)
    union all
    select
        r.rule,
        d.USUBJID,
        case
            when r.event = 'INFUSION REACTION' and e.INFRFL = 'U' then 'U'
            when r.event = 'SPECIAL INTEREST' and not coalesce(list_contains(e.AESI, r.special_interest), false) then 'U'
            when r.min_grade is not null and e.ATOXGR is null then 'U'
            when r.serious and e.ASERFL is null then 'U'
            when r.within_days is not null and e.ASTDT is null then 'U'
            else 'Y'
        end as ANSWER
    from study.stopping_rules as r
    inner join curated.adae as e
        on
            e.TRTEMFL = 'Y'
            and (
                r.event = 'ADVERSE EVENT'
                or (r.event = 'INFUSION REACTION' and e.INFRFL in ('Y', 'U'))
                or (r.event = 'SPECIAL INTEREST' and (list_contains(e.AESI, r.special_interest) or e.AESIFL = 'U'))
            )
    inner join dosed as d on e.USUBJID = d.USUBJID
    where coalesce(e.ATOXGR >= r.min_grade, true)
        and (not r.serious or e.ASERFL is distinct from 'N')
        and (not r.related or e.AREL <> 'NOT RELATED')
        and coalesce(e.ASTDT - d.TRTSDT <= r.within_days, true)
),

-- Evaluated: with an event, or seen at the end of the time allowed or later, or dead before it. NTH: in the order of doses.
subjects as (
    select
        r.rule,
        d.USUBJID,
        any_value(d.SENT) as SENT,
        coalesce(max(f.ANSWER), 'N') as ANSWER,
        coalesce(
            max(f.ANSWER) = 'Y' or any_value(d.DTHFL) = 'Y'
            or any_value(r.within_days) is null or any_value(d.LSTDT - d.TRTSDT >= r.within_days), false
        ) as EVALUATED,
        row_number() over (
            partition by r.rule, EVALUATED order by any_value(d.TRTSDT), any_value(d.TRTSDTM), d.USUBJID
        ) as NTH
    from study.stopping_rules as r
    cross join dosed as d
    left join found as f on r.rule = f.rule and d.USUBJID = f.USUBJID
    group by r.rule, d.USUBJID
),

running as (
    select
        *,
        count(*) filter (where ANSWER = 'Y') over (partition by rule order by NTH) as EVENTS_SO_FAR
    from subjects
    where EVALUATED
),

crossed as (
    select
        s.rule,
        min(s.NTH) as crossed_at
    from running as s
    inner join study.stopping_boundary as b on s.rule = b.rule and s.NTH = b.n
    where s.EVENTS_SO_FAR >= b.boundary
    group by s.rule
),

counted as (
    select
        rule,
        count(*) as expected,
        count(*) filter (where SENT) as received,
        count(*) filter (where EVALUATED) as evaluated,
        count(*) filter (where ANSWER = 'Y') as events,
        count(*) filter (where ANSWER = 'U') as possible_events
    from subjects
    group by rule
),

-- Rows of the domains that report doses, deaths and events, and could not be looked at here.
missing_rows as (
    select
        coalesce(sum(ROWS_QUARANTINED), 0)::bigint as rows_quarantined,
        coalesce(sum(ROWS_HELD), 0)::bigint as rows_held
    from curated.data_quality
    where DOMAIN in ('AE', 'DM', 'DS', 'EX')
)

select
    r.rule,
    r.says,
    r.event,
    r.special_interest,
    r.min_grade,
    r.serious,
    r.related,
    r.within_days,
    r.design,
    r.p0,
    r.prior_a,
    r.prior_b,
    r.threshold,
    r.alpha,
    r.type_one_error,
    r.first_n,
    r.last_n,
    coalesce(c.expected, 0) as expected,
    coalesce(c.received, 0) as received,
    coalesce(c.evaluated, 0) as evaluated,
    coalesce(c.events, 0) as events,
    coalesce(c.possible_events, 0) as possible_events,
    percentage(c.events, c.evaluated) as percent,
    b.boundary,
    x.crossed_at::integer as crossed_at,
    case
        when c.events >= b.boundary then 'STOP'
        when c.events + c.possible_events < b.boundary then 'CONTINUE'
        else 'NOT ENOUGH DATA'
    end as state,
    m.rows_quarantined,
    m.rows_held
from study.stopping_rules as r
cross join missing_rows as m
left join counted as c on r.rule = c.rule
left join crossed as x on r.rule = x.rule
left join study.stopping_boundary as b on r.rule = b.rule and least(c.evaluated, r.last_n) = b.n
