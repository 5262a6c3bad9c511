"""A few days of a tiny trial: good files, corrections, a held, two rejected and two partial deliveries.

Belongs here: what sites send. Does not: what becomes of it (the tests).
"""

from __future__ import annotations

from msc_pipeline.settings import Settings
from tiny_trial import STUDY, TinyTrial, ae, cm, csv_text, dm, ex, lb, sv


def short_story(trial: TinyTrial) -> dict[str, str]:
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
    trial.send("XC", "EX", csv_text([ex("XC", n) for n in people])[:-7], sequence=7)
    return {
        "dm_XA.csv": "ACCEPTED", "lb_XA_v1.csv": "ACCEPTED", "lb_XA_v2.csv": "PARTIAL",
        "ae_XA_v1.csv": "ACCEPTED", "ae_XA_v2.csv": "HELD", "dm_XC.csv": "ACCEPTED", "ex_XC.csv": "REJECTED",
    }  # fmt: skip


def long_story(trial: TinyTrial) -> dict[str, str]:
    """Send the short story, and more domains, sites and faults; return file → the status it must have."""
    people = range(1, 4)
    trial.send("XA", "EX", [ex("XA", n) for n in range(1, 7)])
    trial.send("XA", "SV", [sv("XA", n, v) for n in range(1, 7) for v in (1, 2)])
    trial.send("XA", "CM", [cm("XA", n) for n in people], name="cm_XA_v1.csv")
    trial.send("XA", "CM", [cm("XA", 1, CMTRT="PREDNISOLONE"), cm("XA", 2, 2)], name="cm_XA_v2.csv")
    trial.send("XA", "DM", [dm("XA", n, AGE="44") for n in range(1, 7)], name="dm_XA_v2.csv")
    trial.send("XB", "DM", [dm("XB", n) for n in people])
    trial.send("XB", "EX", [ex("XB", n, EXSTDTC="2025-02-30" if n == 0 else "2025-03-01") for n in people])
    rows = [lb("XB", n, s) for n in people for s in (1, 2, 3)]
    rows[4] = {**rows[4], "LBORRES": "about 12"}
    trial.send("XB", "LB", rows)
    trial.send("XB", "AE", [ae("XB", 1, ARM="1")])
    trial.send("XB", "CM", [cm("XB", 1)], name="medication.csv")
    more = {
        "ex_XA.csv": "ACCEPTED", "sv_XA.csv": "ACCEPTED", "cm_XA_v1.csv": "ACCEPTED",
        "cm_XA_v2.csv": "ACCEPTED", "dm_XA_v2.csv": "ACCEPTED", "dm_XB.csv": "ACCEPTED",
        "ex_XB.csv": "ACCEPTED", "lb_XB.csv": "PARTIAL", "ae_XB.csv": "REJECTED", "medication.csv": "REJECTED",
    }  # fmt: skip
    return short_story(trial) | more


def copied(trial: TinyTrial, name: str, **changes: object) -> TinyTrial:
    """Return a trial beside `trial`, with its own home and landing, that nobody has sent anything to yet."""
    beside = trial.settings.home.parent / name
    places = {"home": beside / "home", "landing": beside / "landing"}
    return TinyTrial(Settings(**{**_fields(trial.settings), **places, **changes}))


def _fields(settings: Settings) -> dict[str, object]:
    return {"project": settings.project, "threads": settings.threads}


__all__ = ["STUDY", "copied", "long_story", "short_story"]
