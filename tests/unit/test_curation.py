"""Curation: which parts are made again, from which rows, and what stops it."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from msc_pipeline import curation, models, pipeline, storage
from msc_pipeline import ledger as book
from msc_pipeline.curation import stale_sites
from msc_pipeline.errors import IntegrityError, TransientError
from msc_pipeline.ledger import Ledger
from msc_pipeline.publishing import pointed
from tiny_trial import STUDY, TinyTrial, ae, lb, sv

Parts = dict[tuple[str, str], str]


def made(trial: TinyTrial) -> Parts:
    """Return (site, table) → path of the part in force."""
    return {(c["site"], c["table"]): c["path"] for c in trial.known("curated")}


def stamps(trial: TinyTrial) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in trial.settings.home.rglob("*.parquet")}


def changed(before: Parts, after: Parts, site: str) -> set[str]:
    return {
        table for where, table in after if where == site and before.get((site, table)) != after[site, table]
    }


@pytest.mark.requirement("ALL-06")
def test_only_the_parts_of_a_site_that_changed_are_made_again(published: TinyTrial) -> None:
    before, files = made(published), stamps(published)
    published.send("XA", "AE", [ae("XA", n, AETERM="Nausea") for n in (1, 2, 3)], name="ae_XA_v2.csv")
    assert published.run()["new"] is True
    after = made(published)
    assert changed(before, after, "XB") == set()
    assert changed(before, after, "XA") == {table for site, table in after if site == "XA"}
    assert {path: stamp for path, stamp in stamps(published).items() if path in files} == files


def test_without_news_nothing_is_made_and_the_release_stays(published: TinyTrial) -> None:
    before, files = made(published), stamps(published)
    name = pointed(published.settings.home / STUDY / "releases")
    report = published.run()
    assert (report["release"], report["new"], report["deliveries"]) == (name, False, [])
    assert made(published) == before
    assert stamps(published) == files
    assert pipeline.news(STUDY, published.settings) == {"changed": False}


def test_a_later_date_moves_only_the_models_of_other_sites_that_read_it(published: TinyTrial) -> None:
    before = made(published)
    visits = [sv("XA", n, v) for n in (1, 2, 3) for v in (1, 2)]
    late = sv("XA", 1, VISITNUM="2.1", VISIT="UNSCHEDULED 2.1", SVSTDTC="2025-03-10", SVENDTC="2025-03-10")
    published.send("XA", "SV", [*visits, late], name="sv_XA_v2.csv")
    published.run()
    read = set[str]()
    for model in models.load_models(published.settings.project, "curated"):
        if "as_of" in model.sql or read & set(model.inputs):
            read.add(model.name)
    assert read
    assert changed(before, made(published), "XB") == read


@pytest.mark.parametrize("kind", ["accepted", "held", "curated"])
def test_a_damaged_part_stops_the_build_and_current_stays(published: TinyTrial, kind: str) -> None:
    releases = published.settings.home / STUDY / "releases"
    before = pointed(releases)
    used = {h["path"] for h in published.known("heads")} | {c["path"] for c in published.known("curated")}
    used |= {h["path"] for h in published.known("holds")}
    file = next(file for path, file in published.parts(kind).items() if path in used and "/XB" not in path)
    file.chmod(0o644)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    site = "XA" if kind == "accepted" else "XB"
    published.send(site, "AE", [ae(site, n, AETERM="Nausea") for n in (1, 2, 3)], name="ae_v2.csv")
    with pytest.raises(IntegrityError, match="INTEGRITY"):
        published.run()
    assert pointed(releases) == before


def test_a_row_sent_twice_is_curated_once_with_its_correction_restated(released: TinyTrial) -> None:
    rows = released.rows(
        "select AVAL::varchar as AVAL, LBSEQ, SRC_ROW from curated.adlb"
        " where USUBJID = 'TINY01-XA-001' and ADT = '2025-03-01'"
    )
    assert rows == [{"AVAL": "25.00000000", "LBSEQ": 1, "SRC_ROW": 2}]
    changes = released.rows("select USUBJID, VARIABLE, OLD, NEW from (select *, split_part(ROW_KEY, ';', 1)"
                            " as USUBJID from curated.restatements)")  # fmt: skip
    assert changes == [{"USUBJID": "USUBJID=TINY01-XA-001", "VARIABLE": "LBORRES", "OLD": "22", "NEW": "25"}]


@pytest.mark.requirement("ALL-06")
def test_a_quarantined_correction_shows_in_curated_tables_as_pending(released: TinyTrial) -> None:
    pending = released.rows("select USUBJID, PARAMCD, AVALC from curated.adlb where PENDFL = 'Y'")
    assert pending == [{"USUBJID": "TINY01-XA-003", "PARAMCD": "HGB", "AVALC": "12.5"}]


def test_a_site_whose_every_file_is_rejected_is_curated_and_counted(published: TinyTrial) -> None:
    published.send("XC", "LB", [lb("XC", 1)], sha256="0" * 64)
    report = published.run()
    assert published.status(report)["lb_XC.csv"] == ("REJECTED", "SHA_MISMATCH")
    assert published.rows(
        "select DOMAIN, DELIVERIES_REJECTED as n from curated.data_quality where SITEID = 'XC'"
    ) == [{"DOMAIN": "LB", "n": 1}]
    assert stale_sites(published.study, published.settings) == []
    assert published.rows("select 1 from curated.adlb where SITEID = 'XC'") == []


def test_a_curation_that_is_repeated_makes_nothing(published: TinyTrial) -> None:
    files = stamps(published)
    assert pipeline.curate(STUDY, "XA", published.settings) == {"site": "XA", "tables": 0, "rows": 0}
    assert stamps(published) == files


def test_a_site_that_another_process_curates_meanwhile_is_looked_at_again(
    published: TinyTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    published.send("XA", "AE", [ae("XA", n, AETERM="Nausea") for n in (1, 2, 3)], name="ae_v2.csv")
    published.decide()
    pipeline.hold(STUDY, published.settings)
    seen: list[str] = []

    def overtake(step: str) -> None:
        if step == "curated":
            seen.append(step)
            with Ledger(published.settings.ledger).write() as connection:
                mine = sa.update(book.curated).where(book.curated.c.site == "XA")
                connection.execute(mine.values(inputs=f"made by another {len(seen)}"))

    with monkeypatch.context() as patch:
        patch.setattr(curation, "TRIES", 2)
        patch.setattr(storage, "on_mark", overtake)
        with pytest.raises(TransientError, match="RACE: site XA"):
            pipeline.curate(STUDY, "XA", published.settings)
    assert len(seen) == 2
    assert pipeline.curate(STUDY, "XA", published.settings)["tables"] > 0
    assert stale_sites(published.study, published.settings) == []
