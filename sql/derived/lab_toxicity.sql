-- Name:   derived.lab_toxicity
-- Label:  CTCAE grades of laboratory results: as far as they can be told, beside that of the baseline, and the worst of a subject
-- Grain:  one row per RECORD
-- Input:  derived.lab_grades
-- Units:  grades 0 to 4
-- Source: NCI CTCAE v5.0

with

-- A grade stands when the least and the highest possible one are the same. A result that is too low is not too high, and
-- the other way round. Of creatinine, grade 2 and above stands on the limit or on the baseline alone.
graded as (
    select
        g.*,
        case
            when g.TERM_LOW is null then null
            when g.LOW_VALUE is null then 'NOT GRADABLE'
            when g.LOW_FROM = g.LOW_TO or g.HIGH_FROM > 0 then 'CERTAIN'
            when g.LLN is null and g.needs_lln then 'NOT GRADABLE'
            else 'INDETERMINATE'
        end as CERT_LOW,
        case
            when g.TERM_HIGH is null then null
            when g.HIGH_VALUE is null then 'NOT GRADABLE'
            when g.base_when = 'ANY' and not g.IS_EARLY and g.ULN is null and g.BASE_NUM is null
                then 'NOT GRADABLE'
            when g.base_when = 'ANY' and not g.IS_EARLY and g.ULN is null
                then case when g.BASE_FROM = g.BASE_TO and g.BASE_FROM >= 2 then 'CERTAIN' else 'NOT GRADABLE' end
            when g.base_when = 'ANY' and not g.IS_EARLY and g.BASE_NUM is null
                then case when g.ULN_FROM = g.ULN_TO and g.ULN_FROM >= 2 then 'CERTAIN' else 'NOT GRADABLE' end
            when g.HIGH_FROM = g.HIGH_TO or g.LOW_FROM > 0 then 'CERTAIN'
            when g.ULN is null and g.needs_uln and not coalesce(g.IS_ABNORMAL_BASE, false)
                then 'NOT GRADABLE'
            else 'INDETERMINATE'
        end as CERT_HIGH
    from derived.lab_grades as g
),

decided as (
    select
        *,
        case when CERT_LOW = 'CERTAIN' then case when HIGH_FROM > 0 then 0 else LOW_FROM end end as ATOXGRL,
        case when CERT_HIGH = 'CERTAIN' then case when LOW_FROM > 0 then 0 else HIGH_FROM end end as ATOXGRH,
        case
            when CERT_HIGH is null or HIGH_VALUE is null then null
            when LOW_FROM > 0 then 0
            when ULN_FROM = ULN_TO then ULN_FROM
        end as ATOXGRHU,
        case when CERT_LOW is not null and LOW_VALUE is not null then LOW_FROM end as ATOXLLO,
        case when CERT_LOW is not null and LOW_VALUE is not null then case when HIGH_FROM > 0 then 0 else LOW_TO end end as ATOXLHI,
        case when CERT_HIGH is not null and HIGH_VALUE is not null then HIGH_FROM end as ATOXHLO,
        case when CERT_HIGH is not null and HIGH_VALUE is not null then case when LOW_FROM > 0 then 0 else HIGH_TO end end as ATOXHHI,
        case
            when 'NOT GRADABLE' in (CERT_LOW, CERT_HIGH) then 'NOT GRADABLE'
            when 'INDETERMINATE' in (CERT_LOW, CERT_HIGH) then 'INDETERMINATE'
            else coalesce(CERT_LOW, CERT_HIGH)
        end as TOXCERT
    from graded
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
    -- Grade 3 or 4 on either scale, and worse than at baseline on that scale: above an abnormal baseline everything is,
    -- and so is every such grade where the baseline's is not known.
    case
        when
            not IS_EARLY
            and (
                (ATOXLLO >= 3 and ATOXLLO > coalesce(BTOXGRL, 0))
                or (ATOXHLO >= 3 and (coalesce(IS_ABNORMAL_BASE, false) or ATOXHLO > coalesce(BTOXGRH, 0)))
                or (ATOXHLO is not null and ULN_FROM >= 3 and ULN_FROM > coalesce(BTOXGRH, 0))
            )
            then 'Y'
    end as WORSEFL,
    case when low.LOW_RECORD is not null then 'Y' end as WGRLFL,
    case when high.HIGH_RECORD is not null then 'Y' end as WGRHFL
from beside as b
left join worst as low on b.RECORD = low.LOW_RECORD
left join worst as high on b.RECORD = high.HIGH_RECORD
