"""Safety: what a study's protocol says about judging safety, one module per topic, read from `safety` in study.yaml.

Belongs here: thresholds, criteria, lists of terms and rules as data. Does not: any derivation (sql/), any study by
name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import model_validator

from msc_pipeline.safety.activity import Activity
from msc_pipeline.safety.eligibility import Eligibility
from msc_pipeline.safety.events import Events
from msc_pipeline.safety.laboratory import Laboratory
from msc_pipeline.safety.liver import Liver
from msc_pipeline.safety.markers import Markers
from msc_pipeline.safety.shapes import Frozen
from msc_pipeline.safety.stopping import Stopping

if TYPE_CHECKING:
    import pyarrow as pa


class Safety(Frozen):
    """The topics; each may be left out, and its tables are then empty."""

    laboratory: Laboratory = Laboratory()
    liver: Liver = Liver()
    markers: Markers = Markers()
    eligibility: Eligibility = Eligibility()
    events: Events = Events()
    activity: Activity = Activity()
    stopping: Stopping = Stopping()

    @model_validator(mode="after")
    def _categories_known(self) -> Safety:
        known = {"", *(category.name for category in self.events.special_interest)}
        if unknown := sorted({rule.special_interest for rule in self.stopping.rules} - known):
            raise ValueError(f"stopping: special_interest names no category of events: {', '.join(unknown)}")
        return self

    def relations(self) -> dict[str, pa.Table]:
        """Return the tables of every topic by name."""
        topics = (
            self.laboratory,
            self.liver,
            self.markers,
            self.eligibility,
            self.events,
            self.activity,
            self.stopping,
        )
        return {name: table for topic in topics for name, table in topic.relations().items()}
