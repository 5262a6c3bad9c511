"""SQL models: read their headers, put them in order, run one into a Parquet file.

Belongs here: the shape of a model (six-line header, one select), the engine's safe configuration, macros and
reference tables, the grain check. Does not: which rows a model sees (curation and publishing make the
relations) and what it derives (sql/).
"""

from __future__ import annotations

import csv
import graphlib
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from msc_pipeline import cdisc
from msc_pipeline.errors import ConfigError, IntegrityError, PermanentError, TransientError
from msc_pipeline.storage import digest
from msc_pipeline.study import Study

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

HEADER = ("Name", "Label", "Grain", "Input", "Units", "Source")
GRAIN = re.compile(r"one row per ((?:\w+, )*\w+)")
SERIES = frozenset({"unnest", "range", "generate_series"})
"""Table functions a model may call. Any other could read a file that no header names."""

SOURCES = frozenset({"accepted", "arrived", "delivery", "site", "study"})
"""Schemas whose relations are made by Python, not by a file under sql/."""

FACTOR = "DECIMAL(20,10)"
"""Type of reference.units.factor: exact, so that AVAL is too."""


@dataclass(frozen=True)
class Model:
    """One file sql/<schema>/<table>.sql: its header and its select. `inputs` are sorted qualified names."""

    name: str
    label: str
    grain: tuple[str, ...]
    inputs: tuple[str, ...]
    units: str
    source: str
    sql: str

    @property
    def table(self) -> str:
        """Return the part of the name after the point."""
        return self.name.partition(".")[2]

    @property
    def sha256(self) -> str:
        """Return a hash that changes with the query and with the grain that orders its rows."""
        return digest(self.name, ",".join(self.grain), self.sql)

    def mentions(self, name: str) -> int:
        """Return how often the query reads the relation `name`."""
        return len(re.findall(rf"\b{re.escape(name)}\b", self.sql))

    @property
    def ordered(self) -> str:
        """Return the query with a total order over the grain: equal rows give equal bytes."""
        keys = ", ".join(f'"{column}" asc nulls first' for column in self.grain)
        return f"select * from (\n{self.sql}\n) as model order by {keys}"


def connect(threads: int, *, temporary: Path | None = None) -> duckdb.DuckDBPyConnection:
    """Return an in-memory engine that loads no extension and never reads a Python variable as a table.

    temporary: folder for spilling; without one nothing is ever spilled to disk.
    """
    import duckdb

    return duckdb.connect(
        ":memory:",
        config={
            "threads": str(threads),
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "allow_community_extensions": "false",
            "python_enable_replacements": "false",
            "temp_directory": "" if temporary is None else str(temporary),
        },
    )


def install(connection: duckdb.DuckDBPyConnection, project: Path) -> None:
    """Create the macros of sql/macros.sql and one table reference.<name> per sql/reference/<name>.csv.

    Every reference cell is text and an empty one is NULL; only units.factor is a DECIMAL(20,10).
    Raises: ConfigError MODEL_INVALID or REFERENCE_INVALID, naming the file.
    """
    with reported("sql/macros.sql", ConfigError, "MODEL_INVALID"):
        connection.execute((project / "sql" / "macros.sql").read_text(encoding="utf-8"))
    for path in sorted((project / "sql" / "reference").glob("*.csv")):
        _load_reference(connection, path)


def load_models(project: Path, *schemas: str) -> tuple[Model, ...]:
    """Return the models of sql/<schema>/ of each schema named, each after the models it reads.

    Raises: ConfigError MODEL_INVALID for a header that is incomplete or disagrees with path or query, for an
    input that nothing makes, and for a circle.
    """
    paths = [
        (path, schema) for schema in schemas for path in sorted((project / "sql" / schema).glob("*.sql"))
    ]
    with _Parser() as parser:
        found = [_parse(path, schema, parser) for path, schema in paths]
    models = {model.name: model for model in found}
    for model in found:
        if missing := [name for name in model.inputs if not _exists(project, name)]:
            raise _invalid(model.name, f"Input names relations that nothing makes: {', '.join(missing)}")
    order = graphlib.TopologicalSorter({m.name: [n for n in m.inputs if n in models] for m in found})
    try:
        order.prepare()
    except graphlib.CycleError as error:
        raise _invalid(
            " and ".join(schemas), f"models read each other in a circle: {' → '.join(error.args[1])}"
        ) from None
    return tuple(models[name] for name in _levels(order))


