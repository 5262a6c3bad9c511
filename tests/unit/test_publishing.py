"""Publishing: what a release is, when there is a new one, and which one CURRENT names."""

from __future__ import annotations

import shutil
import stat
from pathlib import Path
from typing import Any

import duckdb
import pytest

from msc_pipeline import gate, pipeline, storage
from msc_pipeline.errors import BlindingError, IntegrityError, PermanentError
from msc_pipeline.publishing import CURRENT, FILE, current, is_current, pointed, publish_release
from tiny_trial import STUDY, TinyTrial, ae


def releases(trial: TinyTrial) -> Path:
    return trial.settings.home / STUDY / "releases"


def news(trial: TinyTrial, term: str) -> None:
    trial.send("XA", "AE", [ae("XA", n, AETERM=term) for n in (1, 2, 3)], name=f"ae_{term}.csv")


def prepared(trial: TinyTrial, term: str = "Nausea") -> str:
    """Send news and make everything but the release; return the name CURRENT holds."""
    news(trial, term)
    trial.decide()
    for site in pipeline.hold(STUDY, trial.settings):
        pipeline.curate(STUDY, site, trial.settings)
    return pointed(releases(trial))


def test_a_release_is_one_file_that_nobody_may_write_with_no_log_beside_it(released: TinyTrial) -> None:
    file = current(STUDY, released.settings)
    assert file is not None
    assert [path.name for path in file.parent.iterdir()] == [FILE]
    assert stat.S_IMODE(file.stat().st_mode) == 0o444
    assert {path.name for path in releases(released).iterdir()} == {CURRENT, file.parent.name}


def test_every_table_and_column_carries_its_comment(released: TinyTrial) -> None:
    dictionary = gate.load_dictionary(released.settings.project)
    tables = released.rows(
        "select schema_name || '.' || table_name as name, comment from duckdb_tables() where not internal"
    )
    assert {row["name"]: row["comment"] for row in tables} == dictionary.labels
    columns = released.rows(
        "select schema_name || '.' || table_name as t, column_name as c, comment from duckdb_columns()"
        " where not internal"
    )
    assert {(r["t"], r["c"]): r["comment"] for r in columns} == {
        (table, entry.name): entry.comment
        for table, entries in dictionary.columns.items()
        for entry in entries
    }
    assert all(r["comment"] for r in columns)


def test_a_release_holds_tables_only_those_of_the_dictionary_in_its_order_and_types(
    released: TinyTrial,
) -> None:
    dictionary = gate.load_dictionary(released.settings.project)
    found: dict[str, list[tuple[str, str]]] = {}
    for row in released.rows(
        "select schema_name || '.' || table_name as t, column_name as c, data_type as k from duckdb_columns()"
        " where not internal order by table_name, column_index"
    ):
        found.setdefault(row["t"], []).append((row["c"], row["k"]))
    assert found == {t: [(e.name, e.type) for e in entries] for t, entries in dictionary.columns.items()}
    assert released.rows("select 1 from duckdb_views() where not internal") == []


def test_the_tables_for_operators_say_what_the_ledger_knows(released: TinyTrial) -> None:
    rows = released.rows(
        "select DELIVERY, SITEID, DOMAIN, STATUS, ROWS_IN, QUARANTINED from ops.deliveries order by 1"
    )
    known = released.known("deliveries")
    assert [tuple(r.values()) for r in rows] == [
        (d["id"], d["site"], d["domain"], d["status"], d["rows_in"], d["quarantined"]) for d in known
    ]
    assert len(released.rows("select 1 from ops.results")) == len(released.known("results"))
    assert [r["QUERY"] for r in released.rows("select QUERY from ops.queries order by 1")] == [
        q["id"] for q in released.known("queries")
    ]
    about = {r["NAME"]: r["VALUE"] for r in released.rows("select * from ops.about")}
    assert (about["study"], about["as_of"]) == (STUDY, "2025-03-08")
    assert about["config_hash"] == released.study.config_hash


