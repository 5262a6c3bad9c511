"""Decoding: the bytes of a text export in its declared encoding → UTF-8, every byte accounted for.

Belongs here: encodings, byte order marks, and what a text reader would pass over in silence: NUL, a last line
without an end. Does not: delimiters and quotes (delimited).
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from pathlib import Path

from msc_pipeline.errors import DeliveryRejected
from msc_pipeline.profiles import Profile
from msc_pipeline.readers.packing import unpacked

UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def utf8(path: Path, profile: Profile) -> Iterator[bytes]:
    """Yield a text file as UTF-8 without a byte order mark.

    Raises: DeliveryRejected ENCODING, and what unpacking raises.
    """
    encoding = profile.encoding
    decoder = codecs.getincrementaldecoder(encoding)("strict")
    first = True
    try:
        for chunk in unpacked(path, profile):
            if first:
                _check_mark(chunk, encoding)
                yield decoder.decode(chunk).encode()
            elif encoding != "utf-8-sig":
                yield decoder.decode(chunk).encode()
            else:
                if not chunk.isascii() or decoder.getstate()[0]:
                    decoder.decode(chunk)
                yield chunk
            first = False
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        raise DeliveryRejected("ENCODING", f"The file is not {encoding}.") from None


def _check_mark(start: bytes, encoding: str) -> None:
    """Refuse a file whose own mark names another encoding than the profile, and UTF-16 without a mark."""
    if encoding == "utf-16" and not start.startswith(UTF16_MARKS):
        raise DeliveryRejected("ENCODING", "The file is not UTF-16 with a byte order mark.")
    if encoding != "utf-16" and start.startswith(UTF16_MARKS):
        raise DeliveryRejected("ENCODING", "The file is UTF-16.")
    if encoding not in ("utf-16", "utf-8-sig") and start.startswith(codecs.BOM_UTF8):
        raise DeliveryRejected("ENCODING", "The file is UTF-8.")


def check_text(path: Path, profile: Profile) -> None:
    """Read a text file once from end to end and refuse one that is not whole.

    Raises: DeliveryRejected EMPTY_FILE, NUL_BYTE, LINE_ENDS, TRUNCATED, and what decoding raises.
    """
    last = b""
    newlines = returns = False
    for chunk in utf8(path, profile):
        if b"\x00" in chunk:
            raise DeliveryRejected("NUL_BYTE", "The file holds a NUL byte.")
        newlines = newlines or b"\n" in chunk
        returns = returns or b"\r" in chunk
        last = chunk[-1:] or last
    if not last:
        raise DeliveryRejected("EMPTY_FILE", "The file is empty.")
    if returns and not newlines:
        raise DeliveryRejected("LINE_ENDS", "Lines end with a carriage return only.")
    if last != b"\n":
        raise DeliveryRejected("TRUNCATED", "The last line has no end: the file may be cut off.")


def blocks(path: Path, profile: Profile, size: int, longest_line: int) -> Iterator[bytes]:
    """Yield a checked text file in blocks of about `size` bytes, each ending with a line feed.

    Raises: DeliveryRejected FIELD_SIZE when a line is longer than `longest_line` bytes.
    """
    held: list[bytes] = []
    length = 0
    for chunk in utf8(path, profile):
        held.append(chunk)
        length += len(chunk)
        if length < size:
            continue
        buffer, start = b"".join(held), 0
        while len(buffer) - start >= size:
            cut = buffer.rfind(b"\n", start, start + size) + 1 or buffer.find(b"\n", start + size) + 1
            if not cut:
                break
            yield buffer[start:cut]
            start = cut
        held, length = [buffer[start:]], len(buffer) - start
        if length > longest_line + size:
            raise DeliveryRejected("FIELD_SIZE", "A line is too long.")
    if length:
        yield b"".join(held)
