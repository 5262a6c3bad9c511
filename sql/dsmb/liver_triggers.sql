-- Name:   dsmb.liver_triggers
-- Label:  Signs of liver injury after the first dose: how many subjects met each, or might have, all arms pooled
-- Grain:  one row per TRIGGER_ID
-- Input:  curated.adsl, curated.data_quality, curated.hys_law, curated.liver_peaks, curated.liver_triggers, study.liver, study.liver_triggers
-- Units:  counts of subjects and of rows
-- Source: curated.liver_triggers; HYS-LAW: curated.hys_law; expected = dosed; received, gradable as in dsmb.hys_law

with

-- Every sign there is, so that one that nobody met is a row too.
signs as (
    select
        id as TRIGGER_ID,
        says as TRIGGER_TEXT
    from study.liver_triggers
    union all
    select
        'HYS-LAW' as TRIGGER_ID,
        'Hy''s law: ALT or AST and then bilirubin raised, ALP not' as TRIGGER_TEXT
    from study.liver
),

-- Who met what. A subject with several cases of Hy's law counts once, by the worst answer.
met as (
    select
        USUBJID,
        TRIGGER_ID,
        STATUS
    from curated.liver_triggers
    union all
    select
        USUBJID,
        'HYS-LAW' as TRIGGER_ID,
        case when bool_or(HYSLAW = 'Y') then 'Y' else 'CANNOT TELL' end as STATUS
    from curated.hys_law
    where HYSLAW <> 'N'
    group by USUBJID
),

-- Among how many dosed subjects they were looked for.
subjects as (
    select
        count(*) as expected,
        count(p.USUBJID) as received,
        count(*) filter (where p.EDISH <> 'CANNOT TELL') as gradable
    from curated.adsl as s
    left join curated.liver_peaks as p on s.USUBJID = p.USUBJID
    where s.SAFFL = 'Y'
),

-- Laboratory rows that could not be counted here, over all sites and tests.
missing_rows as (
    select
        coalesce(sum(ROWS_QUARANTINED), 0)::bigint as rows_quarantined,
        coalesce(sum(ROWS_HELD), 0)::bigint as rows_held
    from curated.data_quality
    where DOMAIN = 'LB'
)

select
    g.TRIGGER_ID,
    g.TRIGGER_TEXT,
    count(*) filter (where t.STATUS = 'Y') as subjects,
    count(*) filter (where t.STATUS = 'CANNOT TELL') as cannot_tell,
    any_value(s.expected) as expected,
    any_value(s.received) as received,
    any_value(s.gradable) as gradable,
    any_value(m.rows_quarantined) as rows_quarantined,
    any_value(m.rows_held) as rows_held
from signs as g
cross join subjects as s
cross join missing_rows as m
left join met as t on g.TRIGGER_ID = t.TRIGGER_ID
group by g.TRIGGER_ID, g.TRIGGER_TEXT
