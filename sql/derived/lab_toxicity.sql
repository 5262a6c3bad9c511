-- Name:   derived.lab_toxicity
-- Label:  CTCAE grades of laboratory results: as far as they can be told, beside that of the baseline, and the worst of a subject
-- Grain:  one row per RECORD
-- Input:  derived.lab_grades, derived.lab_judged
-- Units:  grades 0 to 4
-- Source: NCI CTCAE v5.0

with

matched as materialized (
    select
        j.RECORD,
        j.USUBJID,
        j.LBTESTCD,
        j.ONTRTFL,
        j.BASE_RECORD,
        j.IS_AFTER,
        g.CASE_NUMBER
    from derived.lab_judged as j
    inner join derived.lab_grades as g
        on
            j.LBTESTCD = g.LBTESTCD
            and j.LBORRESU is not distinct from g.LBORRESU
            and j.SIGN is not distinct from g.SIGN
            and j.NUM is not distinct from g.NUM
            and j.LO is not distinct from g.LO
            and j.HI is not distinct from g.HI
            and j.MEASURED is not distinct from g.MEASURED
            and j.IS_EARLY = g.IS_EARLY
            and j.BASE_SIGN is not distinct from g.BASE_SIGN
            and j.BASE_NUM is not distinct from g.BASE_NUM
            and j.BASE_HI is not distinct from g.BASE_HI
            and j.BASE_UNIT is not distinct from g.BASE_UNIT
),

-- The grade by which records of a subject are compared: where it cannot be told, the least that it may be, unless that is
-- none. Of the worst results on treatment the first stands for all, on each scale.
worst as (
    select
        arg_max(m.RECORD, row(coalesce(g.ATOXGRL, g.ATOXLLO), -m.RECORD))
        filter (where coalesce(g.ATOXGRL, nullif(g.ATOXLLO, 0)) is not null) as LOW_RECORD,
        arg_max(m.RECORD, row(coalesce(g.ATOXGRH, g.ATOXHLO), -m.RECORD))
        filter (where coalesce(g.ATOXGRH, nullif(g.ATOXHLO, 0)) is not null) as HIGH_RECORD
    from matched as m
    inner join derived.lab_grades as g on m.CASE_NUMBER = g.CASE_NUMBER
    where m.ONTRTFL = 'Y'
    group by m.USUBJID, m.LBTESTCD
)

select
    m.RECORD,
    g.TERM_LOW as ATOXDSCL,
    g.TERM_HIGH as ATOXDSCH,
    g.ATOXGRL,
    g.ATOXGRH,
    g.ATOXGRHU,
    g.ATOXLLO,
    g.ATOXLHI,
    g.ATOXHLO,
    g.ATOXHHI,
    base.ATOXGRL as BTOXGRL,
    base.ATOXGRH as BTOXGRH,
    '5.0' as TOXVER,
    g.TOXCERT,
    case when m.IS_AFTER then base.ATOXGRL || ' to ' || g.ATOXGRL end as SHIFT2,
    case when m.IS_AFTER then base.ATOXGRH || ' to ' || g.ATOXGRH end as SHIFT3,
    -- Grade 3 or 4 on either scale, and worse than at baseline on that scale: a multiple of the baseline is, and so is
    -- every such grade where the baseline's is not known.
    case
        when
            not g.IS_EARLY
            and (
                (g.ATOXLLO >= 3 and g.ATOXLLO > coalesce(base.ATOXGRL, 0))
                or (g.ATOXHLO >= 3 and g.ATOXHLO > coalesce(base.ATOXGRH, 0))
                or (g.BASE_FROM >= 3 and (g.base_when = 'ANY' or g.IS_ABNORMAL_BASE))
                or (g.ATOXHLO is not null and g.ULN_FROM >= 3 and g.ULN_FROM > coalesce(base.ATOXGRH, 0))
            )
            then 'Y'
    end as WORSEFL,
    case when low.LOW_RECORD is not null then 'Y' end as WGRLFL,
    case when high.HIGH_RECORD is not null then 'Y' end as WGRHFL
from matched as m
inner join derived.lab_grades as g on m.CASE_NUMBER = g.CASE_NUMBER
left join matched as b on m.BASE_RECORD = b.RECORD
left join derived.lab_grades as base on b.CASE_NUMBER = base.CASE_NUMBER
left join worst as low on m.RECORD = low.LOW_RECORD
left join worst as high on m.RECORD = high.HIGH_RECORD
