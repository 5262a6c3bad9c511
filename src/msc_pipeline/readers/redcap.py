"""REDCap: one file of many instruments → the rows of one domain, told by the repeat-instrument column.

Belongs here: REDCap's own columns, in raw and in label exports, and which rows are a domain's. Does not: reading
the CSV (delimited), names and values (the profile says them, raw names and labels alike).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msc_pipeline import cdisc
from msc_pipeline.errors import DeliveryRejected
from msc_pipeline.profiles import Profile, Redcap
from msc_pipeline.readers.header import Plan
from msc_pipeline.readers.raw import RawBatch

if TYPE_CHECKING:
    import pyarrow as pa

INSTRUMENT = ("redcap_repeat_instrument", "Repeat Instrument")
STRUCTURE = (
    *INSTRUMENT,
    *("redcap_event_name", "Event Name"),
    *("redcap_repeat_instance", "Repeat Instance"),
    *("redcap_data_access_group", "Data Access Group"),
    *("redcap_survey_identifier", "Survey Identifier"),
)
"""Columns that REDCap itself adds: raw name and label. They tell where a row belongs, not what was found."""


class Instruments:
    """Chooses the rows of domain `code` in one export.

    unread: names that need no place in this domain: REDCap's own, and those that the profile gives to others.
    """

    def __init__(self, header: list[str], rules: Redcap, profile: Profile, code: str) -> None:
        self._rules, self._code = rules, code
        self._column = next((i for i, name in enumerate(header) if name in INSTRUMENT), None)
        self._structure = {0} | {i for i, name in enumerate(header) if name in STRUCTURE}
        self.unread = tuple(name for name in header if _is_unread(name, profile, code))
        if self._column is None and code in rules.instruments:
            raise DeliveryRejected(
                "COLUMN_MISSING", "The column that names the repeating instrument is missing."
            )

    def own(self, raw: RawBatch, plan: Plan) -> RawBatch:
        """Keep the rows of this domain: of its instrument, or of none, and with anything filled in.

        A row that could not be split is kept, since nobody knows whose it is.
        Raises: DeliveryRejected INSTRUMENT_UNKNOWN.
        """
        import pyarrow.compute as pc

        keep = raw.lines.is_null()
        for i in set(plan.positions.values()) - self._structure:
            keep = pc.or_(keep, raw.cells[i].is_valid())
        keep = pc.or_(pc.and_(keep, self._mine(raw)), raw.faults.is_valid())
        return RawBatch([c.filter(keep) for c in raw.cells], raw.lines.filter(keep), raw.faults.filter(keep))

    def _mine(self, raw: RawBatch) -> pa.BooleanArray:
        import pyarrow.compute as pc

        if self._column is None:
            return raw.lines.is_valid()
        named = raw.cells[self._column]
        self._check(named, raw)
        mine = pc.equal(named, self._rules.instruments.get(self._code, ""))
        return pc.or_(named.is_null(), pc.fill_null(mine, False))

    def _check(self, named: pa.StringArray, raw: RawBatch) -> None:
        import pyarrow.compute as pc

        declared = {*self._rules.instruments.values(), *self._rules.ignore}
        encoded = named.dictionary_encode()
        for index, name in enumerate(encoded.dictionary.to_pylist()):
            if name not in declared:
                line = raw.lines[pc.index(encoded.indices, index).as_py()]
                raise DeliveryRejected(
                    "INSTRUMENT_UNKNOWN", f"Line {line}: an instrument that the site's profile does not name."
                )


def _is_unread(name: str, profile: Profile, code: str) -> bool:
    if profile.names(name, code) != (name,):
        return False
    return name in STRUCTURE or any(profile.names(name, other) != (name,) for other in cdisc.DOMAINS)
