"""Collects pages: tests/sql/<schema>/<table>/test_<fact>.md runs sql/<schema>/<table>.sql on the rows it gives.

A page is text, with tables after lines of their own:

    given accepted.lb
    | USUBJID | LBTESTCD | LBORRES |
    | ------- | -------- | ------- |
    | S1-001  | ALT      | 22      |

    expect
    | USUBJID | PARAMCD | AVAL |

An empty cell is NULL, and so is a column that a page does not name. An input that a page does not give is empty,
except study.protocol (one row that asks for nothing special; given cells replace its own), reference.* (the
project's own files) and derived.* (made from what the page gives, by the project's own models). `expect` names the
columns to look at; the rows must be all the rows, in any order. A page without rows under `expect` says that the
result is empty. A bar inside a cell is written `\\|`. A line `requirement: BAS-01 BAS-02` names the requirements of
docs/requirements.csv that the page proves.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import pytest

from msc_pipeline import models
from msc_pipeline.safety import Safety
from msc_pipeline.study import Baseline, Blinding, Study

PROJECT = Path(__file__).parents[2]
SOURCE = "SITEID SRC_SHA256 SRC_ROW KEY_HASH PENDFL"
COLUMNS = {
    "lb": "LBSEQ LBREFID LBTESTCD LBTEST LBCAT LBSPEC LBORRES LBORRESU LBORNRLO LBORNRHI LBSTAT LBREASND LBMETHOD"
    " LBTPT VISITNUM VISIT LBDTC",
    "dm": "SUBJID RFSTDTC RFENDTC RFXSTDTC RFXENDTC RFICDTC RFPENDTC DTHDTC DTHFL SITEID_CELL AGE AGEU SEX RACE"
    " ETHNIC COUNTRY DMDTC",
    "sv": "VISITNUM VISIT SVSTDTC SVENDTC SVUPDES",
    "ds": "DSSEQ DSSPID DSTERM DSDECOD DSCAT VISITNUM VISIT EPOCH DSDTC DSSTDTC",
    "ex": "EXSEQ EXSTDTC EXENDTC EXADJ",
    "ae": "AESEQ AESPID AETERM AELLT AEDECOD AEBODSYS AESOC AESEV AESER AEACN AEREL AEOUT AESCONG AESDISAB AESDTH"
    " AESHOSP AESLIFE AETOXGR AEDTC AESTDTC AEENDTC",
    "cm": "CMSEQ CMSPID CMTRT CMDECOD CMINDC CMCLAS CMDOSE CMDOSU CMDOSFRQ CMROUTE VISITNUM VISIT CMDTC CMSTDTC"
    " CMENDTC",
    "mh": "MHSEQ MHSPID MHTERM MHLLT MHDECOD MHCAT MHBODSYS MHSEV VISITNUM VISIT MHDTC MHSTDTC",
    "vs": "VSSEQ VSTESTCD VSTEST VSPOS VSORRES VSORRESU VSSTAT VSLOC VISITNUM VISIT VSDTC VSTPT",
    "eg": "EGSEQ EGTESTCD EGTEST EGORRES EGORRESU EGCLSIG EGSTAT VISITNUM VISIT EGDTC EGTPT",
    "rs": "RSSEQ RSTESTCD RSTEST RSCAT RSORRES RSSTAT VISITNUM VISIT RSDTC RSTPT",
    "xr": "XRSEQ XRORRES XRSTAT VISITNUM VISIT XRDTC",
}
"""Columns of accepted.<domain>, beside those every domain has."""

SITE = {
    "site.deliveries": {
        **dict.fromkeys(["STUDYID", "SITEID", "DOMAIN", "SRC_SHA256", "STATUS"], "VARCHAR"),
        **dict.fromkeys(["ROWS_IN", "ACCEPTED", "QUARANTINED"], "BIGINT"),
    },
    "site.held": {
        "SITEID": "VARCHAR", "DOMAIN": "VARCHAR", "SRC_SHA256": "VARCHAR", "SRC_ROW": "BIGINT", "RULES": "VARCHAR[]",
    },
}  # fmt: skip

Table = tuple[list[str], list[list[str | None]]]


@dataclass(frozen=True)
class Page:
    """What one page says: the tables it gives by relation, and the table it expects."""

    given: dict[str, Table]
    expect: Table


class Mismatch(Exception):
    """The model's answer is not the page's. Holds the page's invented rows only."""