def write(connection: duckdb.DuckDBPyConnection, model: Model, path: Path) -> int:
    """Run `model` into the Parquet file `path`, ordered by its grain; return how many rows it has.

    The bytes depend on the input rows only, not on their order or the number of threads.
    Raises: IntegrityError MODEL_GRAIN when two rows share a grain; PermanentError MODEL_FAILED or
    TransientError MODEL_RESOURCES, naming the model and quoting no value. A refused file may stay at `path`.
    """
    target = "'" + str(path).replace("'", "''") + "'"
    grain = ", ".join(f'"{column}"' for column in model.grain)
    copier(connection, model.ordered, model.name)(path)
    with reported(model.name, PermanentError, "MODEL_FAILED"):
        found = connection.execute(
            f"select coalesce(sum(n), 0)::bigint, count(*) from "
            f"(select count(*) as n from read_parquet({target}) group by {grain})"
        ).fetchone()
    rows, distinct = found or (0, 0)
    if rows != distinct:
        raise IntegrityError("MODEL_GRAIN", f"{model.name}: {rows} rows, {distinct} distinct by its grain")
    return int(rows)


def create(connection: duckdb.DuckDBPyConnection, model: Model, kind: str = "table") -> None:
    """Make `model` a table of the connection, or a view, for the models that read it.

    Raises: PermanentError MODEL_FAILED or TransientError MODEL_RESOURCES, naming the model and quoting no value.
    """
    with reported(model.name, PermanentError, "MODEL_FAILED"):
        connection.execute(f"create {kind} {model.name} as {model.sql}")


def copier(connection: duckdb.DuckDBPyConnection, select: str, place: str) -> Callable[[Path], None]:
    """Return a function that writes `select`, which orders its rows, to a Parquet file.

    Raises (when called): PermanentError MODEL_FAILED or TransientError MODEL_RESOURCES, naming `place` only.
    """

    def copy(path: Path) -> None:
        target = str(path).replace("'", "''")
        with reported(place, PermanentError, "MODEL_FAILED"):
            connection.execute(f"copy ({select}) to '{target}' (format parquet, compression zstd)")

    return copy


def load_tables(connection: duckdb.DuckDBPyConnection, schema: str, tables: Mapping[str, Any]) -> None:
    """Create `schema.<name>` from each Arrow table."""
    connection.execute(f"create schema if not exists {schema}")
    for name, table in tables.items():
        connection.register("arrow_table", table)
        connection.execute(f"create or replace table {schema}.{name} as select * from arrow_table")
        connection.unregister("arrow_table")


def install_study(connection: duckdb.DuckDBPyConnection, study: Study, as_of: str | None = None) -> None:
    """Create the tables `study.*`; study.protocol.as_of is the date the data reach, NULL where it plays no part."""
    load_tables(connection, "study", study.relations())
    date = f"'{as_of}'::date" if as_of else "null::date"
    connection.execute(
        f"create or replace table study.protocol as select *, {date} as as_of from study.protocol"
    )
    # A pattern in a column is compiled anew for every row; macros read it from this variable.
    connection.execute("set variable blinded = (select blinded from study.protocol)")


class reported:  # noqa: N801 - reads as a word after `with`
    """Turn the engine's errors, which quote cell values, into ours, which name the place only."""

    def __init__(self, place: str, kind: type[PermanentError], code: str) -> None:
        self.place, self.kind, self.code = place, kind, code

    def __enter__(self) -> None:
        return None

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> None:
        import duckdb

        # A commit that cannot be written is told as a TransactionException: nobody else writes to our engines.
        if isinstance(error, duckdb.OutOfMemoryException | duckdb.IOException | duckdb.TransactionException):
            raise TransientError("MODEL_RESOURCES", f"{self.place}: {type(error).__name__}") from None
        if isinstance(error, duckdb.Error):
            raise self.kind(self.code, f"{self.place}: {type(error).__name__}") from None


def _invalid(place: str, what: str) -> ConfigError:
    return ConfigError("MODEL_INVALID", f"{place}: {what}")


def _parse(path: Path, schema: str, parser: _Parser) -> Model:
    place = f"sql/{schema}/{path.name}"
    lines = path.read_text(encoding="utf-8").splitlines()
    header: dict[str, str] = {}
    for line, field in zip(lines, HEADER, strict=False):
        match = re.fullmatch(rf"-- {field}:\s+(\S.*)", line)
        if match is None:
            raise _invalid(place, f"line {len(header) + 1} must be `-- {field}: …`")
        header[field] = match[1].strip()
    if len(header) < len(HEADER):
        raise _invalid(place, f"the header needs the lines {', '.join(HEADER)}")
    if header["Name"] != f"{schema}.{path.stem}":
        raise _invalid(place, f"Name must be {schema}.{path.stem}")
    grain = GRAIN.fullmatch(header["Grain"])
    if grain is None:
        raise _invalid(place, "Grain must read `one row per A, B, C`")
    sql = "\n".join(lines[len(HEADER) :]).strip().removesuffix(";")
    inputs = tuple(sorted(name.strip() for name in header["Input"].split(",")))
    if inputs != (read := parser.relations(sql, place)):
        raise _invalid(place, f"Input must be `{', '.join(read)}`, what the query reads")
    return Model(
        name=header["Name"],
        label=header["Label"],
        grain=tuple(grain[1].split(", ")),
        inputs=inputs,
        units=header["Units"],
        source=header["Source"],
        sql=sql,
    )


