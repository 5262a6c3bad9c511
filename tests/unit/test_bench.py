"""The benchmark of one file measures what it says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from msc_pipeline import bench
from msc_pipeline.study import Study, load_study

PROJECT = Path(__file__).parents[2]
HEADER = "STUDYID,USUBJID,LBSEQ,LBTESTCD,LBORRES,LBORRESU,VISITNUM,VISIT,LBDTC\n"


def small_sample(study: Study, landing: Path, **_: Any) -> None:
    """Write three lab rows of one site and two of another."""
    for site, rows in (("701", 3), ("702", 2)):
        folder = landing / study.id / site
        folder.mkdir(parents=True)
        cells = f"CDISCPILOT01,01-{site}-1001,%d,ALT,20,U/L,1,SCREENING 1,2014-01-01\n"
        (folder / f"lb_{site}.csv").write_text(HEADER + "".join(cells % n for n in range(rows)))


def test_one_file_of_all_sites_lab_rows_is_staged_and_copied_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "write_sample", small_sample)
    study = load_study("cdiscpilot01", PROJECT)
    _, staged, copied, ratio = bench.run_file_bench(study, 1, tmp_path / "bench", repeats=1)
    assert staged["status"] == "STAGED"
    assert staged["rows"] == copied["rows"] == 5
    assert ratio["what"] == "ratio of medians"