def test_no_open_table_names_a_delivery_or_a_clock_outside_ops(released: TinyTrial) -> None:
    columns = released.rows(
        "select column_name as c from duckdb_columns() where schema_name in ('curated', 'dsmb') and not internal"
    )
    odd = {"DELIVERY", "RECEIVED_AT", "DECIDED_AT", "CREATED_AT", "FILE", "NAME"}
    assert not {r["c"].upper() for r in columns} & odd


def test_publishing_again_without_news_gives_the_same_release(published: TinyTrial) -> None:
    before = pointed(releases(published))
    assert is_current(published.study, published.settings)
    made = pipeline.publish(STUDY, published.settings)
    assert (made["release"], made["new"]) == (before, False)
    assert len(published.known("releases")) == 1
    assert (made["tables"], made["rows"]) == (
        published.known("releases")[0]["n_tables"], published.known("releases")[0]["n_rows"],
    )  # fmt: skip


def test_nothing_curated_is_nothing_to_publish(trial: TinyTrial) -> None:
    assert is_current(trial.study, trial.settings)
    with pytest.raises(PermanentError, match="NOTHING_CURATED"):
        publish_release(trial.study, trial.settings)
    assert current(STUDY, trial.settings) is None


def test_current_moves_forward_only(published: TinyTrial) -> None:
    pointer = releases(published) / CURRENT
    pointer.write_text("9999999-" + "0" * 16 + "\n")
    pipeline.publish(STUDY, published.settings)
    assert pointed(releases(published)) == "9999999-" + "0" * 16


@pytest.mark.parametrize("content", [b"\xff\xfe not a name", b"", b"../../elsewhere\n"])
def test_a_current_that_names_nothing_is_read_as_none_and_put_right(
    published: TinyTrial, content: bytes
) -> None:
    name = pointed(releases(published))
    (releases(published) / CURRENT).write_bytes(content)
    assert current(STUDY, published.settings) is None
    assert pipeline.news(STUDY, published.settings) == {"changed": True}
    pipeline.publish(STUDY, published.settings)
    assert pointed(releases(published)) == name


