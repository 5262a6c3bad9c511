"""Damage: what goes wrong with whole files, and what must become of each.

Belongs here: files cut off or written by mistake, removals, corrections that come late or in the wrong order. Does
not: slips in single rows (slips, dirt).

Every damaged file stands beside the site's good one. The names sort so that the good one is received first; what must
come before or after another says so by a number in its name or in its manifest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from math import ceil
from pathlib import Path
from random import Random

from msc_pipeline.manifests import SUFFIX
from msc_pipeline.profiles import Profile
from msc_pipeline.sample.dialects import Column, Row
from msc_pipeline.sample.dirt import Bench
from msc_pipeline.sample.formats import format_of
from msc_pipeline.sample.sending import Line, Outbox
from msc_pipeline.sample.simulation import Fact
from msc_pipeline.study import Study

LATER = ".later"
"""Folder of a site for the file that comes after the first run, under a name used before. Dot folders are not read."""

CUT_CODES = {
    "csv": "TRUNCATED", "redcap": "TRUNCATED", "xlsx": "CORRUPT", "xpt": "TRUNCATED",
    "dataset-json": "TRUNCATED", "parquet": "TRUNCATED",
}  # fmt: skip
"""Format → the code of a file of which the second half is missing."""

TEXT = ("csv", "redcap")


@dataclass(frozen=True)
class Site:
    """One export of one site, and the means to send it again."""

    outbox: Outbox
    bench: Bench

    @property
    def profile(self) -> Profile:
        """How the site writes this domain."""
        return self.outbox.study.profile(self.bench.site, self.bench.domain)

    @property
    def kind(self) -> str:
        """The format of the site's files."""
        return format_of(self.profile, self.outbox.dialect(self.bench.site).suffix(self.bench.domain))

    @property
    def plain(self) -> bool:
        """Whether the site sends delimited text that is not packed."""
        return self.kind in TEXT and not self.bench.file.endswith(".gz")

    def send(
        self,
        tag: str,
        rows: Iterable[Row | Line],
        *,
        profile: Profile | None = None,
        extra: tuple[Column, ...] = (),
        folder: str = "",
    ) -> Path:
        """Write one more file of this export."""
        b = self.bench
        name = folder + self.outbox.name(b.site, b.domain, tag)
        return self.outbox.send(b.site, b.domain, b.columns, rows, name=name, profile=profile, extra=extra)

    def fact(self, path: Path, fault: str, rule: str, expected: str, column: str = "") -> Fact:
        """Return the truth about one file."""
        return Fact(f"{self.bench.site}/{path.name}", "", column, fault, rule, expected)

    @property
    def plain_numbers(self) -> list[int]:
        """Rows whose result is a number that may be changed: no slip, and no planted case depends on it."""
        b = self.bench
        at, who = b.columns.index(f"{b.domain}ORRES"), b.columns.index("USUBJID")
        return [
            i
            for i, row in enumerate(b.rows)
            if i not in b.slots and _is_number(row[at]) and row[who] not in b.kept
        ]

    def changed(self, random: Random, by: int) -> tuple[list[Row], str]:
        """Return the rows with one result changed by `by` units of its last digit, and the column."""
        b = self.bench
        at = b.columns.index(f"{b.domain}ORRES")
        i = random.choice(self.plain_numbers)
        number = Decimal(b.rows[i][at])
        exponent = number.as_tuple().exponent
        step = Decimal(1).scaleb(exponent if isinstance(exponent, int) else 0)
        row = (*b.rows[i][:at], f"{number + step * by:f}", *b.rows[i][at + 1 :])
        return [*b.rows[:i], row, *b.rows[i + 1 :]], f"{b.domain}ORRES"


def _is_number(cell: str) -> bool:
    return cell.replace(".", "", 1).isdigit()


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _declare(path: Path, **manifest: object) -> None:
    path.with_name(path.name + SUFFIX).write_text(json.dumps(manifest), encoding="utf-8")


def _truncate(path: Path, size: int) -> None:
    data = path.read_bytes()[:size]
    path.write_bytes(data)


def _cut(site: Site, random: Random) -> list[Fact]:
    """Half a file: the transfer broke off inside a row."""
    path = site.send("_cut", site.bench.rows)
    size = path.stat().st_size // 4 * 2
    data = path.read_bytes()
    while size > 2 and b"\n" in data[size - 2 : size]:
        size -= 2
    _truncate(path, size)
    return [site.fact(path, "half a file", CUT_CODES[site.kind], "rejected")]


