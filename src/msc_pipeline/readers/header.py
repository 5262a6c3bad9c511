"""The header: which column of an export stands for which standard one, and which may not be there at all.

Belongs here: the allow-list, the profile's names, constants for what an export lacks. Does not: a cell.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from msc_pipeline.errors import DeliveryRejected
from msc_pipeline.profiles import Profile
from msc_pipeline.study import Domain


@dataclass(frozen=True)
class Plan:
    """positions: standard column → position in the export. constants: standard column → every row's cell.

    free_text: positions of columns that may hold line breaks.
    """

    positions: dict[str, int]
    constants: dict[str, str]
    free_text: frozenset[int]


def plan_header(
    header: list[str], profile: Profile, domain: Domain, code: str = "", unread: Sequence[str] = ()
) -> Plan:
    """Match the names of an export with the columns of `domain`; `unread` are names nobody needs to map.

    Raises: DeliveryRejected SIZE, DELIMITER, HEADER_BLANK, HEADER_DUPLICATE, HEADER_MISSING, COLUMN_UNKNOWN,
    COLUMN_MISSING; unknown names are told by position only, since they may hold anything.
    """
    if len(header) > profile.max_columns:
        raise DeliveryRejected("SIZE", "The file has more columns than the site's profile allows.")
    if len(header) == 1 and any(mark in header[0] for mark in ",;\t|"):
        raise DeliveryRejected("DELIMITER", "The header has one column: the delimiter is not the profile's.")
    if any(not name.strip() for name in header):
        raise DeliveryRejected("HEADER_BLANK", "A column has no name.")
    left_out = {*profile.drop, *unread}
    read = [(i, name) for i, name in enumerate(header) if name not in left_out]
    if _repeats([name.upper() for _, name in read]):
        raise DeliveryRejected("HEADER_DUPLICATE", "Two columns have the same name.")
    names = [(i, standard) for i, name in read for standard in profile.names(name, code)]
    if _repeats([standard for _, standard in names]):
        raise DeliveryRejected("HEADER_DUPLICATE", "Two columns have the same standard name.")
    known = set(domain.columns)
    if not any(standard in known for _, standard in names):
        raise DeliveryRejected("HEADER_MISSING", "The first line holds no column name of this domain.")
    if unknown := sorted({i + 1 for i, standard in names if standard not in known}):
        where = ", ".join(map(str, unknown))
        raise DeliveryRejected("COLUMN_UNKNOWN", f"Columns that are not on the allow-list, at: {where}.")
    positions = {standard: i for i, standard in names}
    lacking = [(name, profile.constant(name, code)) for name in domain.columns if name not in positions]
    constants = {name: constant for name, constant in lacking if constant is not None}
    given = {*positions, *constants} | ({f"{code}ORRESU"} if profile.units else set())
    if missing := [name for name in domain.required if name not in given]:
        raise DeliveryRejected("COLUMN_MISSING", f"Required columns are missing: {', '.join(missing)}.")
    free = {i for name, i in positions.items() if name in domain.free_text}
    free |= set(range(len(header))) - {i for i, _ in read}
    return Plan(positions, constants, frozenset(free))


def _repeats(names: list[str]) -> bool:
    return max(Counter(names).values(), default=1) > 1
