"""What a proposal is made of: fields of a profile, and questions for a person.

Belongs here: the shape, and what may be shown of a file. Does not: finding anything out.

A proposal never holds a subject id, a result, a date or free text: only names of columns that look like names, and
values of coded columns (units, test codes, visits and the like).
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from msc_pipeline.study import Study

MOST_VALUES = 60
LONGEST_VALUE = 40
_NAME = re.compile(r"[^\W\d][\w .,:()/%#\[\]-]{0,39}")
_NUMBER = re.compile(r"\d{3}")


@dataclass(frozen=True, slots=True)
class Question:
    """One thing the file cannot say. column: position from 1, or 0; choices: what it may be, where known."""

    code: str
    says: str
    column: int = 0
    choices: tuple[str, ...] = ()


@dataclass(slots=True)
class Column:
    """One column as sent: position from 0, name, cells that differ with their counts.

    standard, also: the standard names it stands for, once known.
    """

    at: int
    name: str
    cells: Counter[str] = field(default_factory=Counter)
    standard: str = ""
    also: str = ""

    @property
    def shown(self) -> str:
        """Return how to speak of the column: by its name only when that cannot be a cell."""
        looks = _NAME.fullmatch(self.name) and not _NUMBER.search(self.name)
        return f"column {self.at + 1} ({self.name})" if looks else f"column {self.at + 1}"

    @property
    def subject(self) -> str:
        """Return the same, to begin a sentence with."""
        return self.shown.replace("column", "Column", 1)


@dataclass(slots=True)
class Proposal:
    """What is proposed for one file. fields: of Profile, those that are not the default or are worth seeing."""

    file: str
    domain: str
    rows: int = 0
    fields: dict[str, Any] = field(default_factory=dict)
    questions: list[Question] = field(default_factory=list)

    def ask(self, code: str, says: str, column: Column | None = None, choices: tuple[str, ...] = ()) -> None:
        """Add a question."""
        self.questions.append(Question(code, says, column.at + 1 if column else 0, choices))


def showable(values: list[str], study: Study | None) -> str:
    """Return codes as text for a question; only their number when they may be anything else than codes."""
    pattern = re.compile(study.subject_pattern) if study else None
    codes = [v for v in values if len(v) <= LONGEST_VALUE and v.isprintable()]
    if (
        len(values) > MOST_VALUES
        or len(codes) < len(values)
        or any(pattern and pattern.match(v) for v in codes)
    ):
        return f"{len(values)} different values"
    return ", ".join(sorted(codes))
