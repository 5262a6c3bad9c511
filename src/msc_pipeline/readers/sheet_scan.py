"""A sheet's XML, looked through before its cells are read: what would be hidden, lost or invented.

Belongs here: formulas, hidden rows and columns, merged cells, order of rows, counts. Does not: values.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import IO
from xml.parsers import expat

from msc_pipeline.errors import DeliveryRejected
from msc_pipeline.profiles import Profile
from msc_pipeline.readers.typed import check_rows
from msc_pipeline.storage import CHUNK

MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
PLACE = re.compile(r"([A-Z]{1,3})([1-9][0-9]{0,6})")
TRUE = ("1", "true")


@dataclass(slots=True)
class _Scan:
    profile: Profile
    row: int = 0
    rows: int = 0
    column: int = 0
    widest: int = 0
    row_hidden: bool = False
    hidden: list[tuple[int, int]] = field(default_factory=list)

    def start(self, name: str, attributes: dict[str, str]) -> None:
        """Look at one element; elements of other namespaces are extensions, which are not read."""
        if name == "c":
            self._cell(attributes)
        elif name in {"v", "is"}:
            self._filled()
        elif name == "row":
            self._row(attributes)
        elif name == "f":
            raise DeliveryRejected(
                "FORMULA", f"Row {self.row}: a cell holds a formula. Paste values instead."
            )
        elif name == "mergeCell":
            raise DeliveryRejected("MERGED_CELLS", "The sheet has merged cells. Send it without.")
        elif name == "col" and _unseen(attributes, "width"):
            self.hidden.append((int(attributes["min"]), int(attributes["max"])))

    def _row(self, attributes: dict[str, str]) -> None:
        number = int(attributes.get("r", self.row + 1))
        if number <= self.row:
            raise DeliveryRejected("CORRUPT", "The sheet's rows are out of order.")
        self.row, self.column = number, 0
        self.row_hidden = _unseen(attributes, "ht")
        self.rows += 1
        check_rows(self.rows - 1, self.profile)

    def _cell(self, attributes: dict[str, str]) -> None:
        column = self.column + 1
        if place := attributes.get("r"):
            found = PLACE.fullmatch(place)
            column = _number(found[1]) if found and int(found[2]) == self.row else 0
        if column <= self.column:
            raise DeliveryRejected("CORRUPT", f"Row {self.row}: the sheet's cells are out of order.")
        self.column = column

    def _filled(self) -> None:
        self.widest = max(self.widest, self.column)
        if self.row_hidden:
            raise DeliveryRejected("HIDDEN_CELLS", f"Row {self.row} is hidden. Send the sheet without.")
        if self.widest > self.profile.max_columns:
            raise DeliveryRejected("SIZE", "The sheet has more columns than the site's profile allows.")

    def end(self) -> None:
        """Judge hidden columns once the widest row is known."""
        for first, last in self.hidden:
            if first <= self.widest:
                where = f"{first} to {min(last, self.widest)}" if last > first else str(first)
                raise DeliveryRejected("HIDDEN_CELLS", f"Columns {where} are hidden. Send the sheet without.")


def scan_sheet(xml: IO[bytes], profile: Profile) -> None:
    """Read a sheet's XML once, in constant memory.

    Raises: DeliveryRejected FORMULA, MERGED_CELLS, HIDDEN_CELLS, CORRUPT, SIZE.
    """
    scan = _Scan(profile)
    parser = expat.ParserCreate(namespace_separator=" ")
    prefix = MAIN + " "
    cut = len(prefix)

    def start(name: str, attributes: dict[str, str]) -> None:
        if name.startswith(prefix):
            scan.start(name[cut:], attributes)

    def refuse(*_: object) -> None:
        raise DeliveryRejected(
            "CORRUPT", "The sheet's XML declares a document type, which Excel never writes."
        )

    parser.StartElementHandler = start
    parser.StartDoctypeDeclHandler = refuse
    try:
        while chunk := xml.read(CHUNK):
            parser.Parse(chunk, False)
        parser.Parse(b"", True)
    except (expat.ExpatError, ValueError, KeyError):
        raise DeliveryRejected("CORRUPT", "The sheet's XML is damaged.") from None
    scan.end()


def _unseen(attributes: dict[str, str], size: str) -> bool:
    return attributes.get("hidden") in TRUE or float(attributes.get(size, 1)) == 0


def _number(letters: str) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + ord(letter) - 64
    return number
