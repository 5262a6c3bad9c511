"""Overdue: what lies in the landing folder for too long and never becomes a delivery, told to people once.

Belongs here: a file that nobody completes, a manifest that nobody follows up, what lies where no site can have
put it. Does not: taking files (landing), sending the messages (alerts).

A stalled writer looks like one that is done, unless the site says so by a manifest (`manifest: required`) or by
the name `*.part` while it writes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from msc_pipeline import ledger as book
from msc_pipeline.ledger import Ledger
from msc_pipeline.manifests import SUFFIX, is_safe, short_hash
from msc_pipeline.settings import Settings
from msc_pipeline.study import Study

OVERDUE_SECONDS = 3600.0
"""How long a file may wait for what completes it before people are told."""

SAYS = {
    "STALLED": (
        "a file waits to be completed",
        "It has no manifest, or is still called *.part: its writer may have stalled.",
    ),
    "MANIFEST_ALONE": ("a manifest waits for its file", "The export it describes has not come."),
    "MISPLACED": (
        "something lies where it cannot be used",
        "It is no folder of a site: a loose file, or a folder whose name cannot be kept.",
    ),
}
"""What is overdue → what people are told: title and body. Names of files stay out: a site chose them."""


def notice_overdue(study: Study, settings: Settings) -> int:
    """Queue one alert for each thing that has waited too long; return how many wait, told before or not."""
    now = time.time()
    found = [
        (kind, place, path, moment)
        for kind, place, path in _waiting(study, settings.landing / study.id)
        if (moment := _moment(path)) is not None and now - moment > OVERDUE_SECONDS
    ]
    if found:
        with Ledger(settings.ledger).write() as connection:
            for kind, place, path, moment in found:
                key = f"{study.id}/{place}/{kind}/{short_hash(path.name)}/{moment:.0f}"
                title, body = SAYS[kind]
                book.queue_alert(
                    connection, study.id, kind, key, f"{study.id}: {title}, {place}",
                    f"{body} Nothing of it is taken. Next: look into the landing folder, ask who sends the files.",
                )  # fmt: skip
    return len(found)


def _waiting(study: Study, landing: Path) -> Iterator[tuple[str, str, Path]]:
    """Yield (kind, place, path) of what landing passes over."""
    for entry in sorted(landing.iterdir()) if landing.is_dir() else ():
        if entry.name.startswith("."):
            continue
        if not entry.is_dir() or not is_safe(entry.name):
            yield "MISPLACED", "beside the sites", entry
            continue
        required = entry.name in study.sites and study.profile(entry.name).manifest == "required"
        names = {path.name for path in entry.iterdir() if not path.name.startswith(".")}
        for name in sorted(names):
            if name.endswith(SUFFIX):
                if name.removesuffix(SUFFIX) not in names:
                    yield "MANIFEST_ALONE", f"site {entry.name}", entry / name
            elif name.lower().endswith(".part") or (required and f"{name}{SUFFIX}" not in names):
                yield "STALLED", f"site {entry.name}", entry / name


def _moment(path: Path) -> float | None:
    """Return when a thing was last written, or None when it is gone."""
    try:
        return path.lstat().st_mtime
    except FileNotFoundError:
        return None
