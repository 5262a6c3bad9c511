"""Staging: raw bytes → one Parquet part with every cell as text under its standard name.

Belongs here: calling the reader, naming the part. Does not: judging a value (validation).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from msc_pipeline import __version__
from msc_pipeline import ledger as book
from msc_pipeline.errors import DeliveryRejected
from msc_pipeline.ledger import Ledger
from msc_pipeline.profiles import Profile
from msc_pipeline.readers import Tally, read_export
from msc_pipeline.settings import Settings
from msc_pipeline.storage import check, digest, mark, put
from msc_pipeline.study import Domain, Study

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger(__name__)

ROW_GROUP = 250_000


def stage_delivery(study: Study, delivery: dict[str, Any], settings: Settings) -> None:
    """Write staged/<DOMAIN>/<delivery>-<hash>.parquet for one LANDED delivery, or reject it.

    Raises: IntegrityError when the raw copy is not what was received.
    """
    if delivery["status"] != "LANDED":
        return
    ledger = Ledger(settings.ledger)
    if delivery["domain"] not in study.domains or delivery["site"] not in study.sites:
        with ledger.write() as connection:
            book.reject(connection, delivery, "ROUTE", "The study no longer has this site or this domain.")
        return
    base = settings.home / study.id
    domain, profile = study.domains[delivery["domain"]], study.profile(delivery["site"], delivery["domain"])
    name = digest(delivery["sha256"], profile.model_dump_json(), domain.model_dump_json(), __version__)[:16]
    relative = f"{study.id}/staged/{delivery['domain']}/{delivery['id']:08d}-{name}.parquet"
    raw = check(base / "raw" / delivery["sha256"], delivery["sha256"])
    try:
        sha256, rows, sent = stage_file(
            raw, profile, domain, settings.home / relative, code=delivery["domain"], name=delivery["file"]
        )
        if delivery["rows_declared"] not in (None, sent):
            raise DeliveryRejected(
                "COUNT_MISMATCH",
                f"The file holds {sent} rows, its manifest says {delivery['rows_declared']}.",
            )
    except DeliveryRejected as fault:
        with ledger.write() as connection:
            book.reject(connection, delivery, fault.code, fault.message)
        return
    mark("staged")
    c = book.deliveries.c
    with ledger.write() as connection:
        book.add_part(connection, study.id, "staged", relative, sha256, rows)
        landed = sa.update(book.deliveries).where(c.id == delivery["id"], c.status == "LANDED")
        connection.execute(landed.values(status="STAGED", staged_part=relative, rows_in=rows))
    log.info("staged delivery=%d rows=%d left_out=%d", delivery["id"], rows, sent - rows)


def stage_file(
    source: Path, profile: Profile, domain: Domain, target: Path, *, code: str, name: str
) -> tuple[str, int, int]:
    """Write `source`, sent as `name`, as a staged part at `target`; return (sha256, rows, rows sent).

    More are sent than staged when a REDCap export holds rows of other domains.
    """
    counted, sent = [0], Tally()
    batches = read_export(source, profile, domain, code, name, sent)
    sha256 = put(target, lambda temporary: _write(batches, temporary, counted))
    return sha256, counted[0], sent.rows


def _write(batches: Iterable[pa.RecordBatch], path: Path, counted: list[int]) -> None:
    """Write batches in row groups of at least ROW_GROUP rows, one being packed while the next is read.

    The same batches give the same bytes.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    writer: Any = None
    waiting: list[pa.RecordBatch] = []
    packing: Future[None] | None = None
    try:
        with ThreadPoolExecutor(1) as worker:
            for batch in chain(batches, [None]):
                if batch is not None:
                    writer = writer or pq.ParquetWriter(path, batch.schema, compression="zstd")
                    waiting.append(batch)
                    counted[0] += batch.num_rows
                if waiting and (batch is None or sum(held.num_rows for held in waiting) >= ROW_GROUP):
                    if packing is not None:
                        packing.result()
                    group, waiting = pa.Table.from_batches(waiting), []
                    packing = worker.submit(writer.write_table, group, row_group_size=max(group.num_rows, 1))
            if packing is not None:
                packing.result()
    finally:
        if writer is not None:
            writer.close()
