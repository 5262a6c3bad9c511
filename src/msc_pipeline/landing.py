"""Landing: take a site's export by rename, keep an immutable copy under its hash, and write the receipt.

Belongs here: claiming, settling, routing to a domain, the order of deliveries. Does not: reading a manifest or
a name (manifests), looking inside the file (staging).

The site's folder is shared with the site, so nothing about a file is trusted until it has been renamed away
and copied: the hash is that of the copy.
"""

from __future__ import annotations

import errno
import fnmatch
import hashlib
import logging
import os
import stat
import time
import uuid
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import sqlalchemy as sa

from msc_pipeline import ledger as book
from msc_pipeline.errors import DeliveryRejected
from msc_pipeline.ledger import Ledger
from msc_pipeline.manifests import (
    SUFFIX,
    UNSAFE,
    Manifest,
    is_safe,
    known_as,
    read_manifest,
    sequence_in,
    short_hash,
)
from msc_pipeline.profiles import Profile
from msc_pipeline.settings import Settings
from msc_pipeline.storage import CHUNK, locked, make_folder, mark, refusal, sync_file, sync_folder
from msc_pipeline.study import Study

log = logging.getLogger(__name__)

UNDECIDED = ("LANDED", "STAGED", "VALIDATED")
TOO_LARGE = "The file is larger than the site's profile allows. It was not copied; it is kept in .refused."
NO_FILE = (errno.ELOOP, errno.ENXIO, errno.EACCES, errno.EPERM)
"""What opening answers to a link, a socket, and a file that is not ours to read; other answers may change."""


