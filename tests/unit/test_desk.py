"""The desk: checked parts and the rows in force, as relations that models read."""

from __future__ import annotations

import json
from typing import Any

import pytest

from msc_pipeline import cdisc, models
from msc_pipeline.desk import lay_out, open_desk
from msc_pipeline.errors import IntegrityError
from tiny_trial import TinyTrial


def heads(trial: TinyTrial) -> list[dict[str, Any]]:
    return [head for heads in open_desk(trial.study, trial.settings).heads.values() for head in heads]


def test_every_domain_is_there_with_its_columns_whether_a_study_collects_it_or_not(
    released: TinyTrial,
) -> None:
    desk = open_desk(released.study, released.settings)
    connection = models.connect(1)
    lay_out(connection, desk, heads(released))
    for domain in cdisc.DOMAINS:
        relation = connection.sql(f"select * from arrived.{domain.lower()}")
        for name in (*cdisc.columns(domain), "SITEID", "SRC_SHA256", "SRC_ROW", "KEY_HASH", "PENDFL"):
            assert name in relation.columns, (domain, name)
        assert bool(relation.fetchall()) == (domain in released.study.domains)
    assert connection.execute("select as_of from study.protocol").fetchall() == [(None,)]


def test_of_copies_of_a_row_the_first_counts(released: TinyTrial) -> None:
    connection = models.connect(1)
    lay_out(connection, open_desk(released.study, released.settings), heads(released))
    copies = "select SRC_ROW from arrived.lb where USUBJID = 'TINY01-XA-001' and LBORRES = '25'"
    assert connection.sql(copies).fetchall() == [(2,)]


def test_the_data_reach_the_latest_date_of_any_site(released: TinyTrial) -> None:
    desk = open_desk(released.study, released.settings)
    assert desk.as_of == "2025-03-08"
    connection = models.connect(1)
    lay_out(connection, desk, [], with_date=True)
    assert connection.execute("select as_of::varchar from study.protocol").fetchall() == [("2025-03-08",)]


def test_a_part_the_ledger_does_not_know_or_that_differs_is_not_read(published: TinyTrial) -> None:
    desk = open_desk(published.study, published.settings)
    with pytest.raises(IntegrityError, match="not in the ledger"):
        desk.part("tiny/accepted/LB/else.parquet")
    path, file = next(iter(published.parts("accepted").items()))
    file.chmod(0o644)
    file.write_bytes(b"")
    with pytest.raises(IntegrityError, match="differs from what was written"):
        desk.part(path)


def test_what_curation_counts_holds_no_id_and_no_order_of_arrival(released: TinyTrial) -> None:
    desk = open_desk(released.study, released.settings)
    fields = {"site", "domain", "sha256", "status", "rows_in", "accepted", "quarantined"}
    assert {frozenset(row) for rows in desk.decided.values() for row in rows} == {frozenset(fields)}
    assert [row["domain"] for row in desk.decided["XA"]] == ["AE", "CM", "DM", "EX", "LB", "LB", "SV"]
    assert desk.sites == ("XA", "XB")
    assert json.dumps(desk.judged["XA"]["heads"], sort_keys=True) == json.dumps(
        desk.heads["XA"], sort_keys=True
    )


def test_only_domains_that_a_study_collects_and_a_suite_judges_are_judged_across(released: TinyTrial) -> None:
    desk = open_desk(released.study, released.settings)
    assert {model.table.upper() for model in desk.cross} == set(released.study.domains)
