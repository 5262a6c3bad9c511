"""The table of units: every factor is what the units and the molar mass say, and no spelling has two meanings."""

from __future__ import annotations

import csv
from collections import Counter
from decimal import ROUND_HALF_UP, Decimal, localcontext
from typing import Any

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from msc_pipeline.sample import load_spec, read_sources
from msc_pipeline.settings import PROJECT
from msc_pipeline.study import Study, load_study, study_ids

SHIPPED = study_ids(PROJECT)
EIGHT = Decimal("1e-8")

DIMENSION = {
    "mass per volume, g/L": {
        "g/dL": "10", "g/L": "1", "mg/mL": "1", "mg/dL": "1e-2", "mg/L": "1e-3", "ug/mL": "1e-3", "ug/L": "1e-6",
        "ng/mL": "1e-6", "ng/L": "1e-9", "pg/mL": "1e-9",
    },
    "amount per volume, mol/L": {"mmol/L": "1e-3", "umol/L": "1e-6", "pmol/L": "1e-12"},
    "charge per volume, eq/L": {"meq/L": "1e-3"},
    "number per volume, 1/L": {
        "10*12/L": "1e12", "10*9/L": "1e9", "10*6/L": "1e6", "10*6/uL": "1e12", "10*3/uL": "1e9", "/uL": "1e6",
        "10*6/mm3": "1e12", "10*3/mm3": "1e9", "/mm3": "1e6",
    },
    "volume, L": {"fL": "1e-15", "um3": "1e-15"},
    "mass, g": {"pg": "1e-12"},
    "amount, mol": {"fmol": "1e-15"},
    "catalytic activity, U/L": {
        "U/L": "1", "mU/mL": "1", "mU/L": "1e-3", "uU/mL": "1e-3", "U/mL": "1e3", "kU/L": "1e3", "ukat/L": "60",
        "nkat/L": "0.06",
    },
    "international units, IU/L": {
        "[IU]/L": "1", "[IU]/mL": "1e3", "k[IU]/L": "1e3", "m[IU]/L": "1e-3", "u[IU]/mL": "1e-3",
    },
    "fraction": {"1": "1", "L/L": "1", "{INR}": "1", "%": "1e-2"},
    "none": {"[pH]": "1"},
}  # fmt: skip
"""UCUM unit → size in the unit that its dimension is named with. 1 U = 1 umol/min = 1/60 ukat."""

SIZE = {unit: (name, Decimal(size)) for name, units in DIMENSION.items() for unit, size in units.items()}

VALENCE = {"SODIUM": 1, "K": 1, "CL": 1, "CA": 2}
INTERNATIONAL = {"ALT", "AST", "ALP", "GGT", "CK", "TSH"}
"""Tests whose international unit and unit are one: enzymes by definition, TSH by its WHO standard."""

GRADED = {
    "HGB": {"g/L", "mmol/L"}, "WBC": {"10^9/L"}, "NEUT": {"10^9/L"}, "LYM": {"10^9/L"}, "PLAT": {"10^9/L"},
    "CD4": {"10^9/L"}, "ALB": {"g/L"}, "SODIUM": {"mmol/L"}, "K": {"mmol/L"}, "CA": {"mmol/L", "mg/dL"},
    "GLUC": {"mmol/L", "mg/dL"}, "CHOL": {"mmol/L", "mg/dL"}, "INR": {"1"},
}  # fmt: skip
"""Test → units in which CTCAE v5.0 states absolute cut-offs for it."""

Row = dict[str, str]


