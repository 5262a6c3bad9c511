"""Findings: a query opens, is seen again, and closes by itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from msc_pipeline import findings, ledger
from msc_pipeline.ledger import Ledger
from tiny_trial import FEW_RULES, STUDY, TinyTrial, cm, csv_text, lb, make_trial, trust_own_scan


@pytest.fixture(autouse=True, scope="module")
def _quick() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        trust_own_scan(patch)
        yield


@pytest.fixture
def trial(tmp_path: Path) -> TinyTrial:
    return make_trial(tmp_path, FEW_RULES)


def send(trial: TinyTrial, name: str, domain: str, rows: Any) -> dict[str, tuple[str, str | None]]:
    trial.send("XA", domain, rows, name=name)
    return trial.decide()


def labs(**first: str) -> list[dict[str, str]]:
    rows = [lb("XA", number, seq) for number in (1, 2, 3) for seq in (1, 2)]
    return [{**rows[0], **first}, *rows[1:]]


def test_a_query_opens_is_seen_again_closes_by_itself_and_opens_anew(trial: TinyTrial) -> None:
    send(trial, "lb_v1.csv", "LB", labs(VISIT=""))
    (opened,) = trial.known("queries")
    assert (opened["rule_id"], opened["severity"], opened["n_rows"]) == ("LB-016", "warning", 1)

    send(trial, "lb_v2.csv", "LB", labs(VISIT="", LBORRES="31"))
    (again,) = trial.known("queries")
    assert again["id"] == opened["id"]
    assert again["closed_at"] is None
    assert again["last_seen_at"] > opened["last_seen_at"]

    send(trial, "lb_v3.csv", "LB", labs())
    assert trial.open_queries() == []
    assert trial.open_queries(closed=True) == [("XA", "LB", "LB-016")]

    send(trial, "lb_v4.csv", "LB", labs(VISIT="", LBORRES="32"))
    assert [q["closed_at"] is None for q in trial.known("queries")] == [False, True]


def test_a_query_names_no_subject_and_no_value(trial: TinyTrial) -> None:
    send(trial, "lb_v1.csv", "LB", labs(LBORRES="marker-4711"))
    (query,) = trial.known("queries")
    assert query["rule_id"] == "LB-009"
    assert "TINY01" not in str(query)
    assert "4711" not in str(query)


def test_a_row_that_stands_because_a_line_was_lost_keeps_its_query(trial: TinyTrial) -> None:
    rows = labs(VISIT="")
    send(trial, "lb_v1.csv", "LB", rows)
    send(trial, "lb_v2.csv", "LB", csv_text(rows[1:]) + "cut off\n")
    assert trial.open_queries() == [("XA", "LB", "FILE-001"), ("XA", "LB", "LB-016")]
    send(trial, "lb_v3.csv", "LB", csv_text([{**rows[0], "VISIT": "DAY 1"}, *rows[1:5]]) + "cut off\n")
    assert trial.open_queries() == [("XA", "LB", "FILE-001")]
    send(trial, "lb_v4.csv", "LB", labs(LBORRES="33"))
    assert trial.open_queries() == []


def test_incremental_files_open_queries_for_their_own_keys_only_and_close_only_those(
    trial: TinyTrial,
) -> None:
    good = [cm("XA", 9, seq) for seq in range(1, 10)]
    wrong = {"CMSTDTC": "yesterday"}
    trial.send("XA", "CM", [*good, cm("XA", 1, 1, **wrong)], name="cm_v1.csv")
    trial.send("XA", "CM", [*good, cm("XA", 1, 2, **wrong)], name="cm_v2.csv")
    trial.decide()
    keys = {q["key_hash"]: q["rule_id"] for q in trial.known("queries")}
    assert len(keys) == 2
    send(trial, "cm_v3.csv", "CM", [cm("XA", 1, 2), cm("XA", 5, 1)])
    still = [q["key_hash"] for q in trial.known("queries") if q["closed_at"] is None]
    assert len(still) == 1
    send(trial, "cm_v0.csv", "CM", [*good, cm("XA", 1, 1), cm("XA", 1, 3, **wrong)])
    late = [q["key_hash"] for q in trial.known("queries") if q["closed_at"] is None]
    assert still[0] in late, "an older file says nothing about a key that a newer one carries"
    assert len(late) == 2
    send(trial, "cm_v4.csv", "CM", [cm("XA", 1, 1), cm("XA", 1, 3)])
    assert trial.open_queries() == []


def test_a_rejected_file_opens_a_query_that_the_next_good_one_closes(trial: TinyTrial) -> None:
    send(trial, "lb_v1.csv", "LB", labs())
    statuses = send(trial, "lb_v2.csv", "LB", [{**row, "ARMCD": "A"} for row in labs()])
    assert statuses["lb_v2.csv"][0] == "REJECTED"
    code = statuses["lb_v2.csv"][1]
    assert trial.open_queries() == [("XA", "LB", code)]
    send(trial, "lb_v3.csv", "LB", labs(LBORRES="30"))
    assert trial.open_queries() == []


def test_a_rejected_file_keeps_its_query_when_an_older_one_is_decided_with_it(trial: TinyTrial) -> None:
    trial.send("XA", "LB", labs(), name="lb_v1.csv")
    trial.send("XA", "LB", "not,a,lab,file\n1,2,3,4\n", name="lb_v2.csv")
    statuses = trial.decide()
    assert statuses["lb_v1.csv"] == ("ACCEPTED", None)
    assert [q[:2] for q in trial.open_queries()] == [("XA", "LB")]


def test_a_rejected_file_of_an_incremental_domain_is_answered_by_the_next_good_one(trial: TinyTrial) -> None:
    send(trial, "cm_v1.csv", "CM", "nonsense\n1\n")
    assert len(trial.open_queries()) == 1
    send(trial, "cm_v2.csv", "CM", [cm("XA", 1, 1)])
    assert trial.open_queries() == []


def test_a_file_that_no_domain_claims_is_answered_when_its_bytes_come_under_a_right_name(
    trial: TinyTrial,
) -> None:
    send(trial, "results.csv", "LB", labs())
    assert trial.open_queries() == [("XA", "-", "ROUTE")]
    send(trial, "lb_other.csv", "LB", labs(LBORRES="30"))
    assert trial.open_queries() == [("XA", "-", "ROUTE")]
    send(trial, "lb_results.csv", "LB", labs())
    assert trial.open_queries() == []


def test_a_file_with_a_header_only_opens_a_query_until_one_with_rows_comes(trial: TinyTrial) -> None:
    header = csv_text(labs()).splitlines()[0] + "\n"
    assert send(trial, "lb_v1.csv", "LB", header)["lb_v1.csv"] == ("ACCEPTED", None)
    assert [(q["rule_id"], q["key_hash"], q["severity"]) for q in trial.known("queries")] == [
        ("FILE-002", "*", "warning")
    ]
    send(trial, "lb_v2.csv", "LB", labs())
    assert trial.open_queries() == []


def part(path: Path, **columns: list[Any]) -> Path:
    kinds = {"SRC_ROW": pa.int64()}
    arrays = {name: pa.array(values, kinds.get(name, pa.string())) for name, values in columns.items()}
    pq.write_table(pa.table(arrays), path)
    return path


def test_more_findings_of_one_rule_than_a_person_reads_are_one_query_with_a_count(tmp_path: Path) -> None:
    n = findings.MANY + 1
    keys = [f"k{i}" for i in range(n)]
    rules = ["LB-001"] * n + ["LB-002"] * (n - 1)
    rows = part(
        tmp_path / "f.parquet",
        RULE_ID=rules, SEVERITY=["warning"] * len(rules), KEY_HASH=keys + keys[1:],
    )  # fmt: skip
    carried = part(tmp_path / "a.parquet", KEY_HASH=keys)
    found = findings.standing([[rows, carried]])
    assert found["LB-001", findings.MANY_KEY] == ("warning", n)
    assert len(found) == n
    assert found["LB-002", "k1"] == ("warning", 1)


def test_a_finding_without_a_key_stands_in_the_newest_delivery_only(tmp_path: Path) -> None:
    deliveries = []
    for n, (keys, severity) in enumerate([([None, "k1", "k2"], "warning"), ([None, "k2"], "critical")]):
        rules = ["FILE-001" if key is None else "LB-001" for key in keys]
        rows = part(tmp_path / f"f{n}.parquet", RULE_ID=rules, SEVERITY=[severity] * len(keys), KEY_HASH=keys)
        deliveries.append([rows, part(tmp_path / f"a{n}.parquet", KEY_HASH=keys)])
    assert findings.standing(deliveries) == {
        ("FILE-001", "-"): ("critical", 1),
        ("LB-001", "k1"): ("warning", 1),
        ("LB-001", "k2"): ("critical", 1),
    }


def test_queries_across_domains_and_of_deliveries_leave_each_other_alone(trial: TinyTrial) -> None:
    ours = findings.Shown({("LB-001", "k"): ("warning", 1)})
    cross = findings.Shown({("X-LB-001", "k"): ("critical", 1)}, cross=True)
    with Ledger(trial.settings.ledger).write() as connection:
        findings.update(connection, STUDY, "XA", "LB", ours)
        findings.update(connection, STUDY, "XA", "LB", cross)
        findings.update(connection, STUDY, "XA", "LB", findings.Shown({}))
    assert [(q["rule_id"], q["closed_at"] is None) for q in trial.known("queries")] == [
        ("LB-001", False),
        ("X-LB-001", True),
    ]
    with Ledger(trial.settings.ledger).write() as connection:
        graver = {("X-LB-001", "k"): ("warning", 3)}
        findings.update(connection, STUDY, "XA", "LB", findings.Shown(graver, cross=True))
        shown = connection.execute(
            sa.select(ledger.queries.c.severity, ledger.queries.c.n_rows).where(ledger.queries.c.id == 2)
        ).one()
    assert tuple(shown) == ("warning", 3)
