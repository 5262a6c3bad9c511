"""The source of a sample: datasets of an installed package, as rows of text in export order.

Belongs here: finding and reading the package's Parquet files, cells as text, one row per subject. Does not:
files a site would send (writing).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msc_pipeline.errors import ConfigError
from msc_pipeline.sample.spec import Export, OneRow, SampleSpec

if TYPE_CHECKING:
    import pyarrow as pa

Row = tuple[str, ...]


@dataclass(frozen=True)
class Source:
    """One domain: `rows` to export (text, empty = missing), in order; `counted` rows in the package.

    closed: the rows of the closed list, all of them, or None.
    """

    columns: tuple[str, ...]
    rows: list[Row]
    counted: int
    closed: pa.Table | None


def read_sources(spec: SampleSpec) -> dict[str, pa.Table]:
    """Return every dataset that `spec` names, with the columns it needs, as the package holds them.

    The package is located, not imported. Raises: ConfigError SAMPLE_UNAVAILABLE when a file is not there.
    """
    import pyarrow.parquet as pq

    found = importlib.util.find_spec(spec.package)
    places = list(found.submodule_search_locations or ()) if found else []
    hint = f"pip install {spec.package}"
    if not places:
        raise ConfigError("SAMPLE_UNAVAILABLE", f"the package {spec.package} is not installed", hint=hint)
    folder = Path(places[0]) / "_data" / spec.collection
    tables: dict[str, pa.Table] = {}
    for export in spec.domains.values():
        for name in export.datasets:
            path = folder / f"{name}.parquet"
            if not path.is_file():
                raise ConfigError(
                    "SAMPLE_UNAVAILABLE", f"{spec.package} has no {spec.collection}/{name}", hint=hint
                )
            tables[name] = pq.read_table(path, columns=list(export.read), use_threads=False)
    return tables


def source_of(domain: str, export: Export, tables: Mapping[str, pa.Table]) -> Source:
    """Return the domain's rows in order, from the datasets of `tables`.

    Raises: ConfigError SAMPLE_INVALID when a dataset lacks a column.
    """
    import pyarrow as pa

    for name in export.datasets:
        if name not in tables or set(export.read) - set(tables[name].column_names):
            raise ConfigError(
                "SAMPLE_INVALID", f"domains.{domain}: dataset {name} lacks a column or is missing"
            )
    parts = [tables[name].select(list(export.read)) for name in export.datasets]
    table = pa.concat_tables(parts, promote_options="permissive")
    # By exported columns alone: the order of the package's rows, which might follow the arm, must not show.
    table = table.sort_by([(name, "ascending") for name in dict.fromkeys((*export.order, *export.columns))])
    rows = list(zip(*(_texts(table.column(name)) for name in export.columns), strict=True))
    if export.one_row_per_subject:
        rows = _one_each(rows, export.columns, export.one_row_per_subject)
    closed = table.select(list(export.closed.columns)) if export.closed else None
    return Source(export.columns, rows, table.num_rows, closed)


def _texts(column: Any) -> list[str]:
    """Return cells as a site would type them; equal cells share one string, which keeps memory small."""
    known: dict[Any, str] = {}
    texts = []
    for value in column.to_pylist():
        text = known.get(value)
        if text is None:
            text = known[value] = cell_text(value)
        texts.append(text)
    return texts


def cell_text(value: object) -> str:
    """Return a cell as text: empty when missing, a number without noise (9.300000000000001 → 9.3, 63.0 → 63)."""
    if value is None or value != value:  # noqa: PLR0124 - NaN
        return ""
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def _one_each(rows: list[Row], columns: tuple[str, ...], merge: OneRow) -> list[Row]:
    """Return one row per subject. Cells of `lowest` and `highest` are whole numbers or ISO dates of one length."""
    subject = columns.index("USUBJID")
    merged = []
    for _, group in groupby(rows, key=lambda row: row[subject]):
        mine = list(group)
        merged.append(
            tuple(_extreme(name, [row[i] for row in mine], merge) for i, name in enumerate(columns))
        )
    return merged


def _extreme(name: str, cells: list[str], merge: OneRow) -> str:
    present = [cell for cell in cells if cell]
    if not present or name not in (*merge.lowest, *merge.highest):
        return cells[0]
    pick = min if name in merge.lowest else max
    return pick(present, key=lambda cell: (len(cell), cell))