def pytest_collect_file(parent: pytest.Collector, file_path: Path) -> pytest.Collector | None:
    if file_path.suffix == ".md" and file_path.name.startswith("test_"):
        return PageFile.from_parent(parent, path=file_path)
    return None


class PageFile(pytest.File):
    def collect(self) -> Iterator[pytest.Item]:
        item = PageItem.from_parent(self, name=self.path.stem)
        for named in re.findall(r"^requirement: (.+)$", self.path.read_text(encoding="utf-8"), re.MULTILINE):
            item.add_marker(pytest.mark.requirement(*named.split()))
        yield item


class PageItem(pytest.Item):
    def runtest(self) -> None:
        page = read_page(self.path.read_text(encoding="utf-8"))
        schema, table = self.path.parts[-3:-1]
        check_page(page, project_models(schema)[f"{schema}.{table}"])

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException]) -> Any:
        if isinstance(excinfo.value, Mismatch):
            return str(excinfo.value)
        return super().repr_failure(excinfo)

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, 0, self.name.removeprefix("test_").replace("_", " ")


@cache
def project_models(schema: str) -> dict[str, models.Model]:
    return {
        m.name: m
        for m in models.load_models(PROJECT, *(("derived", "curated") if schema != "dsmb" else ("dsmb",)))
    }


def read_page(text: str) -> Page:
    """Read the tables of a page; any other line is prose."""
    tables: dict[str, Table] = {}
    current: list[list[str | None]] | None = None
    for line in text.splitlines():
        if match := re.fullmatch(r"given (\w+\.\w+)|expect", line.strip()):
            name = match[1] or "expect"
            assert name not in tables, f"{name} is given twice"
            current = []
            tables[name] = ([], current)
        elif line.startswith("|") and current is not None:
            cells = [c.strip().replace("\\|", "|") for c in re.split(r"(?<!\\)\|", line.strip())[1:-1]]
            columns = tables[list(tables)[-1]][0]
            if not columns:
                columns.extend(cells)
            elif not all(re.fullmatch(r":?-+:?", cell) for cell in cells):
                assert len(cells) == len(columns), f"{len(cells)} cells under {len(columns)} columns: {line}"
                current.append([cell or None for cell in cells])
    expect = tables.pop("expect")
    assert expect[0], "a page expects columns"
    return Page(tables, expect)


def run_page(page: Page, model: models.Model, columns: list[str]) -> list[tuple[Any, ...]]:
    """Return `columns` of what `model` makes of the page's rows.

    The grain must hold, and the columns must be those of the dictionary.
    """
    steps = upstream(model, page)
    inputs = sorted(
        {name for step in (*steps, model) for name in step.inputs} - {step.name for step in steps}
    )
    unused = sorted(set(page.given) - set(inputs))
    assert not unused, f"{model.name} does not read {', '.join(unused)}"
    with models.connect(1) as connection:
        models.install(connection, PROJECT)
        connection.execute("create schema derived")
        for name in inputs:
            create_input(connection, name, page.given.get(name))
        for step in (*steps, replace(model, name="derived.answer")):
            models.create(connection, step)
        names = ", ".join(f'"{column}"' for column in columns)
        found = connection.execute(f"select {names} from derived.answer").fetchall()
        grain = ", ".join(f'"{column}"' for column in model.grain)
        doubled = connection.execute(
            f"select count(*) from (select 1 from derived.answer group by {grain} having count(*) > 1)"
        ).fetchone()
        described = connection.execute("describe derived.answer").fetchall()
    assert doubled == (0,), f"{model.name}: two rows share {', '.join(model.grain)}"
    if promised := dictionary().get(model.name):
        shape = [(column, kind) for column, kind, *_ in described]
        assert shape == list(promised.items()), (
            f"{model.name}: columns differ from sql/reference/dictionary.csv"
        )
    return found


def check_page(page: Page, model: models.Model) -> None:
    """Run `model` on the page's rows and compare. Raises Mismatch with both tables."""
    columns, expected = page.expect
    wanted = sorted([canonical(cell) for cell in row] for row in expected)
    got = sorted([canonical(cell) for cell in row] for row in run_page(page, model, columns))
    if wanted != got:
        raise Mismatch(f"{model.name}\nexpected\n{shown(columns, wanted)}\ngot\n{shown(columns, got)}")


