"""Mess: a trial's exports with slips in their rows and damage to their files, and the truth about each.

Belongs here: the order of it all, and what stays clean. Does not: the faults (slips, damage), dealing them out (dirt).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from random import Random

from msc_pipeline.errors import ConfigError
from msc_pipeline.sample.damage import Site, correcting, damage
from msc_pipeline.sample.dialects import Row
from msc_pipeline.sample.dirt import Bench, Limits, deal, load_limits
from msc_pipeline.sample.formats import format_of
from msc_pipeline.sample.sending import Outbox
from msc_pipeline.sample.simulation import Fact, Simulated, SiteExport
from msc_pipeline.sample.slips import Place
from msc_pipeline.study import Study

LIMITED = "LB"
"""The domain whose slips ask which results are beyond belief."""


def send_messy(
    outbox: Outbox,
    simulated: Simulated,
    exports: Iterable[SiteExport],
    share: float,
    seed: int,
    project: Path,
) -> tuple[dict[str, int], list[Fact]]:
    """Write every export with `share` of what could be dirty; return good rows by domain, and the truth.

    Subjects in whom clinical cases are planted keep every row as it is. The same arguments give the same bytes.
    """
    random = Random(f"mess {seed}")  # noqa: S311 - a sample, no secret
    limits = load_limits(outbox.study, LIMITED, outbox.units, project)
    kept = frozenset(
        simulated.usubjid.format(site=case.site, number=case.number) for case in simulated.planted
    )
    benches = [_bench(outbox, simulated, export, limits, kept) for export in exports]
    sites = [Site(outbox, bench) for bench in benches]
    chosen = correcting(sites, share, random)
    deal([b for b in benches if (b.site, b.domain) not in chosen], share, random)
    counts: dict[str, int] = {}
    facts: list[Fact] = []
    for bench in benches:
        outbox.send(bench.site, bench.domain, bench.columns, bench.lines())
        counts[bench.domain] = counts.get(bench.domain, 0) + len(bench.rows)
        facts += bench.facts()
    return counts, facts + damage(sites, chosen, share, random)


def _bench(
    outbox: Outbox, simulated: Simulated, export: SiteExport, limits: Limits, kept: frozenset[str]
) -> Bench:
    site, domain = export.site, export.domain
    sent = [i for i, name in enumerate(export.columns) if name not in outbox.dialect(site).omit]
    rows: list[Row] = [
        tuple(row[i] for i in sent) for row in outbox.in_units(site, domain, export.columns, export.rows)
    ]
    suffix = outbox.dialect(site).suffix(domain)
    return Bench(
        site=site,
        domain=domain,
        columns=tuple(export.columns[i] for i in sent),
        rows=rows,
        file=f"{site}/{outbox.name(site, domain)}",
        first_row=outbox.first_row(site, domain),
        whole=format_of(outbox.study.profile(site, domain), suffix) == "csv",
        kept=kept,
        place=_place(outbox.study, simulated, site, limits),
    )


def _place(study: Study, simulated: Simulated, site: str, limits: Limits) -> Place:
    names = sorted(simulated.sites)
    other = names[(names.index(site) + 1) % len(names)]
    arm = next((arm.ARM for arm in study.arms if re.search(study.blinded, arm.ARM)), "")
    if not arm or other == site:
        raise ConfigError(
            "SAMPLE_INVALID", "a messy sample needs two sites, and an arm that the blind covers"
        )
    return Place(
        arm=arm,
        other_subject=simulated.usubjid.format(site=other, number=1),
        unknown_subject=simulated.usubjid.format(site=site, number=simulated.subject_step - 1),
        last_year=int(study.last_plausible_date[:4]),
        beyond=limits.beyond,
    )
