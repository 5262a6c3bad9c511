"""Landing whatever a site puts into its folder: each file once, byte for byte, or refused, and nothing lost."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from fuzzing import fuzz
from msc_pipeline.landing import land_site, waiting
from msc_pipeline.storage import sha256_of
from tiny_trial import STUDY, make_trial

STEMS = st.text(
    st.characters(exclude_characters="/\x00", exclude_categories=("Cs",)), min_size=1, max_size=12
)
NAMES = st.one_of(
    st.sampled_from(
        ["lb_1.csv", "LB_2.CSV", "ae_1.csv", "lb_1.csv.gz", "lb_1~2.csv", "lb_..csv", "x", "lb_\n.csv"]
    ),
    STEMS,
    STEMS.map(lambda stem: f"lb_{stem}.csv"),
)
FILES = st.lists(
    st.tuples(NAMES, st.sampled_from([b"", b"a", b"\x00", b"STUDYID\n"]) | st.binary(max_size=20)), max_size=6
)


def is_export(name: str) -> bool:
    return not (name.startswith(".") or name.lower().endswith(".part") or name.endswith(".manifest.json"))


@fuzz(10)
@given(rounds=st.lists(FILES, min_size=1, max_size=3))
def test_every_file_has_one_receipt_and_an_unchanged_copy(rounds: list[list[tuple[str, bytes]]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        trial = make_trial(Path(folder))
        site = trial.settings.landing / STUDY / "XA"
        site.mkdir(parents=True, exist_ok=True)
        sent: list[bytes] = []
        for files in rounds:
            contents = {name: data for name, data in files if is_export(name) and name not in (".", "..")}
            for name, data in contents.items():
                (site / name).write_bytes(data)
            land_site(trial.study, "XA", trial.settings)
            sent += contents.values()
            assert waiting(trial.study, "XA", trial.settings) == 0
        receipts = trial.known("receipts")
        raw = trial.settings.home / STUDY / "raw"
        kept = [(raw / receipt["sha256"]).read_bytes() for receipt in receipts]
        assert sorted(kept) == sorted(sent)
        assert all(sha256_of(raw / receipt["sha256"]) == receipt["sha256"] for receipt in receipts)