def site_folders(study: Study, settings: Settings) -> tuple[str, ...]:
    """Return the names of the folders under landing/<study>/: sites, and any folder no site claims."""
    folder = settings.landing / study.id
    if not folder.is_dir():
        return ()
    names = (p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    return tuple(sorted(name for name in names if is_safe(name)))


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
        with locked(settings.home / study.id / f"land-{short_hash(site)}.lock"):
            try:
                _put_back(folder)
                _claim(study, folder, profile)
            except OSError as error:
                raise refusal("claim exports of", f"site {site}", error) from None
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
    return sorted(p for p in entries if p.suffix.lower() != ".part" and not p.name.endswith(SUFFIX))


def _claims(folder: Path) -> list[Path]:
    """What landing has claimed; not what a file system or a sync tool leaves there beside it."""
    if not folder.is_dir():
        return []
    return sorted(p for p in folder.glob("[0-9]*~*") if not p.name.endswith(SUFFIX))


def _claim(study: Study, folder: Path, profile: Profile) -> None:
    """Move settled exports into .claimed/, which makes them ours and keeps their order of arrival."""
    ready = _settled(_candidates(folder), profile)
    if not ready:
        return
    claimed = folder / ".claimed"
    claimed.mkdir(exist_ok=True)
    for number, path in enumerate(ready):
        prefix = f"{time.time_ns():020d}-{os.getpid()}-{number:05d}"
        name = known_as(study, path.name)
        companion = path.with_name(path.name + SUFFIX)
        try:
            if _has_manifest(path):
                companion.rename(claimed / f"{prefix}~{name}{SUFFIX}")
                mark("companion-claimed")
            path.rename(claimed / f"{prefix}~{name}")
        except FileNotFoundError:
            log.info("an export vanished or was taken by another run site=%s", folder.name)
            continue
        mark("claimed")
    sync_folder(claimed)
    sync_folder(folder)


def _put_back(folder: Path) -> None:
    """Return manifests whose export was not claimed any more before a kill, unless the site has sent newer ones."""
    claimed = folder / ".claimed"
    for companion in sorted(claimed.glob(f"*~*{SUFFIX}")):
        claim = companion.name.removesuffix(SUFFIX)
        if not os.path.lexists(claimed / claim):
            back = folder / companion.name.split("~", 1)[1]
            if back.exists():
                companion.unlink()
            else:
                companion.rename(back)


def _settled(paths: list[Path], profile: Profile) -> list[Path]:
    """Return exports that are complete: with a manifest, or untouched for `settle_seconds`.

    Where the profile requires a manifest nothing else is ready. A file younger than the settle time is looked at
    twice; one that changed in between waits for the next run.
    """
    ready, young = [], {}
    for path in paths:
        if _has_manifest(path):
            ready.append(path)
        elif profile.manifest == "optional":
            look = _look(path)
            if look is None:
                log.info("an export vanished while it was looked at folder=%s", path.parent.name)
                continue
            if 0 <= time.time() - look[1] / 1e9 < profile.settle_seconds or look[1] / 1e9 > time.time():
                young[path] = look
            else:
                ready.append(path)
    if young:
        time.sleep(profile.settle_seconds)
        ready += [path for path, look in young.items() if _look(path) == look]
    return sorted(ready)


def _has_manifest(path: Path) -> bool:
    try:
        return path.with_name(path.name + SUFFIX).is_file()
    except OSError:  # a name so long that none beside it can be longer
        return False


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
    sha256, size, domain, manifest = "", 0, None, Manifest()
    try:
        sha256, size = _copy(claim, raw, profile.max_bytes)
        manifest = read_manifest(claim.with_name(claim.name + SUFFIX), study)
        domain = route(study, site, name, profile)
        if manifest.sequence is None:
            manifest = replace(manifest, sequence=sequence_in(name, profile))
        if manifest.sha256.lower() not in ("", sha256):
            raise DeliveryRejected("SHA_MISMATCH", "The file is not the one its manifest describes.")
        if profile.manifest == "required" and not manifest.sha256:
            raise DeliveryRejected("MANIFEST", "The manifest of this site's exports must declare sha256.")
    except DeliveryRejected as error:
        fault = error
    except FileNotFoundError:
        log.info("a claimed export vanished or was taken by another run site=%s", site)
        return
    mark("copied")
    receipt = {"study": study.id, "site": site, "name": name, "claim": claim.name, "sha256": sha256}
    with ledger.write() as connection:
        _receive(connection, {**receipt, "bytes": size}, domain, manifest, fault)
    mark("received")
    _drop(claim, regular=bool(sha256))


def _copy(claim: Path, raw: Path, limit: int) -> tuple[str, int]:
    """Copy a regular file into `raw` under its hash; the site may still be writing to what it called a file.

    Raises: DeliveryRejected NOT_A_FILE, or SIZE before a byte beyond `limit` is written; TransientError DISK.
    """
    temporary = raw / f"{uuid.uuid4().hex}.tmp"
    digest, size = hashlib.sha256(), 0
    with _open(claim) as source:
        try:
            if os.fstat(source.fileno()).st_size > limit:
                raise DeliveryRejected("SIZE", TOO_LARGE)
            make_folder(raw)
            with temporary.open("wb") as copy:
                while chunk := source.read(CHUNK):
                    digest.update(chunk)
                    size += len(chunk)
                    if size > limit:
                        raise DeliveryRejected("SIZE", TOO_LARGE)
                    copy.write(chunk)
            sha256 = digest.hexdigest()
            mark("raw-written")
            temporary.chmod(0o444)
            sync_file(temporary)
            temporary.replace(raw / sha256)
            sync_folder(raw)
        except (OSError, DeliveryRejected) as error:
            with suppress(OSError):
                temporary.unlink()
            if isinstance(error, DeliveryRejected):
                raise
            raise refusal("copy", "an export", error) from None
    return sha256, size


def _open(claim: Path) -> BinaryIO:
    """Open a regular file; never follow a link, never wait for a pipe.

    Raises: DeliveryRejected NOT_A_FILE; TransientError DISK; FileNotFoundError.
    """
    refused = DeliveryRejected("NOT_A_FILE", "An export must be a regular file that we may read.")
    try:
        fd = os.open(claim, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno in NO_FILE:
            raise refused from None
        raise refusal("read", "an export", error) from None
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise refused
    return os.fdopen(fd, "rb")


def route(study: Study, site: str, name: str, profile: Profile) -> str:
    """Return the domain a file name stands for.

    Raises: DeliveryRejected ROUTE when no domain or more than one claims it, or nobody knows the site.
    """
    if site not in study.sites:
        raise DeliveryRejected("ROUTE", "The folder is not a site of this study.")
    if name.startswith(UNSAFE):
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
    manifest: Manifest,
    fault: DeliveryRejected | None,
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
    newest = _newest(connection, study, site, domain)
    if fault is None and newest and newest["sha256"] == receipt["sha256"]:
        _confirm(connection, newest, manifest)
        return
    last = newest["order_number"] if newest else 0
    delivery = {
        "id": delivery_id, "study": study, "site": site, "domain": domain, "file": receipt["name"],
        "sha256": receipt["sha256"], "order_number": last if manifest.sequence is None else manifest.sequence,
        "extracted_at": manifest.extracted_at, "rows_declared": manifest.rows,
        "verified": "VERIFIED" if manifest.sha256 else "UNVERIFIED", "status": "LANDED",
    }  # fmt: skip
    connection.execute(sa.insert(book.deliveries).values(**delivery))
    if fault is not None:
        book.reject(connection, delivery, fault.code, fault.message)


def _newest(connection: sa.Connection, study: str, site: str, domain: str | None) -> dict[str, Any] | None:
    """Return the newest delivery of one site's domain that is not rejected."""
    c = book.deliveries.c
    known = sa.select(book.deliveries).where(
        c.study == study, c.site == site, c.domain == domain, c.status != "REJECTED"
    )
    row = connection.execute(known.order_by(c.order_number.desc(), c.id.desc()).limit(1)).mappings().first()
    return dict(row) if row else None


def _confirm(connection: sa.Connection, newest: dict[str, Any], manifest: Manifest) -> None:
    """Note that a site sent the same bytes again: an older file that comes late is older than this, too."""
    known = {"order_number": newest["order_number"], "extracted_at": newest["extracted_at"]}
    latest = {
        "order_number": max(known["order_number"], manifest.sequence or 0),
        "extracted_at": max(known["extracted_at"] or "", manifest.extracted_at or "") or None,
    }
    if latest != known:
        mine = sa.update(book.deliveries).where(book.deliveries.c.id == newest["id"])
        connection.execute(mine.values(**latest))


def _drop(claim: Path, *, regular: bool) -> None:
    """Remove a claim whose bytes are in raw/; what is not a file is kept aside for a person to look at."""
    claim.with_name(claim.name + SUFFIX).unlink(missing_ok=True)
    mark("companion-dropped")
    if regular:
        claim.unlink(missing_ok=True)
    else:
        refused = claim.parent.parent / ".refused"
        refused.mkdir(exist_ok=True)
        claim.rename(refused / claim.name)
    mark("claim-dropped")
