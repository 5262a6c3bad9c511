"""Sites' dialects: what is written as a site writes it is read back to the standard rows, cell by cell."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pyreadstat
import pytest
import yaml

from msc_pipeline.errors import ConfigError
from msc_pipeline.profiles import Profile
from msc_pipeline.readers import read_export
from msc_pipeline.sample.dialects import Dialect, SiteUnit, layout, load_dialects, local_date, localiser
from msc_pipeline.sample.formats import MOMENT, Sheet, write_file
from msc_pipeline.sample.sending import Outbox
from msc_pipeline.sample.simulation import SiteExport, simulated_exports
from msc_pipeline.sample.spec import SimulatedSpec, load_spec
from msc_pipeline.sample.transport import ibm, write_transport
from msc_pipeline.sample.units import in_site_units, load_units
from msc_pipeline.settings import PROJECT
from msc_pipeline.study import load_study

STUDY = load_study("misle", PROJECT)
SITES = tuple(STUDY.sites)
UNITS = load_units(STUDY, PROJECT)


@pytest.fixture(scope="module")
def exports() -> dict[tuple[str, str], SiteExport]:
    """Exports of a trial with three subjects a site."""
    spec = load_spec(STUDY, PROJECT)
    assert isinstance(spec, SimulatedSpec)
    whole = spec.simulated
    sites = {name: site.model_copy(update={"subjects": 3}) for name, site in whole.sites.items()}
    planted = tuple(case for case in whole.planted if case.number <= 3)
    few = whole.model_copy(update={"sites": sites, "planted": planted})
    return {(e.site, e.domain): e for e in simulated_exports(STUDY, few, spec.domains, seed=7)}


def read_back(path: Path, site: str, domain: str) -> list[dict[str, Any]]:
    rows = read_export(path, STUDY.profile(site, domain), STUDY.domains[domain], domain, path.name)
    return [row for batch in rows for row in batch.to_pylist()]


@pytest.mark.parametrize("site", SITES)
def test_what_a_site_writes_is_read_back_as_the_standard_rows(
    site: str, exports: dict[tuple[str, str], SiteExport], tmp_path: Path
) -> None:
    outbox = Outbox.open(STUDY, tmp_path, PROJECT)
    for domain in STUDY.domains:
        export = exports[site, domain]
        rows = list(outbox.in_units(site, domain, export.columns, export.rows))
        read = read_back(outbox.send(site, domain, export.columns, rows), site, domain)
        sent = [name for name in export.columns if name not in outbox.dialect(site).omit]
        expected = [dict(zip(export.columns, row, strict=True)) for row in rows]
        names = {name: "SITEID_CELL" if name == "SITEID" else name for name in sent}
        assert [{n: row[names[n]] or "" for n in sent} for row in read] == [
            {n: row[n] for n in sent} for row in expected
        ]
        first = outbox.first_row(site, domain)
        assert [row["SRC_ROW"] for row in read] == list(range(first, first + len(rows)))


@pytest.mark.parametrize("site", SITES)
def test_the_same_rows_give_the_same_bytes(
    site: str, exports: dict[tuple[str, str], SiteExport], tmp_path: Path
) -> None:
    export = exports[site, "LB"]
    hashes = set()
    for folder in ("a", "b"):
        path = Outbox.open(STUDY, tmp_path / folder, PROJECT).send(site, "LB", export.columns, export.rows)
        hashes.add(hashlib.sha256(path.read_bytes()).hexdigest())
    assert len(hashes) == 1


def test_nine_sites_speak_nine_dialects() -> None:
    assert len({site.profile for site in STUDY.sites.values()}) == len(SITES)


@pytest.mark.parametrize(
    ("iso", "form", "local"),
    [
        ("2025-03-08T09:05", "MM/DD/YYYY HH:MI", "03/08/2025 09:05"),
        ("2025-03-08", "MM/DD/YYYY HH:MI", "03/08/2025"),
        ("2025-03-08", "DD-MON-YYYY HH:MI", "08-MAR-2025"),
        ("2025-03-08T09:05:07", "DD.MM.YY HH:MI:SS", "08.03.25 09:05:07"),
        ("2025-03", "DD.MM.YYYY HH:MI", "UN.03.2025"),
        ("2025", "DD-MON-YYYY", "UN-UNK-2025"),
        ("2025-02-30", "DD.MM.YYYY", "30.02.2025"),
        ("2025-02-28T24:00", "DD.MM.YYYY HH:MI", "28.02.2025 24:00"),
        ("2025-13-01", "DD-MON-YYYY", "2025-13-01"),
        ("soon", "DD.MM.YYYY", "soon"),
        ("", "DD.MM.YYYY", ""),
    ],
)
def test_a_date_is_written_as_the_site_writes_it(iso: str, form: str, local: str) -> None:
    assert local_date(iso, form) == local


LB = ("USUBJID", "LBTESTCD", "LBORRES", "LBORRESU", "LBORNRLO", "LBORNRHI")


@pytest.mark.parametrize(
    ("row", "unit", "expected"),
    [
        (("S", "HGB", "119", "g/L", "120", "160"), SiteUnit(unit="g/dL", digits=1), ("11.9", "g/dL", "12.0", "16.0")),
        (("S", "BILI", "17.1", "umol/L", "", "21"), SiteUnit(unit="mg/dL", digits=2), ("1.00", "mg/dL", "", "1.23")),
        (("S", "CRP", "<0.6", "mg/L", "", "5"), SiteUnit(unit="mg/dL", digits=2), ("<0.06", "mg/dL", "", "0.50")),
        (("S", "HGB", "", "", "120", "160"), SiteUnit(unit="g/dL", digits=1), ("", "", "12.0", "16.0")),
        (("S", "HGB", "clotted", "g/L", "", ""), SiteUnit(unit="g/dL", digits=1), ("clotted", "g/dL", "", "")),
        (("S", "ALT", "20", "U/L", "7", "35"), SiteUnit(unit="U/L", digits=0), ("20", "U/L", "7", "35")),
    ],
)  # fmt: skip
def test_results_and_limits_are_converted_and_rounded(
    row: tuple[str, ...], unit: SiteUnit, expected: tuple[str, ...]
) -> None:
    assert next(in_site_units([row], LB, "LB", {row[1]: unit}, UNITS))[2:] == expected


def test_a_temperature_is_converted_with_its_offset() -> None:
    columns = ("USUBJID", "VSTESTCD", "VSORRES", "VSORRESU")
    row = next(
        in_site_units([("S", "TEMP", "37.0", "C")], columns, "VS", {"TEMP": SiteUnit(unit="F", digits=1)}, UNITS)
    )  # fmt: skip
    assert row[2:] == ("98.6", "F")


def test_a_unit_without_a_factor_is_refused() -> None:
    stones = {"HGB": SiteUnit(unit="stones", digits=0)}
    with pytest.raises(ConfigError, match="DIALECT: HGB: no factor from g/L to stones"):
        list(in_site_units([("S", "HGB", "1", "g/L", "", "")], LB, "LB", stones, UNITS))


def test_one_column_that_cannot_stand_for_two_is_refused() -> None:
    profile = Profile(columns={"Visit": ("VISIT", "VISITNUM")}, values={"VISITNUM": {"WEEK 1": "3"}})
    local = localiser(("VISIT", "VISITNUM"), profile, "SV", layout(("VISIT", "VISITNUM"), profile, "SV"))
    assert local(("WEEK 1", "3")) == ("WEEK 1",)
    with pytest.raises(ConfigError, match="column Visit cannot stand for VISIT, VISITNUM"):
        local(("WEEK 2", "4"))


@pytest.mark.parametrize("text", ["MSC99: {}\n", "MSC01: {unknown: 1}\n", "- x\n", "{"])
def test_a_wrong_dialects_file_is_refused(text: str, tmp_path: Path) -> None:
    folder = tmp_path / "studies" / "misle"
    folder.mkdir(parents=True)
    assert load_dialects(STUDY, tmp_path) == {}
    (folder / "dialects.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"DIALECT: studies/misle/dialects\.yaml"):
        load_dialects(STUDY, tmp_path)


def test_every_dialect_adds_only_what_its_profile_drops() -> None:
    raw = yaml.safe_load((PROJECT / "studies/misle/dialects.yaml").read_text(encoding="utf-8"))
    for site, one in raw.items():
        dropped = {name for domain in ("", "LB") for name in STUDY.profile(site, domain).drop}
        assert set(Dialect.model_validate(one).add) <= dropped


def test_the_extension_follows_the_domain() -> None:
    assert Dialect(extension={"LB": "ndjson", "*": "json"}).suffix("LB") == "ndjson"
    assert Dialect(extension={"LB": "ndjson", "*": "json"}).suffix("AE") == "json"
    assert Dialect(extension={"LB": "xlsx"}).suffix("AE") == "csv"


@pytest.mark.parametrize("number", ["0", "1", "-1", "17", "5.1", "0.0625", "123456789", "-3.25"])
def test_a_number_in_ibm_form_is_read_back(number: str, tmp_path: Path) -> None:
    path = tmp_path / "x.xpt"
    write_transport(path, "LB", ["SEQ", "TEXT"], [True, False], [(number, "a"), ("", "")])
    values, _ = pyreadstat.read_xport(path)
    assert values["SEQ"].tolist()[0] == pytest.approx(float(number), rel=1e-15)
    assert values["SEQ"].isna().tolist() == [False, True]


@pytest.mark.parametrize(
    ("header", "row"), [(["TOOLONGNAME"], ("a",)), (["TEXT"], ("a" * 201,)), (["TEXT"], ("µ" * 101,))]
)
def test_what_version_5_cannot_hold_is_refused(header: list[str], row: tuple[str], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="DIALECT"):
        write_transport(tmp_path / "x.xpt", "LB", header, [False], [row])


def test_text_where_a_number_must_be_is_refused() -> None:
    with pytest.raises(ConfigError, match="DIALECT: a numeric variable holds text"):
        ibm("one")


def test_a_workbook_keeps_a_day_that_no_calendar_has_as_text(tmp_path: Path) -> None:
    profile = STUDY.profile("MSC04", "AE")
    columns = ("STUDYID", "USUBJID", "AESEQ", "AETERM", "AESEV", "AESER", "AESTDTC")
    header = ("STUDYID", "Subject", *columns[2:])
    rows = [
        ("MISLE", "MISLE-MSC04-001", "1", "=cmd", "MILD", "N", "2025-02-30"),
        ("MISLE", "MISLE-MSC04-001", "2", "Rash", "MILD", "N", "2025-02-03T24:00"),
        ("MISLE", "MISLE-MSC04-001", "3", "Rash", "MILD", "N", "2025-02-03T23:15"),
    ]
    path = tmp_path / "ae_x.xlsx"
    write_file(path, Sheet("AE", header, columns, rows), profile, "xlsx")
    read = read_back(path, "MSC04", "AE")
    assert [row["AESTDTC"] for row in read] == ["2025-02-30", "2025-02-03T24:00", "2025-02-03T23:15"]
    assert read[0]["AETERM"] == "=cmd"
    assert MOMENT.year == 2026
