"""Alerts: messages to people through the addresses an installation configures, once per finding.

Belongs here: sending what the ledger has queued, by Apprise (e-mail, Slack, Teams, webhook). Does not: deciding
that something is worth an alert (the stage that sees it queues it in its own transaction).

Delivery is at least once: a kill between sending and noting it repeats one message. A message holds study,
site, domain, rule, counts and our ids; no subject, no value, no arm.
"""

from __future__ import annotations

import json
import logging
import time
from typing import Any

import sqlalchemy as sa

from msc_pipeline import ledger as book
from msc_pipeline.ledger import Ledger
from msc_pipeline.settings import Settings
from msc_pipeline.storage import digest, mark

log = logging.getLogger(__name__)

CLAIM_SECONDS = 120.0
"""How long one sender keeps a message to itself before another may try."""


def send_pending(settings: Settings) -> int:
    """Send every waiting alert to every address; return how many alerts reached all of them.

    One that did not is tried again by the next call. With no address configured alerts are kept as UNROUTED.
    """
    ledger = Ledger(settings.ledger)
    if not settings.alert_urls:
        with ledger.write() as connection:
            waiting = sa.update(book.alerts).where(book.alerts.c.state == "WAITING")
            kept = connection.execute(waiting.values(state="UNROUTED")).rowcount
        if kept:
            log.warning("%d alerts have no address: set MSC_ALERT_URLS", kept)
        return 0
    sent = 0
    for alert in _claim(ledger):
        done = set(json.loads(alert["sent_to"]))
        for url in settings.alert_urls:
            if (address := digest(url)) not in done and _notify(url, alert, settings):
                done.add(address)
                mark("alert-sent")
        complete = {digest(url) for url in settings.alert_urls} <= done
        _note(ledger, alert["key"], done, complete=complete)
        sent += complete
    return sent


def _claim(ledger: Ledger) -> list[dict[str, Any]]:
    c, now = book.alerts.c, time.time()
    free = sa.and_(c.state == "WAITING", sa.or_(c.claimed_until.is_(None), c.claimed_until < now))
    with ledger.write() as connection:
        rows = [dict(r) for r in connection.execute(sa.select(book.alerts).where(free)).mappings()]
        claim = sa.update(book.alerts).where(c.key.in_([r["key"] for r in rows]))
        connection.execute(claim.values(claimed_until=now + CLAIM_SECONDS, tries=c.tries + 1))
    return sorted(rows, key=lambda r: (r["created_at"], r["key"]))


def _note(ledger: Ledger, key: str, done: set[str], *, complete: bool) -> None:
    values: dict[str, Any] = {"sent_to": json.dumps(sorted(done)), "claimed_until": None}
    if complete:
        values |= {"state": "SENT", "sent_at": book.now()}
    with ledger.write() as connection:
        connection.execute(sa.update(book.alerts).where(book.alerts.c.key == key).values(**values))


def _notify(url: str, alert: dict[str, Any], settings: Settings) -> bool:
    """Send one message to one address. An address may hold a password, so no error of the library is shown."""
    import apprise

    sender = apprise.Apprise()
    link = f"\n{settings.page_url}" if settings.page_url else ""
    try:
        reached = bool(sender.add(url)) and bool(
            sender.notify(title=alert["title"], body=alert["body"] + link)
        )
    except Exception:
        reached = False
    if not reached:
        log.warning("an alert could not be delivered key=%s tries=%d", alert["key"], alert["tries"] + 1)
    return reached


def dag_failed(study_id: str, dag_id: str, run_id: str, task_id: str, settings: Settings) -> None:
    """Queue one alert for a failed DAG run, however many of its tasks fail, and send what waits."""
    with Ledger(settings.ledger).write() as connection:
        book.queue_alert(
            connection, study_id, "DAG_FAILED", f"{study_id}/dag/{dag_id}/{run_id}", f"{study_id}: {dag_id} failed",
            f"Run {run_id}, first failed task {task_id}. Next: open the run in Airflow, read the task's log.",
        )  # fmt: skip
    send_pending(settings)