def _units() -> list[Row]:
    with (PROJECT / "sql/reference/units.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, strict=True))


UNITS = _units()
FACTORS = {(u["LBTESTCD"], u["standard_unit"], u["unit"]): Decimal(u["factor"]) for u in UNITS}
UCUM = {(u["LBTESTCD"], u["unit"]): u["ucum"] for u in UNITS}
PAIRS = sorted({(u["LBTESTCD"], u["standard_unit"]) for u in UNITS if u["standard_unit"]})


def _name(row: Row) -> str:
    return f"{row['LBTESTCD']} {row['unit']} to {row['standard_unit']}"


def _size(test: str, ucum: str) -> tuple[str, Decimal]:
    """Return dimension and size; charges as amounts, and international units as units, where the test allows it."""
    dimension, size = SIZE[ucum]
    if dimension.startswith("charge"):
        return "amount per volume, mol/L", size / VALENCE[test]
    if dimension.startswith("international") and test in INTERNATIONAL:
        return "catalytic activity, U/L", size
    return dimension, size


@pytest.fixture(params=SHIPPED)
def study(request: pytest.FixtureRequest) -> Study:
    return load_study(request.param, PROJECT)


def test_every_analyte_has_a_factor_of_one_for_its_own_unit(study: Study) -> None:
    for analyte in study.analytes:
        assert FACTORS[analyte.LBTESTCD, analyte.standard_unit, analyte.standard_unit] == 1


@pytest.mark.requirement("UNI-06")
def test_every_unit_that_ctcae_states_a_cut_off_in_is_a_standard_unit() -> None:
    for test, wanted in GRADED.items():
        assert wanted <= {standard for code, standard in PAIRS if code == test}, test
        assert all(FACTORS[test, unit, unit] == 1 for unit in wanted)


@pytest.mark.requirement("UNI-06")
def test_all_standard_units_of_a_test_take_the_same_spellings() -> None:
    spellings: dict[str, list[set[str]]] = {}
    for test, standard in PAIRS:
        spellings.setdefault(test, []).append(
            {unit for code, other, unit in FACTORS if (code, other) == (test, standard)}
        )
    for test, sets in spellings.items():
        assert all(one == sets[0] for one in sets), test


@pytest.mark.requirement("UNI-04")
def test_a_spelling_has_one_factor_and_one_meaning_per_test() -> None:
    assert max(Counter((u["LBTESTCD"], u["standard_unit"], u["unit"]) for u in UNITS).values()) == 1
    meanings = Counter(
        code_and_unit for code_and_unit, _ in {((u["LBTESTCD"], u["unit"]), u["ucum"]) for u in UNITS}
    )
    assert [pair for pair, count in meanings.items() if count > 1] == []


@pytest.mark.requirement("UNI-04")
def test_a_spelling_that_differs_in_case_only_means_the_same() -> None:
    alike: dict[tuple[str, str, str], set[Decimal]] = {}
    for (test, standard, unit), factor in FACTORS.items():
        alike.setdefault((test, standard, unit.casefold()), set()).add(factor)
    assert [key for key, factors in alike.items() if len(factors) > 1] == []


def test_every_row_is_complete_and_its_factor_fits_the_table() -> None:
    for row in UNITS:
        factor = Decimal(row["factor"])
        assert 0 < factor == round(factor, 10), _name(row)
        assert row["source"] and row["ucum"], _name(row)
        assert row["unit"] == row["unit"].strip(), _name(row)


def test_the_ucum_spelling_is_a_spelling_of_its_own() -> None:
    for row in UNITS:
        if row["standard_unit"]:
            assert (row["LBTESTCD"], row["ucum"]) in UCUM, _name(row)


@pytest.mark.requirement("UNI-04")
def test_both_micro_signs_mean_the_same() -> None:
    for (test, standard, unit), factor in FACTORS.items():
        for sign in ("\u00b5", "\u03bc"):
            if sign in unit:
                for other in ("u", "\u00b5", "\u03bc"):
                    assert FACTORS[test, standard, unit.replace(sign, other)] == factor


@pytest.mark.requirement("UNI-02")
def test_a_factor_without_a_molar_mass_is_the_ratio_of_the_two_units_exactly() -> None:
    for row in UNITS:
        if row["standard_unit"] and not row["molar_mass"]:
            dimension, size = _size(row["LBTESTCD"], row["ucum"])
            standard = UCUM[row["LBTESTCD"], row["standard_unit"]]
            other, whole = _size(row["LBTESTCD"], standard)
            assert dimension == other, _name(row)
            assert Decimal(row["factor"]) == size / whole, _name(row)


@pytest.mark.requirement("UNI-02")
def test_a_molar_factor_is_what_its_molar_mass_says_to_the_digits_given() -> None:
    found = set()
    for row in UNITS:
        if row["molar_mass"]:
            dimension, size = _size(row["LBTESTCD"], row["ucum"])
            other, whole = _size(row["LBTESTCD"], UCUM[row["LBTESTCD"], row["standard_unit"]])
            mass, factor = Decimal(row["molar_mass"]), Decimal(row["factor"])
            assert {dimension.split()[0], other.split()[0]} == {"mass", "amount"} or {
                dimension.split(",")[0], other.split(",")[0]} == {"mass", "amount"}, _name(row)  # fmt: skip
            exact = size * mass / whole if dimension.startswith("amount") else size / mass / whole
            assert exact.quantize(factor, ROUND_HALF_UP) == factor, _name(row)
            assert row["molar_mass"] in row["source"], _name(row)
            found.add(row["LBTESTCD"])
    assert found >= {"HGB", "BILI", "BILDIR", "CREAT", "UREAN", "CA", "GLUC"}


@pytest.mark.requirement("UNI-02")
def test_a_mass_becomes_an_amount_by_a_molar_mass_only() -> None:
    for row in UNITS:
        if row["standard_unit"]:
            one = _size(row["LBTESTCD"], row["ucum"])[0]
            other = _size(row["LBTESTCD"], UCUM[row["LBTESTCD"], row["standard_unit"]])[0]
            assert bool(row["molar_mass"]) == (one != other), _name(row)


@pytest.mark.requirement("UNI-05")
@pytest.mark.parametrize(
    ("test", "unit", "standard", "factor"),
    [
        ("CA125AG", "kU/L", "U/mL", "1"),
        ("CA15_3AG", "kU/L", "U/mL", "1"),
        ("CA19_9AG", "kU/L", "U/mL", "1"),
        ("AFP", "ug/L", "ng/mL", "1"),
        ("CEA", "\u00b5g/L", "ng/mL", "1"),
        ("PSA", "\u03bcg/L", "ng/mL", "1"),
        ("AFP", "ng/L", "ng/mL", "0.001"),
        ("ALT", "IU/L", "U/L", "1"),
        ("HGB", "g/dL", "g/L", "10"),
        ("HCT", "%", "1", "0.01"),
        ("K", "mEq/L", "mmol/L", "1"),
        ("CA", "mEq/L", "mmol/L", "0.5"),
        ("CRP", "mg/dL", "mg/L", "10"),
        *(("PLAT", unit, "10^9/L", "1") for unit in ("10*9/L", "G/L", "x10E9/L", "K/uL", "10^3/mm3")),
        *(("WBC", unit, "10^9/L", "0.001") for unit in ("/mm3", "/uL", "cells/uL", "10*6/L")),
    ],
)
def test_usual_spellings_mean_what_laboratories_mean(
    test: str, unit: str, standard: str, factor: str
) -> None:
    assert FACTORS[test, standard, unit] == Decimal(factor)


@pytest.mark.requirement("UNI-03")
@pytest.mark.parametrize(
    ("test", "unit"),
    [
        ("HBA1C", "mmol/mol"),  # another scale: it needs an addend beside a factor
        ("LYM", "%"),  # a share of the leukocytes is another test
        ("DSDNA", "U/mL"),  # the assay's own units are not international ones
        ("UREAN", "g/L"),  # urea or its nitrogen: nobody says which
        ("ALB", "%"),  # a share of the proteins is another test
        ("PLAT", "lakh/mm3"),
        ("CREAT", "g/L"),
        ("ALT", "U/mL"),  # more likely a slip of U/L than a unit in use
    ],
)
def test_a_unit_that_would_have_to_be_guessed_is_not_there(test: str, unit: str) -> None:
    assert (test, unit) not in UCUM


@pytest.mark.requirement("UNI-08")
@given(st.data(), st.decimals(min_value=0, max_value=99_999, places=3))
def test_there_and_back_is_the_same_number(data: Any, value: Decimal) -> None:
    """From any spelling to the standard unit, kept to 8 places as in curated.adlb, to another spelling, and back."""
    test, standard = data.draw(st.sampled_from(PAIRS))
    known = sorted(unit for code, other, unit in FACTORS if (code, other) == (test, standard))
    one, other = data.draw(st.sampled_from(known)), data.draw(st.sampled_from(known))
    with localcontext(prec=60):
        kept = (value * FACTORS[test, standard, one]).quantize(EIGHT, ROUND_HALF_UP)
        there = kept / FACTORS[test, standard, other]
        again = (there * FACTORS[test, standard, other]).quantize(EIGHT, ROUND_HALF_UP)
        back = (again / FACTORS[test, standard, one]).quantize(Decimal("0.001"), ROUND_HALF_UP)
    assert again == kept
    assert back == value


@pytest.mark.requirement("UNI-02")
def test_two_standard_units_of_a_test_agree_to_the_digits_given() -> None:
    rows = {(u["LBTESTCD"], u["standard_unit"], u["unit"]): u for u in UNITS}
    for (test, standard, unit), row in rows.items():
        for other in {s for code, s in PAIRS if code == test} - {standard}:
            steps = [rows[test, other, unit], rows[test, standard, other]]
            through = Decimal(steps[0]["factor"]) * Decimal(steps[1]["factor"])
            slack = sum(_slack(one) for one in (row, *steps))
            assert abs(through / Decimal(row["factor"]) - 1) <= slack, f"{_name(row)} through {other}"


def _slack(row: Row) -> Decimal:
    """Return the share by which a molar factor may be off: half a unit of its last digit."""
    factor = Decimal(row["factor"])
    return (
        Decimal(5).scaleb(int(factor.as_tuple().exponent) - 1) / factor if row["molar_mass"] else Decimal(0)
    )


def test_ranges_are_in_units_that_the_study_can_convert(study: Study) -> None:
    standard = {a.LBTESTCD: a.standard_unit for a in study.analytes}
    labs = {site.lab for site in study.sites.values()}
    for row in study.ranges:
        assert row["lab"] in labs
        assert (row["LBTESTCD"], standard[row["LBTESTCD"]], row["unit"]) in FACTORS


@pytest.mark.requirement("UNI-07")
def test_factors_reproduce_the_pilots_own_conversions() -> None:
    study = load_study("cdiscpilot01", PROJECT)
    tables = _lab_tables(study)
    with duckdb.connect() as connection:
        for name, table in tables.items():
            connection.register(name, table)
        connection.register("analytes", study.relations()["analytes"])
        counted = connection.execute(
            """
            with lb as (select * from lbch union all by name select * from lbhe union all by name select * from lbur),
            unit as (select * replace (factor::decimal(20, 10) as factor) from read_csv(?, all_varchar = true))
            select
                count(*),
                count(*) filter (where unit.factor is not null),
                count(*) filter (where abs(lb.LBORRES::decimal(20, 8) * unit.factor - lb.LBSTRESN) < 1e-6)
            from lb
            inner join analytes as a using (LBTESTCD)
            left join unit
                on lb.LBTESTCD = unit.LBTESTCD and coalesce(lb.LBORRESU, '') = coalesce(unit.unit, '')
                and coalesce(a.standard_unit, '') = coalesce(unit.standard_unit, '')
            where regexp_full_match(lb.LBORRES, '[0-9]*[.]?[0-9]+') and not isnan(lb.LBSTRESN)
            """,
            [str(PROJECT / "sql/reference/units.csv")],
        ).fetchall()[0]
    total, known, equal = counted
    assert total == known == 58_700
    assert equal >= 0.999 * total


def _lab_tables(study: Study) -> dict[str, Any]:
    spec = load_spec(study, PROJECT)
    lab = spec.domains["LB"]
    more = lab.model_copy(update={"columns": (*lab.columns, "LBSTRESN")})
    return read_sources(spec.model_copy(update={"domains": {"LB": more}}))
