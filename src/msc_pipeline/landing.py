"""Landing: take a site's export by rename, keep an immutable copy under its hash, and write the receipt.

Belongs here: claiming, settling, companions (manifests), routing to a domain, the order of deliveries. Does
not: looking inside the file (staging).

The site's folder is shared with the site, so nothing about a file is trusted until it has been renamed away
and copied: the hash is that of the copy.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import logging
import os
import re
import stat
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from msc_pipeline import ledger as book
from msc_pipeline.errors import DeliveryRejected, TransientError
from msc_pipeline.ledger import Ledger
from msc_pipeline.settings import Settings
from msc_pipeline.storage import CHUNK, mark, sync_file, sync_folder
from msc_pipeline.study import Profile, Study

log = logging.getLogger(__name__)

UNDECIDED = ("LANDED", "STAGED", "VALIDATED")
MANIFEST = ".manifest.json"
SAFE_NAME = re.compile(r"[^\x00-\x1f\x7f/~\\]{1,180}")


@dataclass(frozen=True)
class Companion:
    """What a manifest declares about its export; nothing when there is none."""

    sha256: str = ""
    rows: int | None = None
    sequence: int | None = None
    extracted_at: str | None = None


def site_folders(study: Study, settings: Settings) -> tuple[str, ...]:
    """Return the names of the folders under landing/<study>/: sites, and any folder no site claims."""
    folder = settings.landing / study.id
    if not folder.is_dir():
        return ()
    return tuple(sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")))


def waiting(study: Study, site: str, settings: Settings) -> int:
    """Return how many exports of `site` are in its folder or half landed."""
    folder = settings.landing / study.id / site
    claimed = folder / ".claimed"
    return len(_candidates(folder)) + (len(_claims(claimed)) if claimed.is_dir() else 0)


def land_site(study: Study, site: str, settings: Settings) -> list[int]:
    """Take everything that waits in one site's folder.

    Return the ids of its undecided deliveries and of those this call rejected, in order of receipt.

    Raises: TransientError DISK when a copy cannot be written; what was claimed is taken by the next run.
    """
    ledger = Ledger(settings.ledger)
    c, folder = book.deliveries.c, settings.landing / study.id / site
    before = ledger.rows(sa.select(sa.func.coalesce(sa.func.max(c.id), 0).label("id")))[0]["id"]
    if folder.is_dir():
        profile = study.profile(site) if site in study.sites else Profile()
        _claim(folder, profile)
        for claim in _claims(folder / ".claimed"):
            _take(study, site, claim, profile, settings, ledger)
    mine = sa.or_(c.status.in_(UNDECIDED), sa.and_(c.status == "REJECTED", c.id > before))
    found = sa.select(c.id).where(c.study == study.id, c.site == site, mine)
    return [row["id"] for row in ledger.rows(found.order_by(c.id))]


def _candidates(folder: Path) -> list[Path]:
    """Entries of a site's folder that are exports: not dot files, not *.part, not manifests."""
    if not folder.is_dir():
        return []
    entries = (p for p in folder.iterdir() if not p.name.startswith("."))
    return sorted(p for p in entries if not p.name.endswith((".part", MANIFEST)))


