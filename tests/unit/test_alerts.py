"""Alerts: real messages to a real mail server and a real web hook, both on this machine."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from aiosmtpd.controller import Controller

from msc_pipeline import alerts, pipeline
from msc_pipeline import ledger as book
from msc_pipeline.alerts import dag_failed, send_pending
from msc_pipeline.errors import DeliveryRejected
from msc_pipeline.ledger import Ledger
from msc_pipeline.settings import Settings
from tiny_trial import FEW_RULES, STUDY, TinyTrial, ae, cm, lb, make_trial, trust_own_scan

MARK = "marker4711"


@dataclass
class Mailbox:
    """What the mail server took."""

    url: str = ""
    taken: list[bytes] = field(default_factory=list)

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:
        self.taken.append(envelope.content)
        return "250 OK"

    @property
    def titles(self) -> list[str]:
        return sorted(str(message_from_bytes(raw, policy=policy.default)["subject"]) for raw in self.taken)


@dataclass
class Hook:
    """What the web hook took, and how it answers."""

    url: str = ""
    taken: list[dict[str, str]] = field(default_factory=list)
    status: int = 200
    refuses: str = ""
    seconds: float = 0.0
    asked: int = 0

    @property
    def titles(self) -> list[str]:
        return sorted(body["title"] for body in self.taken)

    def take(self, raw: bytes) -> int:
        self.asked += 1
        time.sleep(self.seconds)
        body = json.loads(raw)
        if self.status != 200 or (self.refuses and self.refuses in body["title"]):
            return self.status if self.status != 200 else 500
        self.taken.append(body)
        return 200


@pytest.fixture
def mail() -> Iterator[Mailbox]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    box = Mailbox(f"mailto://127.0.0.1:{port}?from=pipeline@example.org&to=oncall@example.org")
    server = Controller(box, hostname="127.0.0.1", port=port)
    server.start()
    yield box
    server.stop()


@pytest.fixture
def hook() -> Iterator[Hook]:
    found = Hook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(found.take(self.rfile.read(int(self.headers["Content-Length"]))))
            self.end_headers()

        def log_message(self, *_words: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.url = f"json://127.0.0.1:{server.server_address[1]}/secret-hook"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield found
    server.shutdown()
    server.server_close()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", landing=tmp_path / "landing")


def queue(settings: Settings, *titles: str) -> None:
    for title in titles:
        with Ledger(settings.ledger).write() as connection:
            book.queue_alert(connection, STUDY, "TEST", f"key of {title}", title, f"Body of {title}.")
        time.sleep(0.002)


def states(settings: Settings) -> dict[str, tuple[str, int]]:
    rows = Ledger(settings.ledger).rows(sa.select(book.alerts))
    return {row["title"]: (row["state"], row["tries"]) for row in rows}


def test_a_rejected_a_held_and_a_heavily_quarantined_delivery_and_a_failed_dag_are_told_once(
    tmp_path: Path,
    mail: Mailbox,
    hook: Hook,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    trust_own_scan(monkeypatch)
    quiet = make_trial(tmp_path, FEW_RULES)
    trial = TinyTrial(
        replace(quiet.settings, alert_urls=(mail.url, hook.url), page_url="https://pages.example.org")
    )
    labs = [lb("XA", n, s) for n in (1, 2, 3) for s in (1, 2)]
    trial.send("XA", "LB", [{**labs[0], "LBORRES": MARK, "LBDTC": "2025-03-01T08:59"}, *labs])
    trial.send("XA", "CM", [{**cm("XA", 1), "CMTRT": MARK, "SECRET": MARK}])
    trial.send("XA", "AE", [ae("XA", 1, 1), ae("XA", 1, 2, AETERM=MARK)], name="ae_v1.csv")
    trial.send("XA", "AE", [ae("XA", 1, 1)], name="ae_v2.csv")
    statuses = trial.decide()
    for _ in range(2):
        dag_failed(STUDY, "tiny__ingest", "run-1", "land", trial.settings)
    dag_failed(STUDY, "tiny__ingest", "run-1", "stage", trial.settings)
    assert send_pending(trial.settings) == 0

    ids = {d["file"]: d["id"] for d in trial.known("deliveries")}
    assert {name: status for name, (status, _) in statuses.items()} == {
        "ae_v1.csv": "ACCEPTED", "ae_v2.csv": "HELD", "cm_XA.csv": "REJECTED", "lb_XA.csv": "PARTIAL",
    }  # fmt: skip
    assert hook.titles == mail.titles == [
        "tiny: delivery {} of site XA is held".format(ids["ae_v2.csv"]),
        "tiny: delivery {} of site XA was rejected".format(ids["cm_XA.csv"]),
        "tiny: many rows of delivery {} of site XA are in quarantine".format(ids["lb_XA.csv"]),
        "tiny: tiny__ingest failed",
    ]  # fmt: skip
    assert {a["state"] for a in trial.known("alerts")} == {"SENT"}
    assert all("Next: " in body["message"] for body in hook.taken)
    assert all("https://pages.example.org" in body["message"] for body in hook.taken)
    told = str(hook.taken) + b"".join(mail.taken).decode() + caplog.text
    for never in (MARK, "TINY01-XA", "2025-03-01", "secret-hook", "SECRET"):
        assert never not in told, never


def test_a_verdict_says_what_a_message_says_and_no_more(
    trial: TinyTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    trust_own_scan(monkeypatch)
    trial.send("XA", "CM", [{**cm("XA", 1), "CMTRT": MARK, "SECRET": MARK}])
    trial.decide()
    with pytest.raises(DeliveryRejected) as refused:
        pipeline.verdict(STUDY, 1, trial.settings)
    assert "REJECTED XA · cm_XA.csv" in str(refused.value)
    assert MARK not in str(refused.value)


def test_many_senders_at_once_tell_each_alert_once(settings: Settings, hook: Hook) -> None:
    hook.seconds = 0.02
    routed = replace(settings, alert_urls=(hook.url,))
    titles = [f"alert {n}" for n in range(8)]
    queue(routed, *titles)
    counts: list[int] = []
    senders = [threading.Thread(target=lambda: counts.append(send_pending(routed))) for _ in range(4)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    assert hook.titles == titles
    assert sum(counts) == len(titles)
    assert set(states(routed).values()) == {("SENT", 0)}


def test_an_address_that_is_down_is_tried_again_and_the_other_is_not_told_twice(
    settings: Settings, mail: Mailbox, hook: Hook
) -> None:
    routed = replace(settings, alert_urls=(hook.url, mail.url))
    hook.status = 503
    queue(routed, "first", "second")
    assert send_pending(routed) == 0
    assert mail.titles == ["first", "second"]
    assert hook.asked == 1, "one failure is enough for one call"
    assert {state for state, _ in states(routed).values()} == {"WAITING"}
    hook.status = 200
    assert send_pending(routed) == 2
    assert (hook.titles, mail.titles) == (["first", "second"], ["first", "second"])
    assert {state for state, _ in states(routed).values()} == {"SENT"}
    assert send_pending(routed) == 0


def test_a_message_that_an_address_refuses_keeps_no_other_back_for_long(
    settings: Settings, hook: Hook
) -> None:
    routed = replace(settings, alert_urls=(hook.url,))
    hook.refuses = "too long"
    queue(routed, "too long", "good", "better")
    assert send_pending(routed) == 0
    assert send_pending(routed) == 2
    assert hook.titles == ["better", "good"]
    assert states(routed)["too long"] == ("WAITING", 2)


def test_a_machine_that_nobody_listens_on_loses_nothing(settings: Settings) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    routed = replace(settings, alert_urls=(f"json://127.0.0.1:{port}/x",))
    queue(routed, "first")
    assert send_pending(routed) == 0
    assert states(routed) == {"first": ("WAITING", 1)}


def test_without_an_address_alerts_are_kept_and_said_to_be_unrouted(
    settings: Settings, hook: Hook, caplog: pytest.LogCaptureFixture
) -> None:
    queue(settings, "first", "second")
    assert send_pending(settings) == 0
    assert states(settings) == {"first": ("UNROUTED", 0), "second": ("UNROUTED", 0)}
    assert "2 alerts have no address: set MSC_ALERT_URLS" in caplog.text
    assert send_pending(replace(settings, alert_urls=(hook.url,))) == 0
    assert hook.taken == []


def test_an_alert_that_another_sender_holds_is_left_to_it_until_its_time_is_up(
    settings: Settings, hook: Hook
) -> None:
    routed = replace(settings, alert_urls=(hook.url,))
    queue(routed, "first")
    for until, sent in ((time.time() + 60, 0), (time.time() - 1, 1)):
        with Ledger(routed.ledger).write() as connection:
            connection.execute(sa.update(book.alerts).values(claimed_until=until))
        assert send_pending(routed) == sent


@pytest.mark.parametrize(
    "url",
    [
        "nonsense://token-8848",
        "slack://token-8848/x",
        "mailto://user:token-8848@",
        "json://127.0.0.1:1/token-8848",
    ],
)
def test_no_word_of_an_address_is_logged(
    settings: Settings, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], url: str
) -> None:
    caplog.set_level(logging.DEBUG)
    routed = replace(settings, alert_urls=(url,))
    queue(routed, "first")
    assert send_pending(routed) == 0
    assert "an alert could not be delivered key=key of first tries=1" in caplog.text
    assert "8848" not in caplog.text + "".join(capfd.readouterr()) + repr(routed)


def test_a_library_that_raises_is_an_address_that_is_down(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import apprise

    def fail(*_words: Any) -> None:
        raise RuntimeError("token-8848")

    monkeypatch.setattr(apprise.Apprise, "add", fail)
    routed = replace(settings, alert_urls=("json://127.0.0.1:1/x",))
    queue(routed, "first")
    assert send_pending(routed) == 0
    assert states(routed) == {"first": ("WAITING", 1)}
    assert "8848" not in caplog.text


def test_the_same_finding_is_queued_once_and_another_run_is_another_finding(settings: Settings) -> None:
    for run in ("run-1", "run-1", "run-2"):
        dag_failed(STUDY, "tiny__curate", run, "publish", settings)
    rows = Ledger(settings.ledger).rows(sa.select(book.alerts).order_by(book.alerts.c.key))
    assert [row["key"] for row in rows] == [f"tiny/dag/tiny__curate/run-{n}" for n in (1, 2)]
    assert "first failed task publish" in rows[0]["body"]
    assert alerts.CLAIM_SECONDS > 60, "longer than the library waits for one address"
