"""What two sites of a tiny trial send: good files, corrections, one that is held, one rejected, one partial.

Belongs here: what sites send. Does not: what becomes of it (the tests).
"""

from __future__ import annotations

import re
from pathlib import Path

import tiny_trial
from msc_pipeline.settings import Settings
from tiny_trial import STUDY, STUDY_YAML, TinyTrial, ae, csv_text, dm, ex, lb

SUITES = re.compile(r"suites: \[common/identity(.*)\]")


def make_trial(folder: Path) -> TinyTrial:
    """Lay out the tiny trial with the rules the stories need; the others take time and change nothing here."""
    return tiny_trial.make_trial(folder, SUITES.sub(_few, STUDY_YAML))


def _few(suites: re.Match[str]) -> str:
    return f"suites: [common/identity{', lab/structure' if 'lab/structure' in suites[1] else ''}]"


def story(trial: TinyTrial) -> dict[str, str]:
    """Send what a small site and a stricter one send on one day; return file → the status it must have."""
    people = range(1, 7)
    labs = [lb("XA", n, s) for n in people for s in (1, 2)]
    corrected = [{**row, "LBORRES": "39"} if row["USUBJID"].endswith("2") else row for row in labs]
    corrected[5] = {**corrected[5], "LBORRESU": "furlong"}
    trial.send("XA", "DM", [dm("XA", n) for n in people])
    trial.send("XA", "LB", labs, name="lb_XA_v1.csv")
    trial.send("XA", "LB", corrected, name="lb_XA_v2.csv")
    trial.send("XA", "AE", [ae("XA", 1), ae("XA", 2)], name="ae_XA_v1.csv")
    trial.send("XA", "AE", [ae("XA", 1)], name="ae_XA_v2.csv")
    trial.send("XC", "DM", [dm("XC", n) for n in people], sha256=True, sequence=7, extracted_at="2025-04-01")
    trial.send("XC", "EX", csv_text([ex("XC", n) for n in people])[:-7], sha256=True, sequence=7)
    return {
        "dm_XA.csv": "ACCEPTED", "lb_XA_v1.csv": "ACCEPTED", "lb_XA_v2.csv": "PARTIAL",
        "ae_XA_v1.csv": "ACCEPTED", "ae_XA_v2.csv": "HELD", "dm_XC.csv": "ACCEPTED", "ex_XC.csv": "REJECTED",
    }  # fmt: skip


def copied(trial: TinyTrial, name: str, **changes: object) -> TinyTrial:
    """Return a trial beside `trial`, with its own home and landing, that nobody has sent anything to yet."""
    beside = trial.settings.home.parent / name
    places = {"home": beside / "home", "landing": beside / "landing"}
    return TinyTrial(Settings(**{**_fields(trial.settings), **places, **changes}))


def _fields(settings: Settings) -> dict[str, object]:
    return {"project": settings.project, "threads": settings.threads}


__all__ = ["STUDY", "copied", "make_trial", "story"]
