"""Packed files: gzip unpacked as a stream under byte caps; other archives are named and refused.

Belongs here: what stands around an export's own bytes. Does not: the bytes' meaning. Nothing is ever unpacked
to disk, and no name inside an archive is used.
"""

from __future__ import annotations

import codecs
import io
import zipfile
import zlib
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any, BinaryIO

from msc_pipeline.errors import DeliveryRejected
from msc_pipeline.profiles import Profile
from msc_pipeline.storage import CHUNK

GZIP, ZIP = b"\x1f\x8b", b"PK\x03\x04"
HARMLESS = 1 << 20
"""Bytes that any file may unpack to, whatever the ratio."""

LISTED = 1 << 28
"""Bytes of a zip file whose list of names is looked at, to tell the site what is wrong with it."""


def unpacked(path: Path, profile: Profile) -> Generator[bytes]:
    """Yield the bytes of a file in chunks, those inside when it is gzip.

    Raises: DeliveryRejected RATIO, SIZE, TRUNCATED, PATH, ENCRYPTED, ARCHIVE, FORMAT.
    """
    with path.open("rb") as file:
        start = file.read(4)
        file.seek(0)
        if start == ZIP:
            raise _refusal(path)
        if start[:2] == GZIP:
            yield from _gunzip(file, profile)
        else:
            while chunk := file.read(CHUNK):
                yield chunk


def _gunzip(file: BinaryIO, profile: Profile) -> Iterator[bytes]:
    """Yield what one gzip member holds; its checksum is compared at the end."""
    inflater = zlib.decompressobj(wbits=31)
    packed = size = 0
    waiting = b""
    while not inflater.eof:
        fresh = b"" if waiting else file.read(CHUNK)
        packed += len(fresh)
        try:
            chunk = inflater.decompress(waiting or fresh, CHUNK)
        except zlib.error:
            raise DeliveryRejected("ARCHIVE", "The gzip data are damaged.") from None
        if not (waiting or fresh or chunk or inflater.eof):
            raise DeliveryRejected("TRUNCATED", "The gzip data end too early: the file is cut off.")
        waiting = inflater.unconsumed_tail
        size += len(chunk)
        if size > profile.max_unpacked_bytes:
            raise DeliveryRejected("SIZE", "The file unpacks to more than the site's profile allows.")
        if size > HARMLESS and size > profile.max_ratio * (packed - len(waiting)):
            raise DeliveryRejected(
                "RATIO", "The file unpacks to more times its size than the profile allows."
            )
        if chunk:
            yield chunk
    if inflater.unused_data or file.read(1):
        raise DeliveryRejected("ARCHIVE", "Something follows the packed file: one file is sent at a time.")


def _refusal(path: Path) -> DeliveryRejected:
    """Say what is wrong with a zip file in the place of an export."""
    plain = DeliveryRejected("ARCHIVE", "A zip archive is not an export: send the file itself, or gzipped.")
    if path.stat().st_size > LISTED:
        return plain
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return plain
    names = [member.filename.replace("\\", "/") for member in members]
    if any(".." in PurePosixPath(name).parts or name.startswith("/") or name[1:2] == ":" for name in names):
        return DeliveryRejected("PATH", "An archive that would write outside its folder.")
    if any(member.flag_bits & 1 for member in members):
        return DeliveryRejected("ENCRYPTED", "The archive is encrypted.")
    if "[Content_Types].xml" in names:
        return DeliveryRejected("FORMAT", "The file is a workbook under the name of another format.")
    return plain


@contextmanager
def stream_of(path: Path, profile: Profile) -> Iterator[IO[bytes]]:
    """Open a text file as bytes, unpacked, behind a byte order mark. Raises: as `unpacked`."""
    with closing(unpacked(path, profile)) as chunks, io.BufferedReader(_Joined(chunks), CHUNK) as stream:
        if stream.peek(3)[:3] == codecs.BOM_UTF8:
            stream.read(3)
        yield stream


class _Joined(io.RawIOBase):
    """Chunks of bytes as one stream."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks, self._rest = chunks, b""

    def readable(self) -> bool:
        """Say yes: io.BufferedReader asks."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill `buffer`, at least with one byte until the end."""
        self._rest = self._rest or next(self._chunks, b"")
        data, self._rest = self._rest[: len(buffer)], self._rest[len(buffer) :]
        buffer[: len(data)] = data
        return len(data)
