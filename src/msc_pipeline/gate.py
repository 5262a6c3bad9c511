"""The gate: no table, column or text leaves for open eyes unless sql/reference/dictionary.csv lists it.

Belongs here: the allow-list, the search for words of the blind, the comments every open object carries. Does
not: how a release is built (publishing).
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from msc_pipeline.errors import BlindingError, ConfigError

if TYPE_CHECKING:
    import duckdb

COLUMNS = ("table", "column", "type", "unit", "label")


@dataclass(frozen=True)
class Entry:
    """One open column: its name, DuckDB type, unit (may be empty) and label."""

    name: str
    type: str
    unit: str
    label: str

    @property
    def comment(self) -> str:
        """Return the label with its unit."""
        return f"{self.label} [{self.unit}]" if self.unit else self.label


@dataclass(frozen=True)
class Dictionary:
    """Every open table with its label and columns, in order."""

    labels: dict[str, str]
    columns: dict[str, tuple[Entry, ...]]


def load_dictionary(project: Path) -> Dictionary:
    """Read sql/reference/dictionary.csv.

    Raises: ConfigError DICTIONARY_INVALID, naming the line.
    """
    path = project / "sql" / "reference" / "dictionary.csv"
    labels: dict[str, str] = {}
    columns: dict[str, list[Entry]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.reader(file, strict=True)
        try:
            if tuple(next(reader, ())) != COLUMNS:
                raise _invalid(f"columns must be {', '.join(COLUMNS)}")
            for cells in reader:
                table, column, kind, unit, label = _cells(cells, reader.line_num)
                known = {entry.name for entry in columns.get(table, [])} if column else labels
                if (column or table) in known:
                    raise _invalid(f"line {reader.line_num} says again what an earlier line says")
                if column:
                    columns.setdefault(table, []).append(Entry(column, kind, unit, label))
                else:
                    labels[table] = label
        except csv.Error:
            raise _invalid(f"line {reader.line_num} is not CSV") from None
    if missing := sorted(set(columns) ^ set(labels)):
        raise _invalid(f"tables without label or columns: {', '.join(missing)}")
    return Dictionary(labels, {table: tuple(entries) for table, entries in columns.items()})


def _cells(cells: list[str], line: int) -> list[str]:
    if len(cells) != len(COLUMNS):
        raise _invalid(f"line {line} has {len(cells)} cells, not {len(COLUMNS)}")
    table, column, kind, _, label = cells
    if not table or not label or bool(column) != bool(kind):
        raise _invalid(f"line {line} has no table or label, or only one of column and type")
    return cells


def _invalid(what: str) -> ConfigError:
    return ConfigError("DICTIONARY_INVALID", f"sql/reference/dictionary.csv: {what}")


def check(connection: duckdb.DuckDBPyConnection, database: str, dictionary: Dictionary, blinded: str) -> None:
    """Refuse an open database that holds anything but what the dictionary lists.

    blinded: regular expression of words that name an arm.
    Raises: BlindingError OPEN_TABLE, OPEN_COLUMN or ARM_WORD, naming table and column and no value.
    """
    found: dict[str, list[tuple[str, str]]] = {}
    for table, column, kind in connection.execute(
        "select schema_name || '.' || table_name, column_name, data_type from duckdb_columns()"
        " where database_name = ? and not internal order by table_name, column_index",
        [database],
    ).fetchall():
        found.setdefault(table, []).append((column, kind))
    if extra := sorted(set(found) - set(dictionary.columns)):
        raise BlindingError("OPEN_TABLE", f"not in the dictionary: {', '.join(extra)}")
    for table, has in found.items():
        if has != (may := [(e.name, e.type) for e in dictionary.columns[table]]):
            odd = sorted({name for name, _ in set(has) ^ set(may)})
            what = ", ".join(odd) or "the order of columns"
            raise BlindingError("OPEN_COLUMN", f"{table} differs from the dictionary: {what}")
        for column, kind in has:
            if kind in ("VARCHAR", "VARCHAR[]"):
                _check_words(connection, f"{database}.{table}", column, kind, blinded)


def _check_words(
    connection: duckdb.DuckDBPyConnection, table: str, column: str, kind: str, blinded: str
) -> None:
    text = f'unnest("{column}")' if kind.endswith("[]") else f'"{column}"'
    hit = connection.execute(
        f"select 1 from (select distinct {text} as word from {table}) where regexp_matches(word, ?) limit 1",
        [blinded],
    ).fetchone()
    if hit:
        raise BlindingError("ARM_WORD", f"{table}, column {column} holds a word that names an arm")


def comment(connection: duckdb.DuckDBPyConnection, database: str, dictionary: Dictionary) -> None:
    """Write every label of the dictionary as a COMMENT into the database; one by one each would be synced to disk."""
    connection.execute("begin transaction")
    for table, entries in dictionary.columns.items():
        connection.execute(f"comment on table {database}.{table} is {_text(dictionary.labels[table])}")
        for entry in entries:
            name = f'{database}.{table}."{entry.name}"'
            connection.execute(f"comment on column {name} is {_text(entry.comment)}")
    connection.execute("commit")


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