def upstream(model: models.Model, page: Page) -> list[models.Model]:
    """Return the derived models that `model` builds on and the page does not give, in run order."""
    known = project_models("derived")
    wanted, look = set[str](), [model]
    while look:
        reads = {name for name in look.pop().inputs if name.startswith("derived.") and name not in page.given}
        look += [known[name] for name in sorted(reads - wanted)]
        wanted |= reads
    return [step for name, step in known.items() if name in wanted]


def create_input(connection: duckdb.DuckDBPyConnection, name: str, table: Table | None) -> None:
    """Create one input: its declared columns, with the page's rows."""
    schema, _, relation = name.partition(".")
    if schema == "reference" and table is None:
        return
    columns, rows = table or ([], [])
    types = declared(schema, relation)
    unknown = sorted(set(columns) - set(types))
    assert not unknown, f"{name} has no columns {', '.join(unknown)}"
    if name == "study.protocol":
        given = dict(zip(columns, rows[0], strict=True)) if rows else {}
        rows, columns = [list({**protocol(), **given}.values())], list({**protocol(), **given})
    if schema == "accepted" and "SRC_ROW" not in columns:
        columns, rows = [*columns, "SRC_ROW"], [[*row, str(n)] for n, row in enumerate(rows, 2)]
    connection.execute(f"create schema if not exists {schema}")
    shape = ", ".join(f'"{column}" {kind}' for column, kind in types.items())
    connection.execute(f"create or replace table {name} ({shape})")
    if rows:
        names = ", ".join(f'"{column}"' for column in columns)
        marks = ", ".join("?" for _ in columns)
        connection.executemany(f"insert into {name} ({names}) values ({marks})", rows)


def declared(schema: str, relation: str) -> dict[str, str]:
    """Return column → type of one input relation."""
    if schema == "accepted":
        names = f"STUDYID DOMAIN USUBJID {COLUMNS[relation]} {SOURCE}".split()
        return {name: "BIGINT" if name == "SRC_ROW" else "VARCHAR" for name in names}
    if schema == "site":
        return SITE[f"site.{relation}"]
    if schema == "study":
        extra = {"as_of": "DATE"} if relation == "protocol" else {}
        return {f.name: arrow_type(str(f.type)) for f in bare_study().relations()[relation].schema} | extra
    if schema == "reference":
        with (PROJECT / "sql" / "reference" / f"{relation}.csv").open(encoding="utf-8") as file:
            names = next(csv.reader(file))
        return {n: models.FACTOR if (relation, n) == ("units", "factor") else "VARCHAR" for n in names}
    return dictionary()[f"{schema}.{relation}"]


def arrow_type(name: str) -> str:
    if name.startswith("list<"):
        return "VARCHAR[]"
    plain = {"string": "VARCHAR", "int32": "INTEGER", "bool": "BOOLEAN"}
    return plain.get(name) or name.replace("decimal128", "DECIMAL").replace(" ", "")


def bare_study() -> Study:
    """Return a study without visits, analytes, ranges or sites."""
    return Study.model_construct(
        STUDYID="S1",
        planned_subjects=10,
        subject_pattern=r"^(\w+)-\d+$",
        unscheduled_visits="^UNSCHEDULED",
        blinding=Blinding(words=("placebo", "low dose")),
        baseline=Baseline(rule="last_on_or_before_dose"),
        last_plausible_date="2030-12-31",
        visits=(),
        analytes=(),
        assessments=(),
        safety=Safety(),
        sites={},
    )


def protocol() -> dict[str, Any]:
    return {**bare_study().relations()["protocol"].to_pylist()[0], "as_of": "2030-01-01"}


def dictionary() -> dict[str, dict[str, str]]:
    """Return table → column → type, from sql/reference/dictionary.csv."""
    tables: dict[str, dict[str, str]] = {}
    with (PROJECT / "sql" / "reference" / "dictionary.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            columns = tables.setdefault(row["table"], {})
            if row["column"]:
                columns[row["column"]] = row["type"]
    return tables


def canonical(cell: Any) -> str:
    """Return a cell as text: 22, 22.0 and 22.00000000 are one number; NULL is empty."""
    text = "" if cell is None else str(cell)
    if not re.fullmatch(r"[+-]?\d+(\.\d+)?(E[+-]?\d+)?", text):
        return text
    try:
        return format(Decimal(text).normalize() + 0, "f")
    except InvalidOperation:
        return text


def shown(columns: Iterable[str], rows: Iterable[list[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in [list(columns), *rows])
