-- Name:   derived.lab_criteria
-- Label:  Criteria of CTCAE v5 by test and unit of the record: what its values are multiplied by, and the cut-offs then
-- Grain:  one row per LBTESTCD, unit
-- Input:  reference.ctcae5, reference.lab_corrections, reference.units, study.analytes
-- Units:  low_factor and high_factor turn `unit` into the unit of the cut-offs; cut-offs that are multiples have the study's unit
-- Source: NCI CTCAE v5.0 (27 November 2017), sql/reference/ctcae5.csv

with

-- The published text states some cut-offs in several units that are no exact multiples of each other (8.0 mg/dL and
-- 2.0 mmol/L of calcium). A result is judged in the one it was measured in, or a decimal multiple of it, if there is
-- one; else in the study's.
stated as (
    select
        u.LBTESTCD,
        u.unit,
        c.direction,
        c.unit as stated_unit,
        u.factor
    from (select distinct LBTESTCD, direction, unit from reference.ctcae5) as c
    left join study.analytes as a on c.LBTESTCD = a.LBTESTCD
    inner join reference.units as u
        on c.LBTESTCD = u.LBTESTCD and coalesce(c.unit, a.standard_unit, '') = coalesce(u.standard_unit, '')
    qualify row_number() over (
            partition by u.LBTESTCD, u.unit, c.direction
            order by
                log10(u.factor::double) <> round(log10(u.factor::double)) asc,
                c.unit is not distinct from a.standard_unit desc,
                c.unit asc
        ) = 1
),

criteria as (
    select
        s.LBTESTCD,
        s.unit,
        s.direction,
        s.stated_unit,
        s.factor,
        c.baseline,
        c.reference,
        c.grade::integer as grade,
        {
            'operator': c.operator,
            'multiplier': c.multiplier::decimal(6, 2),
            'reference': c.reference,
            'addend': coalesce(c.addend, '0')::decimal(6, 2)
        } as criterion
    from stated as s
    inner join reference.ctcae5 as c
        on s.LBTESTCD = c.LBTESTCD and s.direction = c.direction and s.stated_unit is not distinct from c.unit
)

-- below_, above_: a limit of normal or a number; times_: a multiple of the own baseline. corrected_: the result of
-- another test that corrects this one before it is judged.
select
    c.LBTESTCD,
    c.unit,
    any_value(c.factor) filter (where c.direction = 'LOW') as low_factor,
    any_value(c.factor) filter (where c.direction = 'HIGH') as high_factor,
    any_value(c.baseline) filter (where c.reference = 'BASE') as base_when,
    bool_or(c.reference = 'LLN') as needs_lln,
    bool_or(c.reference = 'ULN') as needs_uln,
    any_value(r.by_LBTESTCD) as corrected_by,
    any_value(r.at::decimal(10, 4)) as corrected_at,
    any_value(r.slope::decimal(10, 4)) as corrected_slope,
    any_value(c.criterion) filter (where c.direction = 'LOW' and c.grade = 1) as below_1,
    any_value(c.criterion) filter (where c.direction = 'LOW' and c.grade = 2) as below_2,
    any_value(c.criterion) filter (where c.direction = 'LOW' and c.grade = 3) as below_3,
    any_value(c.criterion) filter (where c.direction = 'LOW' and c.grade = 4) as below_4,
    any_value(c.criterion) filter (where c.direction = 'HIGH' and c.reference <> 'BASE' and c.grade = 1) as above_1,
    any_value(c.criterion) filter (where c.direction = 'HIGH' and c.reference <> 'BASE' and c.grade = 2) as above_2,
    any_value(c.criterion) filter (where c.direction = 'HIGH' and c.reference <> 'BASE' and c.grade = 3) as above_3,
    any_value(c.criterion) filter (where c.direction = 'HIGH' and c.reference <> 'BASE' and c.grade = 4) as above_4,
    any_value(c.criterion) filter (where c.reference = 'BASE' and c.grade = 1) as times_1,
    any_value(c.criterion) filter (where c.reference = 'BASE' and c.grade = 2) as times_2,
    any_value(c.criterion) filter (where c.reference = 'BASE' and c.grade = 3) as times_3,
    any_value(c.criterion) filter (where c.reference = 'BASE' and c.grade = 4) as times_4
from criteria as c
left join reference.lab_corrections as r on c.LBTESTCD = r.LBTESTCD and c.stated_unit = r.unit
group by c.LBTESTCD, c.unit
