-- Name:   derived.lab_toxicity
-- Label:  CTCAE grades of laboratory results: as far as they can be told, beside that of the baseline, and the worst of a subject
-- Grain:  one row per RECORD
-- Input:  derived.lab_grades, derived.lab_judged
-- Units:  grades 0 to 4
-- Source: NCI CTCAE v5.0

with

decided as materialized (
    select
        j.RECORD,
        j.USUBJID,
        j.ONTRTFL,
        j.BASE_RECORD,
        j.IS_AFTER,
        g.*
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

-- Grades of the baseline record beside each record, and the grade by which records of a subject are compared: where it
-- cannot be told, the least that it may be, unless that is none.
beside as (
    select
        d.*,
        of_baseline.ATOXGRL as BTOXGRL,
        of_baseline.ATOXGRH as BTOXGRH,
        coalesce(d.ATOXGRL, nullif(d.ATOXLLO, 0)) as AT_LEAST_LOW,
        coalesce(d.ATOXGRH, nullif(d.ATOXHLO, 0)) as AT_LEAST_HIGH
    from decided as d
    left join (
        select
            RECORD,
            ATOXGRL,
            ATOXGRH
        from decided
        where RECORD = BASE_RECORD
    ) as of_baseline on d.BASE_RECORD = of_baseline.RECORD
),

-- The first of the worst results on treatment, on each scale.
worst as (
    select
        arg_max(RECORD, row(AT_LEAST_LOW, -RECORD)) filter (where AT_LEAST_LOW is not null) as LOW_RECORD,
        arg_max(RECORD, row(AT_LEAST_HIGH, -RECORD)) filter (where AT_LEAST_HIGH is not null) as HIGH_RECORD
    from beside
    where ONTRTFL = 'Y'
    group by USUBJID, LBTESTCD
)

select
    RECORD,
    TERM_LOW as ATOXDSCL,
    TERM_HIGH as ATOXDSCH,
    ATOXGRL,
    ATOXGRH,
    ATOXGRHU,
    ATOXLLO,
    ATOXLHI,
    ATOXHLO,
    ATOXHHI,
    BTOXGRL,
    BTOXGRH,
    '5.0' as TOXVER,
    TOXCERT,
    case when IS_AFTER then BTOXGRL || ' to ' || ATOXGRL end as SHIFT2,
    case when IS_AFTER then BTOXGRH || ' to ' || ATOXGRH end as SHIFT3,
    -- Grade 3 or 4 on either scale, and worse than at baseline on that scale: a multiple of the baseline is, and so is
    -- every such grade where the baseline's is not known.
    case
        when
            not IS_EARLY
            and (
                (ATOXLLO >= 3 and ATOXLLO > coalesce(BTOXGRL, 0))
                or (ATOXHLO >= 3 and ATOXHLO > coalesce(BTOXGRH, 0))
                or (BASE_FROM >= 3 and (base_when = 'ANY' or IS_ABNORMAL_BASE))
                or (ATOXHLO is not null and ULN_FROM >= 3 and ULN_FROM > coalesce(BTOXGRH, 0))
            )
            then 'Y'
    end as WORSEFL,
    case when low.LOW_RECORD is not null then 'Y' end as WGRLFL,
    case when high.HIGH_RECORD is not null then 'Y' end as WGRHFL
from beside as b
left join worst as low on b.RECORD = low.LOW_RECORD
left join worst as high on b.RECORD = high.HIGH_RECORD
