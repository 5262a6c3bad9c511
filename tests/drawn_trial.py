"""The simulated trial of a study as rows by domain, without files."""

from __future__ import annotations

from collections import defaultdict

from msc_pipeline.sample import load_spec
from msc_pipeline.sample.simulation import simulated_exports
from msc_pipeline.sample.spec import SimulatedSpec
from msc_pipeline.settings import PROJECT
from msc_pipeline.study import Study

STUDY = "misle"
Rows = dict[str, list[dict[str, str]]]


def simulated(study: Study) -> SimulatedSpec:
    """Return the study's sample, which is a simulated one."""
    spec = load_spec(study, PROJECT)
    assert isinstance(spec, SimulatedSpec)
    return spec


def drawn(study: Study, spec: SimulatedSpec, *domains: str, **options: int) -> Rows:
    """Return the rows of these domains, or of all, with every cell as text."""
    columns = {domain: spec.domains[domain] for domain in domains or spec.domains}
    rows: Rows = defaultdict(list)
    for export in simulated_exports(study, spec.simulated, columns, **options):
        rows[export.domain] += [dict(zip(export.columns, row, strict=True)) for row in export.rows]
    return rows