def _claims(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(p for p in folder.iterdir() if not p.name.endswith(MANIFEST))


def _claim(folder: Path, profile: Profile) -> None:
    """Move settled exports into .claimed/, which makes them ours and keeps their order of arrival."""
    ready = _settled(_candidates(folder), profile)
    if not ready:
        return
    claimed = folder / ".claimed"
    claimed.mkdir(exist_ok=True)
    for number, path in enumerate(ready):
        prefix = f"{time.time_ns():020d}-{os.getpid()}-{number:05d}"
        name = path.name if SAFE_NAME.fullmatch(path.name) else f"unsafe-name-{_short(path.name)}"
        companion = path.with_name(path.name + MANIFEST)
        try:
            path.rename(claimed / f"{prefix}~{name}")
        except FileNotFoundError:
            log.info("an export vanished or was taken by another run site=%s", folder.name)
            continue
        mark("claimed")
        if companion.is_file():
            companion.rename(claimed / f"{prefix}~{name}{MANIFEST}")
        mark("companion-claimed")
    sync_folder(claimed)
    sync_folder(folder)


def _settled(paths: list[Path], profile: Profile) -> list[Path]:
    """Return exports that are complete: with a manifest, or untouched for `settle_seconds`.

    Where the profile requires a manifest nothing else is ready. A file younger than the settle time is looked
    at twice; one that changed in between waits for the next run.
    """
    ready, young = [], {}
    for path in paths:
        if path.with_name(path.name + MANIFEST).is_file():
            ready.append(path)
        elif profile.manifest == "optional":
            look = _look(path)
            if look is None:
                continue
            if 0 <= time.time() - look[1] / 1e9 < profile.settle_seconds or look[1] / 1e9 > time.time():
                young[path] = look
            else:
                ready.append(path)
    if young:
        time.sleep(profile.settle_seconds)
        ready += [path for path, look in young.items() if _look(path) == look]
    return sorted(ready)


def _look(path: Path) -> tuple[int, int] | None:
    try:
        status = path.lstat()
    except FileNotFoundError:
        return None
    return status.st_size, status.st_mtime_ns


def _take(study: Study, site: str, claim: Path, profile: Profile, settings: Settings, ledger: Ledger) -> None:
    """Copy one claimed export to raw/<sha256>, write receipt and delivery in one transaction, drop the claim."""
    name = claim.name.split("~", 1)[1]
    raw = settings.home / study.id / "raw"
    fault: DeliveryRejected | None = None
    sha256, size, domain, companion = "", 0, None, Companion()
    try:
        sha256, size = _copy(claim, raw, profile)
        companion = _companion(claim, name)
        domain = route(study, site, name, profile)
        if companion.sha256 and companion.sha256 != sha256:
            raise DeliveryRejected("SHA_MISMATCH", "The file is not the one its manifest describes.")
    except DeliveryRejected as error:
        fault = error
    except FileNotFoundError:
        return
    mark("copied")
    receipt = {"study": study.id, "site": site, "name": name, "claim": claim.name, "sha256": sha256}
    with ledger.write() as connection:
        _receive(connection, {**receipt, "bytes": size}, domain, companion, fault, profile)
    mark("received")
    _drop(claim, regular=bool(sha256))


def _copy(claim: Path, raw: Path, profile: Profile) -> tuple[str, int]:
    """Copy a regular file into `raw` under its hash; the site may still be writing to what it called a file."""
    try:
        fd = os.open(claim, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise DeliveryRejected("NOT_A_FILE", "An export must be a regular file.") from None
    with os.fdopen(fd, "rb") as source:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise DeliveryRejected("NOT_A_FILE", "An export must be a regular file.")
        raw.mkdir(parents=True, exist_ok=True)
        temporary = raw / f"{uuid.uuid4().hex}.tmp"
        digest, size = hashlib.sha256(), 0
        try:
            with temporary.open("wb") as copy:
                while chunk := source.read(CHUNK):
                    digest.update(chunk)
                    size += len(chunk)
                    copy.write(chunk)
            sha256 = digest.hexdigest()
            mark("raw-written")
            temporary.chmod(0o444)
            sync_file(temporary)
            temporary.replace(raw / sha256)
            sync_folder(raw)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise TransientError("DISK", f"cannot copy an export: {os.strerror(error.errno or 0)}") from None
    if size > profile.max_bytes:
        log.warning("an export is over the size limit bytes=%d limit=%d", size, profile.max_bytes)
    return sha256, size


def _companion(claim: Path, name: str) -> Companion:
    """Read the manifest beside a claimed export.

    Raises: DeliveryRejected MANIFEST when it is not what DESIGN describes.
    """
    beside = claim.with_name(claim.name + MANIFEST)
    if not beside.is_file():
        left_behind = claim.parent.parent / f"{name}{MANIFEST}"
        if not left_behind.is_file():
            return Companion()
        left_behind.rename(beside)
    try:
        raw = json.loads(beside.read_text(encoding="utf-8"))
        companion = Companion(**{key: raw[key] for key in raw})
        kinds_hold = (
            isinstance(companion.sha256, str)
            and all(v is None or type(v) is int for v in (companion.rows, companion.sequence))
            and (companion.extracted_at is None or _is_moment(companion.extracted_at))
        )
    except (ValueError, TypeError, OSError):
        kinds_hold = False
    if not kinds_hold:
        raise DeliveryRejected(
            "MANIFEST",
            "The manifest may hold sha256, rows, sequence and extracted_at (ISO 8601), nothing else.",
        )
    return companion


def _is_moment(text: object) -> bool:
    return isinstance(text, str) and re.fullmatch(r"\d{4}-\d{2}-\d{2}(T[0-9:.+Z-]+)?", text) is not None


def route(study: Study, site: str, name: str, profile: Profile) -> str:
    """Return the domain a file name stands for.

    Raises: DeliveryRejected ROUTE when no domain or more than one claims it, or nobody knows the site.
    """
    if site not in study.sites:
        raise DeliveryRejected("ROUTE", "The folder is not a site of this study.")
    if name.startswith("unsafe-name-"):
        raise DeliveryRejected("NAME", "The file name is too long or holds characters that are not allowed.")
    found = [
        domain
        for domain in study.domains
        if any(
            fnmatch.fnmatchcase(name.lower(), pattern.lower())
            for pattern in profile.files.get(domain, (f"{domain}_*", f"{domain}.*"))
        )
    ]
    if len(found) != 1:
        raise DeliveryRejected("ROUTE", "The file name belongs to no domain, or to more than one.")
    return found[0]


def _receive(
    connection: sa.Connection,
    receipt: dict[str, Any],
    domain: str | None,
    companion: Companion,
    fault: DeliveryRejected | None,
    profile: Profile,
) -> None:
    """Write the receipt and, unless the content is what is in use already, the delivery."""
    c = book.receipts.c
    same = sa.and_(c.study == receipt["study"], c.site == receipt["site"], c.claim == receipt["claim"])
    if connection.execute(sa.select(c.id).where(same)).first():
        return
    made = connection.execute(sa.insert(book.receipts).values(**receipt, received_at=book.now()))
    assert made.inserted_primary_key is not None
    delivery_id = int(made.inserted_primary_key[0])
    study, site = receipt["study"], receipt["site"]
    book.record(connection, study, "received", receipt=delivery_id, site=site, sha256=receipt["sha256"])
    current, highest = _current(connection, study, site, domain)
    if fault is None and current == receipt["sha256"]:
        return
    declared = companion.sequence if companion.sequence is not None else _number(receipt["name"], profile)
    delivery = {
        "id": delivery_id, "study": study, "site": site, "domain": domain, "file": receipt["name"],
        "sha256": receipt["sha256"], "order_number": highest if declared is None else declared,
        "extracted_at": companion.extracted_at, "rows_declared": companion.rows,
        "verified": "VERIFIED" if companion.sha256 else "UNVERIFIED", "status": "LANDED",
    }  # fmt: skip
    connection.execute(sa.insert(book.deliveries).values(**delivery))
    if fault is not None:
        book.reject(connection, delivery, fault.code, fault.message)
    elif receipt["bytes"] > profile.max_bytes:
        book.reject(connection, delivery, "SIZE", "The file is larger than the site's profile allows.")


def _current(connection: sa.Connection, study: str, site: str, domain: str | None) -> tuple[str, int]:
    """Return the hash of the newest delivery in use and the highest order number of one site's domain."""
    c = book.deliveries.c
    known = sa.select(c.sha256, c.order_number).where(
        c.study == study, c.site == site, c.domain == domain, c.status != "REJECTED"
    )
    newest = connection.execute(known.order_by(c.order_number.desc(), c.id.desc()).limit(1)).first()
    return (newest.sha256, newest.order_number) if newest else ("", 0)


def _number(name: str, profile: Profile) -> int | None:
    """Return the number or date a profile takes from a file name, as an integer that orders."""
    found = re.search(profile.sequence, name) if profile.sequence else None
    digits = re.sub(r"\D", "", found.group(1)) if found else ""
    return int(digits) if digits else None


def _drop(claim: Path, *, regular: bool) -> None:
    """Remove a claim whose bytes are in raw/; what is not a file is kept aside for a person to look at."""
    if regular:
        claim.unlink(missing_ok=True)
    else:
        refused = claim.parent.parent / ".refused"
        refused.mkdir(exist_ok=True)
        try:
            claim.rename(refused / claim.name)
        except FileNotFoundError:
            return
    claim.with_name(claim.name + MANIFEST).unlink(missing_ok=True)
    mark("claim-dropped")


def _short(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:12]
