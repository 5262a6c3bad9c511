"""A simulated trial: subjects drawn one by one from the numbers of sample.yaml, and what is planted in them.

Belongs here: everything random about a sample. Does not: writing files (writing), any study, term or number.
"""

from __future__ import annotations

from msc_pipeline.sample.simulation.exports import DOMAINS, SiteExport, arms, simulated_exports
from msc_pipeline.sample.simulation.model import Simulated
from msc_pipeline.sample.simulation.planted import Fact
from msc_pipeline.sample.simulation.truth import facts

__all__ = ["DOMAINS", "Fact", "Simulated", "SiteExport", "arms", "facts", "simulated_exports"]