_READ: dict[str, tuple[str, ...]] = {}
"""Query → the relations it reads, of every query parsed in this process."""


class _Parser:
    """One connection for all queries that are new to this process: opening one for each takes longer than parsing.

    It is closed at the end, since a process that may fork must hold no engine.
    """

    def __init__(self) -> None:
        self._open = ExitStack()
        self._connection: duckdb.DuckDBPyConnection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def relations(self, sql: str, place: str) -> tuple[str, ...]:
        """Return the qualified names that one select reads."""
        if sql not in _READ:
            self._connection = self._connection or self._open.enter_context(connect(1))
            _READ[sql] = _relations(self._connection, sql, place)
        return _READ[sql]


def _relations(connection: duckdb.DuckDBPyConnection, sql: str, place: str) -> tuple[str, ...]:
    """Return the qualified names that one select reads, from the engine's own parse tree."""
    row = connection.execute("select json_serialize_sql($1::varchar)", [sql]).fetchone()
    tree = json.loads(row[0]) if row else {}
    if tree.get("error", True) or len(tree["statements"]) != 1:
        raise _invalid(place, "the query must be one select")
    read, loose, own = set[str](), set[str](), set[str]()
    for node in _walk(tree):
        own.update(entry["key"].lower() for entry in (node.get("cte_map") or {}).get("map", ()))
        if node.get("type") == "BASE_TABLE" and node["schema_name"]:
            read.add(f"{node['schema_name']}.{node['table_name']}")
        elif node.get("type") == "BASE_TABLE":
            loose.add(node["table_name"].lower())
        elif node.get("type") == "TABLE_FUNCTION" and node["function"]["function_name"] not in SERIES:
            raise _invalid(place, f"table function {node['function']['function_name']} is not allowed")
    if loose := loose - own:
        raise _invalid(place, f"relations without a schema: {', '.join(sorted(loose))}")
    return tuple(sorted(read))


def _walk(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from _walk(value)
    elif isinstance(node, list):
        for value in node:
            yield from _walk(value)


def _exists(project: Path, name: str) -> bool:
    schema, _, table = name.partition(".")
    if schema in {"accepted", "arrived"}:
        return table.upper() in cdisc.DOMAINS
    if schema == "reference":
        return (project / "sql" / "reference" / f"{table}.csv").is_file()
    return schema in SOURCES or (project / "sql" / schema / f"{table}.sql").is_file()


def _levels(order: graphlib.TopologicalSorter[str]) -> Iterator[str]:
    """Yield names in run order, alphabetical where the order is free."""
    while order.is_active():
        ready = sorted(order.get_ready())
        yield from ready
        order.done(*ready)


def _load_reference(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    table = _reference(path.read_bytes(), path.stem)
    load_tables(connection, "reference", {path.stem: table})
    if path.stem == "units":
        connection.execute(f"alter table reference.units alter factor type {FACTOR}")


@lru_cache(maxsize=64)
def _reference(content: bytes, stem: str) -> pa.Table:
    """Return one reference table, read once per process: every step loads them all anew."""
    import pyarrow as pa

    place = f"sql/reference/{stem}.csv"
    try:
        names, *rows = list(csv.reader(io.StringIO(content.decode("utf-8"), newline=""), strict=True))
    except (csv.Error, ValueError):
        raise ConfigError("REFERENCE_INVALID", f"{place}: not a CSV file with a header") from None
    if bad := [number for number, row in enumerate(rows, 2) if len(row) != len(names)]:
        raise ConfigError("REFERENCE_INVALID", f"{place}: row {bad[0]} has another number of cells")
    cells = zip(*rows, strict=True) if rows else [()] * len(names)
    columns = {n: pa.array([c or None for c in cs], pa.string()) for n, cs in zip(names, cells, strict=True)}
    if stem == "units" and not _exact(columns.get("factor")):
        raise ConfigError("REFERENCE_INVALID", f"{place}: every factor must be a positive {FACTOR}")
    return pa.table(columns)


def _exact(factors: Any) -> bool:
    """Say whether DECIMAL(20,10) holds every factor as written: rounding one silently would change AVAL."""
    try:
        numbers = [Decimal(str(value)) for value in factors.to_pylist()]
        return all(0 < n < 10**10 and n == n.quantize(Decimal("1e-10")) for n in numbers)
    except (AttributeError, InvalidOperation):
        return False