def test_a_kill_between_ledger_and_current_is_repaired_by_the_next_publish(
    published: TinyTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = prepared(published)

    class Kill(BaseException): ...

    def kill(step: str) -> None:
        if step == "release-recorded":
            raise Kill

    with monkeypatch.context() as patch:
        patch.setattr(storage, "on_mark", kill)
        with pytest.raises(Kill):
            pipeline.publish(STUDY, published.settings)
    recorded = published.known("releases")[-1]["name"]
    assert pointed(releases(published)) == before != recorded
    assert pipeline.news(STUDY, published.settings) == {"changed": True}
    made = pipeline.publish(STUDY, published.settings)
    assert (made["release"], made["new"]) == (recorded, False)
    assert pointed(releases(published)) == recorded
    assert len(published.known("releases")) == 2


def test_a_reader_keeps_the_release_it_opened(published: TinyTrial) -> None:
    before = prepared(published)
    terms = "select distinct AETERM from curated.adae where SITEID = 'XA'"
    with duckdb.connect(str(current(STUDY, published.settings)), read_only=True) as reader:
        made = pipeline.publish(STUDY, published.settings)
        assert made["new"]
        assert made["release"] > before
        assert reader.execute(terms).fetchall() == [("Headache",)]
    assert published.rows(terms) == [{"AETERM": "Nausea"}]
    assert (releases(published) / before / FILE).is_file()


def test_a_release_whose_file_is_gone_is_built_again_under_the_next_number(published: TinyTrial) -> None:
    name = pointed(releases(published))
    shutil.rmtree(releases(published) / name)
    made = pipeline.publish(STUDY, published.settings)
    assert made["new"]
    assert made["release"] == f"0000002-{name.partition('-')[2]}"


@pytest.mark.parametrize("fault", ["byte", "log"])
def test_a_release_that_is_not_what_was_built_stops_publishing(published: TinyTrial, fault: str) -> None:
    file = current(STUDY, published.settings)
    assert file is not None
    if fault == "log":
        file.with_name(f"{FILE}.wal").write_bytes(b"left behind")
    else:
        file.chmod(0o644)
        file.write_bytes(file.read_bytes()[:-1] + b"\x07")
    with pytest.raises(IntegrityError, match=f"release {file.parent.name} is not what was built"):
        pipeline.publish(STUDY, published.settings)


def test_a_release_that_cannot_be_built_leaves_no_file_and_current_as_it_was(
    published: TinyTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = prepared(published)

    def refuse(*_words: Any) -> None:
        raise BlindingError("OPEN_TABLE", "not in the dictionary: curated.other")

    with monkeypatch.context() as patch:
        patch.setattr(gate, "check", refuse)
        with pytest.raises(BlindingError):
            pipeline.publish(STUDY, published.settings)
    assert pointed(releases(published)) == before
    assert [path.parent.name for path in releases(published).rglob("*") if path.is_file()].count(before) == 1
    assert len(list(releases(published).rglob(f"{FILE}*"))) == 1
    assert len(published.known("releases")) == 1

    def leave_log(step: str) -> None:
        if step == "release-closed":
            for path in releases(published).rglob(f"{FILE}.*.tmp"):
                path.with_name(path.name + ".wal").write_bytes(b"log")

    with monkeypatch.context() as patch:
        patch.setattr(storage, "on_mark", leave_log)
        with pytest.raises(IntegrityError, match="write-ahead log"):
            pipeline.publish(STUDY, published.settings)
    assert pointed(releases(published)) == before
    assert pipeline.publish(STUDY, published.settings)["new"]


def test_a_new_word_of_the_blind_masks_what_is_already_there(published: TinyTrial) -> None:
    file = published.settings.project / "studies" / STUDY / "study.yaml"
    file.write_text(file.read_text().replace("words: [activex, ", "words: [headache, activex, "))
    assert published.run()["new"]
    assert {r["AETERM"] for r in published.rows("select AETERM from curated.adae")} == {"[masked]"}


def test_a_new_word_of_the_blind_that_nothing_masks_stops_the_release(published: TinyTrial) -> None:
    before = pointed(releases(published))
    file = published.settings.project / "studies" / STUDY / "study.yaml"
    file.write_text(file.read_text().replace("words: [activex, ", "words: [hemoglobin, activex, "))
    with pytest.raises(BlindingError, match=r"ARM_WORD: release.curated.adlb, column PARAM"):
        published.run()
    assert pointed(releases(published)) == before


def test_a_table_that_no_model_makes_any_more_leaves_the_release(published: TinyTrial) -> None:
    project = published.settings.project
    sql = (project / "sql").resolve()
    (project / "sql").unlink()
    shutil.copytree(sql, project / "sql")
    model, dictionary = (
        project / "sql" / "curated" / "spare.sql",
        project / "sql" / "reference" / "dictionary.csv",
    )
    lines = dictionary.read_text().splitlines(keepends=True)
    spare = [line.replace("admh", "spare", 1) for line in lines if line.startswith("curated.admh,")]
    model.write_text(
        (project / "sql" / "curated" / "admh.sql").read_text().replace("curated.admh", "curated.spare")
    )
    dictionary.write_text("".join(lines + spare))
    tables = "select table_name as t from duckdb_tables() where schema_name = 'curated'"
    assert published.run()["new"]
    assert {"admh", "spare"} <= {row["t"] for row in published.rows(tables)}
    model.unlink()
    dictionary.write_text("".join(lines))
    assert published.run()["new"]
    assert "admh" in (left := {row["t"] for row in published.rows(tables)})
    assert "spare" not in left
