"""How a text file is written: encoding, delimiter, quote.

Belongs here: what bytes can say, and what they cannot. Does not: cells.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Literal

from msc_pipeline.errors import DeliveryRejected
from msc_pipeline.profiles import Profile
from msc_pipeline.profiling.names import known_name
from msc_pipeline.profiling.proposal import Proposal
from msc_pipeline.readers.packing import unpacked

SAMPLE = 64 * 1024**2
LINES = 2_000
DELIMITERS = (",", ";", "\t", "|")
QUOTES = ('"', "'")
WORDS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
C1 = frozenset(range(0x80, 0xA0))
NOT_CP1252 = frozenset({0x81, 0x8D, 0x8F, 0x90, 0x9D})


def describe_text(path: Path, proposal: Proposal) -> None:
    """Propose encoding, delimiter and quote of a delimited file; ask where more than one fits."""
    data = _sample(path)
    encoding = _encoding(data, proposal)
    proposal.fields["encoding"] = encoding
    text = data.decode(encoding, "ignore")
    found = {(d, q): shape for d in DELIMITERS for q in QUOTES if (shape := _shape(text, d, q)) is not None}
    if not found:
        proposal.ask("DELIMITER", "No delimiter splits every line alike. Is there a line above the header?")
        return
    best = max(found.values())
    fitting = [key for key, shape in found.items() if shape == best]
    delimiters = tuple(dict.fromkeys(d for d, _ in fitting))
    proposal.fields["delimiter"] = delimiters[0]
    if len(delimiters) > 1:
        proposal.ask(
            "DELIMITER",
            "Two delimiters split the lines equally well.",
            None,
            tuple(WORDS[d] for d in delimiters),
        )
    if all(quote == "'" for _, quote in fitting):
        proposal.fields["quote"] = "'"


def _sample(path: Path) -> bytes:
    """Return the file's first bytes, unpacked, up to a line's end."""
    parts, size = list[bytes](), 0
    with closing(unpacked(path, Profile())) as chunks:
        for chunk in chunks:
            parts.append(chunk)
            size += len(chunk)
            if size >= SAMPLE:
                break
    data = b"".join(parts)
    if not data.strip():
        raise DeliveryRejected("EMPTY_FILE", "The file holds no line.")
    return data[: data.rfind(b"\n") + 1] if size >= SAMPLE else data


def _encoding(data: bytes, proposal: Proposal) -> Literal["utf-8-sig", "utf-16", "cp1252", "latin-1"]:
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if b"\x00" in data[:4096]:
        proposal.ask("ENCODING", "The file may be UTF-16 without a byte order mark, which cannot be read.")
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        pass
    else:
        return "utf-8-sig"
    high = {byte for byte in set(data) if byte >= 0x80}
    if high & NOT_CP1252:
        letters, encoding = bytes(sorted(high)).decode("latin-1"), "latin-1"
    else:
        letters, encoding = bytes(sorted(high)).decode("cp1252"), "cp1252"
    seen = " ".join(letter for letter in letters if letter.isprintable())
    says = f"The file is not UTF-8. Read as {encoding} its special characters are: {seen}. Is that right?"
    fits = ("latin-1",) if high & NOT_CP1252 else ("cp1252",) if high & C1 else ("cp1252", "latin-1")
    proposal.ask("ENCODING", says, None, fits)
    return "latin-1" if encoding == "latin-1" else "cp1252"


def _shape(text: str, delimiter: str, quote: Literal['"', "'"] | str) -> tuple[int, int, int] | None:
    """Return how well a delimiter and quote fit: (known names, share of rows alike in percent, columns)."""
    widths: Counter[int] = Counter()
    header: list[str] = []
    try:
        for i, row in enumerate(
            csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, quotechar=quote, strict=True)
        ):
            header = header or row
            if row:
                widths[len(row)] += 1
            if i > LINES:
                break
    except csv.Error:
        return None
    width, rows = widths.most_common(1)[0]
    alike = 100 * rows // widths.total()
    if width < 2 or len(header) != width or alike < 80:
        return None
    return sum(known_name(name) for name in header), alike, width
