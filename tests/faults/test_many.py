"""Very many small files in one landing folder. MSC_FILES is how many (60 when not set); the bar is 10,000."""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path

import pytest

from tiny_trial import TinyTrial, cm, dm, make_trial, trust_own_scan

FILES = int(os.environ.get("MSC_FILES", "60"))
MANY = FILES > 1000
SUBJECTS = 900


def peak_mb() -> int:
    """Return the most memory this process has ever held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def many(folder: Path, files: int) -> TinyTrial:
    """Return a trial to which one site sent `files` small files that add rows, and one of demographics."""
    trial = make_trial(folder)
    trial.send("XA", "DM", [dm("XA", n % 80, SUBJID=f"{n:03d}") | {"USUBJID": f"TINY01-XA-{n:03d}"}
                            for n in range(1, SUBJECTS + 1)])  # fmt: skip
    for n in range(files):
        rows = [cm("XA", n % SUBJECTS + 1, n // SUBJECTS * 3 + seq) for seq in (1, 2, 3)]
        trial.send("XA", "CM", rows, name=f"cm_{n:05d}.csv")
    return trial


def test_many_small_files_are_all_taken_in_bounded_memory_and_the_second_run_is_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not MANY:  # with 10,000 Great Expectations judges as it does for users
        trust_own_scan(monkeypatch)
    many(tmp_path / "few", 20).run()
    before, trial = peak_mb(), many(tmp_path / "many", FILES)
    started = time.monotonic()
    report = trial.run()
    first = time.monotonic() - started
    assert {d["status"] for d in report["deliveries"]} == {"ACCEPTED"}
    assert len(report["deliveries"]) == len(trial.known("receipts")) == FILES + 1
    assert trial.rows("select count(*) as n from curated.adcm") == [{"n": FILES * 3}]
    started = time.monotonic()
    assert not trial.run()["new"]
    second = time.monotonic() - started
    grown = peak_mb() - before
    print(
        f"{FILES} files: {FILES / first * 60:.0f} a minute, second run {second / first:.1%}, {grown} MB more"
    )
    assert second <= 0.05 * first
    assert grown < (600 if MANY else 150)
    trial.send("XA", "CM", [cm("XA", 1, 99_999)], name="cm_late.csv")
    started = time.monotonic()
    trial.run()
    assert time.monotonic() - started < 0.5 * first, "one more file is not as much work as all of them"
