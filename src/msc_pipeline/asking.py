"""Asking: one read-only question to the current open release.

Belongs here: opening the release so that nothing can be written or read beside it, and refusing anything but
one SELECT. Does not: building releases (publishing), printing answers (cli).

Why the parse tree is walked: this engine allows COPY and data changes inside a WITH clause and calls the
statement a SELECT, and a read-only session does not stop COPY from destroying the very file it reads.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from msc_pipeline.errors import IntegrityError, PermanentError, UsageError
from msc_pipeline.publishing import current
from msc_pipeline.settings import Settings
from msc_pipeline.study import Study

if TYPE_CHECKING:
    import pyarrow as pa

NODES = frozenset({"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"})
TABLE_FUNCTIONS = frozenset(
    {"unnest", "range", "generate_series", "json_each", "json_tree", "duckdb_columns", "duckdb_tables"}
)
"""Functions a FROM may name. Others read files, tell about the machine, or run SQL that is hidden in a text."""
HIDDEN = frozenset(
    {"duckdb_databases", "duckdb_logs", "pragma_database_list", "pg_settings", "current_setting", "getenv"}
)
"""Views and scalar functions that would print paths or settings of the machine."""


def ask(study: Study, sql: str, settings: Settings, *, limit: int | None = None) -> pa.Table:
    """Return the answer to one SELECT on the current open release.

    Raises: UsageError NOT_ONE_SELECT, QUERY_FAILED; PermanentError NO_RELEASE; IntegrityError for a release that
    cannot be opened.
    """
    import duckdb

    check_select(sql)
    file = current(study.id, settings)
    if file is None or not file.is_file():
        raise PermanentError(
            "NO_RELEASE", f"{study.id} has no release here", hint=f"msc run --study {study.id}"
        )
    config: dict[str, str | bool | int | float | list[str]] = {
        "enable_external_access": "false", "lock_configuration": "true", "python_enable_replacements": "false",
        "autoload_known_extensions": "false", "max_temp_directory_size": "0B", "threads": str(settings.threads),
    }  # fmt: skip
    try:
        connection = duckdb.connect(str(file), read_only=True, config=config)
    except duckdb.Error:
        raise IntegrityError(
            "INTEGRITY", f"release {file.parent.name} cannot be opened", hint="run msc verify"
        ) from None
    with connection:
        try:
            relation = connection.sql(sql)
            table: pa.Table = (relation.limit(limit) if limit is not None else relation).to_arrow_table()
        except duckdb.Error as error:
            # These two are raised before any row is read; they quote the asker's own words and open names only.
            named = isinstance(error, duckdb.BinderException | duckdb.CatalogException)
            what = str(error).splitlines()[0] if named else type(error).__name__
            raise UsageError("QUERY_FAILED", what) from None
    return table


def check_select(sql: str) -> None:
    """Refuse anything but one plain SELECT.

    Raises: UsageError NOT_ONE_SELECT.
    """
    import duckdb

    refused = UsageError(
        "NOT_ONE_SELECT", "only one plain SELECT may be asked", hint="no COPY, ATTACH, PRAGMA, SET"
    )
    with duckdb.connect(":memory:") as connection:
        row = connection.execute("select json_serialize_sql($1::varchar)", [sql]).fetchone()
    tree: dict[str, Any] = json.loads(row[0]) if row else {"error": True}
    if tree.get("error") or len(tree.get("statements", ())) != 1:
        raise refused
    for node in _walk(tree):
        kind = node.get("type")
        if isinstance(kind, str) and kind.endswith("_NODE") and kind not in NODES:
            raise refused
        if kind == "TABLE_FUNCTION" and node["function"]["function_name"].lower() not in TABLE_FUNCTIONS:
            raise refused
        if {str(node.get(key)).lower() for key in ("function_name", "table_name")} & HIDDEN:
            raise refused


def _walk(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from _walk(value)
    elif isinstance(node, list):
        for value in node:
            yield from _walk(value)