def _cut_at_line_end(site: Site, random: Random) -> list[Fact]:
    """Half a file whose last line is whole: only what the manifest declares tells it from a good one."""
    by_hash = site.send("_partial", site.bench.rows)
    _declare(by_hash, sha256=_sha256(by_hash), rows=len(site.bench.rows))
    by_rows = site.send("_partly", site.bench.rows)
    _declare(by_rows, rows=len(site.bench.rows))
    for path in (by_hash, by_rows):
        data = path.read_bytes()
        mark = "\n".encode("utf-16-le") if site.profile.encoding == "utf-16" else b"\n"
        end = data.rfind(mark, 0, len(data) // 2)
        end += (end % len(mark)) + len(mark)
        _truncate(path, end)
    return [
        site.fact(by_hash, "file cut at a line's end, hash declared", "SHA_MISMATCH", "rejected"),
        site.fact(by_rows, "file cut at a line's end, rows declared", "COUNT_MISMATCH", "rejected"),
    ]


def _extra_column(site: Site, random: Random) -> list[Fact]:
    path = site.send("_extended", site.bench.rows, extra=(Column("KITNO", (), "K-1042"),))
    return [site.fact(path, "column that nobody declared", "COLUMN_UNKNOWN", "rejected", "KITNO")]


def _wrong_delimiter(site: Site, random: Random) -> list[Fact]:
    other = ";" if site.profile.delimiter in ",\t|" else ","
    profile = site.profile.model_copy(update={"delimiter": other, "decimal_mark": "."})
    path = site.send("_exported", site.bench.rows, profile=profile)
    return [site.fact(path, "wrong delimiter", "DELIMITER", "rejected")]


def _wrong_encoding(site: Site, random: Random) -> list[Fact]:
    profile = site.profile.model_copy(update={"encoding": "utf-16"})
    path = site.send("_unicode", site.bench.rows, profile=profile)
    return [site.fact(path, "encoding that nobody declared", "ENCODING", "rejected")]


def _local_dates(site: Site, random: Random) -> list[Fact]:
    profile = site.profile.model_copy(update={"date_format": "DD/MM/YYYY HH:MI"})
    path = site.send("_localdates", site.bench.rows, profile=profile)
    return [site.fact(path, "local dates that nobody declared", "DATE_FORMAT", "rejected")]


def _copied(site: Site, random: Random) -> list[Fact]:
    path = site.send("_again", site.bench.lines())
    return [site.fact(path, "same file under another name", "", "accepted: a receipt, no delivery")]


def _removed(site: Site, random: Random) -> list[Fact]:
    """A resend that lacks more rows than a correction may remove."""
    share = site.outbox.study.domains[site.bench.domain].max_removed
    rows = site.bench.rows
    gone = set(random.sample(range(len(rows)), ceil(len(rows) * (float(share) + 0.04)) + 1))
    path = site.send("_removed", [row for i, row in enumerate(rows) if i not in gone])
    return [site.fact(path, "rows removed", "REMOVES", "held: earlier data stand")]


def _one_removed(site: Site, random: Random) -> list[Fact]:
    """A resend that lacks one row of a domain of which no row may go."""
    gone = random.randrange(len(site.bench.rows))
    path = site.send("_removed", [row for i, row in enumerate(site.bench.rows) if i != gone])
    return [site.fact(path, "adverse event removed", "REMOVES", "held: earlier data stand")]


def _subject_removed(site: Site, random: Random) -> list[Fact]:
    at = site.bench.columns.index("USUBJID")
    who = random.choice(sorted({row[at] for row in site.bench.rows}))
    path = site.send("_removed", [row for row in site.bench.rows if row[at] != who])
    return [site.fact(path, "subject removed", "REMOVES", "held: earlier data stand")]


def _out_of_order(site: Site, random: Random) -> list[Fact]:
    """Two corrections, of which the later one, by the number in its name, is received first."""
    rows, column = site.changed(random, 2)
    newest = site.send("_final_v3", rows)
    rows, _ = site.changed(random, 1)
    older = site.send("_interim_v2", rows)
    return [
        site.fact(newest, "correction received early", "", "accepted: in force", column),
        site.fact(older, "older correction received late", "", "accepted: superseded", column),
    ]


def _declared_order(site: Site, random: Random) -> list[Fact]:
    """The same, but their manifests tell the order."""
    facts = []
    for tag, sequence, fault, expected in (
        ("_amended", 8, "correction received early, order declared", "accepted: in force"),
        ("_belated", 7, "older correction received late, order declared", "accepted: superseded"),
    ):
        rows, column = site.changed(random, sequence - 6)
        path = site.send(tag, rows)
        _declare(path, sha256=_sha256(path), rows=len(rows), sequence=sequence)
        facts.append(site.fact(path, fault, "", expected, column))
    return facts


def _same_name(site: Site, random: Random) -> list[Fact]:
    """A correction under the name of the first file; it lies aside, since a folder holds a name once."""
    rows, column = site.changed(random, 1)
    path = site.send("", replace(site.bench, rows=rows).lines(), folder=f"{LATER}/")
    file = f"{site.bench.site}/{LATER}/{path.name}"
    return [Fact(file, "", column, "same name, new content", "", "accepted: a correction, once moved up")]


@dataclass(frozen=True)
class Damaged:
    """One kind of damage: what does it, to which exports, and whether the export may have slips, too."""

    make: Callable[[Site, Random], list[Fact]]
    fits: Callable[[Site, Study], bool]
    corrects: bool = False


def _has_results(site: Site) -> bool:
    return f"{site.bench.domain}ORRES" in site.bench.columns and len(site.bench.rows) > 20


def _numbers(site: Site, study: Study) -> bool:
    """Whether the export holds results that are numbers, and one that may be corrected."""
    return site.bench.domain in ("LB", "VS") and _has_results(site) and bool(site.plain_numbers)


DAMAGES = (
    Damaged(_cut, lambda site, _: len(site.bench.rows) > 4),
    Damaged(_cut_at_line_end, lambda site, _: site.plain and len(site.bench.rows) > 8),
    Damaged(_extra_column, lambda site, _: bool(site.bench.rows)),
    Damaged(_wrong_delimiter, lambda site, _: site.kind == "csv" and site.plain and bool(site.bench.rows)),
    Damaged(
        _wrong_encoding,
        lambda site, _: site.plain and site.profile.encoding == "utf-8-sig" and bool(site.bench.rows),
    ),
    Damaged(
        _local_dates,
        lambda site, _: site.plain
        and site.profile.date_format == "iso"
        and site.bench.domain in ("VS", "SV", "LB"),
    ),
    Damaged(_removed, _numbers),
    Damaged(
        _one_removed,
        lambda site, study: study.domains[site.bench.domain].hold_removed_rows and len(site.bench.rows) > 2,
    ),
    Damaged(_subject_removed, lambda site, _: site.bench.domain == "DM" and len(site.bench.rows) > 1),
    Damaged(_copied, lambda site, _: len(site.bench.rows) > 2),
    Damaged(_out_of_order, lambda site, study: _numbers(site, study) and _sequenced(site, study), corrects=True),
    Damaged(_declared_order, _numbers, corrects=True),
    Damaged(_same_name, _numbers),
)  # fmt: skip


def _sequenced(site: Site, study: Study) -> bool:
    return bool(study.profile(site.bench.site).sequence)


def correcting(sites: Sequence[Site], share: float, random: Random) -> dict[tuple[str, str], Damaged]:
    """Choose the exports that are corrected: (site, domain) → how. They get no slips, the correction replaces all."""
    chosen: dict[tuple[str, str], Damaged] = {}
    for damage in (d for d in DAMAGES if d.corrects):
        fitting = [s for s in sites if damage.fits(s, s.outbox.study) and _key(s) not in chosen]
        number = max(1, round(share * len(fitting) / 8))
        for site in random.sample(fitting, min(number, len(fitting))):
            chosen[_key(site)] = damage
    return chosen


def damage(
    sites: Sequence[Site], chosen: dict[tuple[str, str], Damaged], share: float, random: Random
) -> list[Fact]:
    """Write the damaged files: each kind at `share` of the exports it fits, and at one at the least."""
    facts: list[Fact] = []
    for site in sites:
        if _key(site) in chosen:
            facts += chosen[_key(site)].make(site, random)
    for one in (d for d in DAMAGES if not d.corrects):
        fitting = [s for s in sites if one.fits(s, s.outbox.study) and _key(s) not in chosen]
        number = min(len(fitting), max(1, round(share * len(fitting))))
        for site in random.sample(fitting, number):
            facts += one.make(site, random)
    return facts


def _key(site: Site) -> tuple[str, str]:
    return site.bench.site, site.bench.domain
