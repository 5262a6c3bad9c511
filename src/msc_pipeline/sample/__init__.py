"""Sample exports: a public study's data, written as its sites would send them, with the arm kept apart.

Belongs here: reading a study's sample.yaml and its source package, the per-site CSV files, the closed list,
and the planted bad files of a demonstration. Does not: any study by name (studies/<id>/sample.yaml).
"""

from __future__ import annotations

from msc_pipeline.sample.planting import PlantedFile
from msc_pipeline.sample.report import DomainCount, SampleReport
from msc_pipeline.sample.source import read_sources
from msc_pipeline.sample.spec import SampleSpec, load_spec
from msc_pipeline.sample.writing import write_sample

__all__ = [
    "DomainCount",
    "PlantedFile",
    "SampleReport",
    "SampleSpec",
    "load_spec",
    "read_sources",
    "write_sample",
]
