"""What a site says about an export beside its content: the manifest, and the file's name.

Belongs here: reading both without trusting either. Does not: which domain a name stands for, taking files
(landing).
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from msc_pipeline.errors import DeliveryRejected
from msc_pipeline.profiles import Profile
from msc_pipeline.study import Study

SUFFIX = ".manifest.json"
UNSAFE = "unsafe-name-"
"""Begins the names of exports whose own name cannot be kept."""

_SAFE = re.compile(r"[^\x00-\x1f\x7f/~\\]+")
_NAME_BYTES = 180
_MANIFEST_BYTES = 64 * 1024
_DIGITS = 18
"""Numbers with more digits do not fit into the ledger."""


@dataclass(frozen=True)
class Manifest:
    """What a manifest declares about its export; nothing when there is none."""

    sha256: str = ""
    rows: int | None = None
    sequence: int | None = None
    extracted_at: str | None = None


def known_as(study: Study, name: str) -> str:
    """Return the name an export has from now on: any file system takes it, it tells no arm and no subject."""
    if not is_safe(name):
        return f"{UNSAFE}{short_hash(name)}"
    covered = re.sub(study.blinded, lambda found: found[0].replace(found[1], "masked"), name)
    return re.sub(study.subject_pattern[1:-1], "subject", covered)


def is_safe(name: str) -> bool:
    """Say whether a name is text, not too long, and free of what could end or change a path."""
    try:
        return _SAFE.fullmatch(name) is not None and len(name.encode()) <= _NAME_BYTES
    except UnicodeEncodeError:
        return False


def short_hash(name: str) -> str:
    """Return a short hash of any name the file system may give."""
    return hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:12]


def sequence_in(name: str, profile: Profile) -> int | None:
    """Return the number or date a profile takes from a file name, as an integer that orders.

    Raises: DeliveryRejected SEQUENCE when it is too long to order by.
    """
    found = re.search(profile.sequence, name) if profile.sequence else None
    digits = "".join(re.findall(r"[0-9]", found.group(1) or "")) if found else ""
    if len(digits) > _DIGITS:
        raise DeliveryRejected("SEQUENCE", f"The number in the file name has more than {_DIGITS} digits.")
    return int(digits) if digits else None


def read_manifest(path: Path, study: Study) -> Manifest:
    """Read a manifest; an empty one when there is no such file.

    Raises: DeliveryRejected MANIFEST when it is not what DESIGN describes.
    """
    if not path.is_file():
        return Manifest()
    try:
        raw = json.loads(path.read_bytes() if path.stat().st_size <= _MANIFEST_BYTES else b"")
        manifest = Manifest(**raw)
        holds = (
            isinstance(manifest.sha256, str)
            and _is_number(manifest.rows)
            and _is_number(manifest.sequence)
            and _is_moment(manifest.extracted_at, study.last_plausible_date)
        )
    except (ValueError, TypeError, OSError, RecursionError):
        holds = False
    if not holds:
        raise DeliveryRejected(
            "MANIFEST",
            "The manifest may hold sha256, rows, sequence (at most 18 digits) and extracted_at (ISO 8601, not "
            "after the study), nothing else.",
        )
    return manifest


def _is_number(value: object) -> bool:
    return value is None or (type(value) is int and 0 <= value < 10**_DIGITS)


def _is_moment(text: object, last: str) -> bool:
    if text is None:
        return True
    if not isinstance(text, str) or not re.fullmatch(
        r"(19|20)\d{2}-\d{2}-\d{2}(T[0-9:.]+(Z|[+-][0-9:]+)?)?", text
    ):
        return False
    datetime.fromisoformat(text)
    return text[:10] <= last
