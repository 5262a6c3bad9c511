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
"""How long per address one sender keeps a message to itself before another may try."""
TALKATIVE = ("apprise", "urllib3")
"""Libraries whose log lines quote addresses, and with them passwords and tokens: silent once we use them."""


def send_pending(settings: Settings) -> int:
    """Send every waiting alert to every address; return how many alerts reached all of them.

    One that did not is tried again by the next call; an address that failed is left alone for the rest of this one.
    With no address configured alerts are kept as UNROUTED.
    """
    ledger = Ledger(settings.ledger)
    if not settings.alert_urls:
        with ledger.write() as connection:
            waiting = sa.update(book.alerts).where(book.alerts.c.state == "WAITING")
            kept = connection.execute(waiting.values(state="UNROUTED")).rowcount
        if kept:
            log.warning("%d alerts have no address: set MSC_ALERT_URLS", kept)
        return 0
    urls = {digest(url): url for url in settings.alert_urls}
    sent, looked_at, down = 0, set[str](), set[str]()
    while down != set(urls) and (alert := _claim(ledger, looked_at, CLAIM_SECONDS * len(urls))):
        looked_at.add(alert["key"])
        done, before = set(json.loads(alert["sent_to"])), set(down)
        for address in urls.keys() - done - down:
            if _notify(urls[address], alert, settings):
                done.add(address)
                mark("alert-sent")
            else:
                down.add(address)
        complete = set(urls) <= done
        _note(ledger, alert, done, complete=complete, failed=down != before)
        sent += complete
    return sent


def _claim(ledger: Ledger, looked_at: set[str], seconds: float) -> dict[str, Any] | None:
    """Take one waiting alert for ourselves, one that failed less often first: it may be the alert that fails."""
    c, now = book.alerts.c, time.time()
    free = sa.and_(c.state == "WAITING", sa.or_(c.claimed_until.is_(None), c.claimed_until < now))
    first = sa.select(book.alerts).where(free, c.key.not_in(looked_at)).order_by(c.tries, c.created_at, c.key)
    with ledger.write() as connection:
        row = connection.execute(first.limit(1)).mappings().first()
        if row is None:
            return None
        claim = sa.update(book.alerts).where(c.key == row["key"])
        connection.execute(claim.values(claimed_until=now + seconds))
        return dict(row)


def _note(ledger: Ledger, alert: dict[str, Any], done: set[str], *, complete: bool, failed: bool) -> None:
    values = {"sent_to": json.dumps(sorted(done)), "claimed_until": None, "tries": alert["tries"] + failed}
    if complete:
        values |= {"state": "SENT", "sent_at": book.now()}
    with ledger.write() as connection:
        connection.execute(sa.update(book.alerts).where(book.alerts.c.key == alert["key"]).values(**values))


def _notify(url: str, alert: dict[str, Any], settings: Settings) -> bool:
    """Send one message to one address. An address may hold a password, so no word of the library is shown."""
    import apprise

    link = f"\n{settings.page_url}" if settings.page_url else ""
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    try:
        sender = apprise.Apprise()
        reached = sender.add(url) and sender.notify(title=alert["title"], body=alert["body"] + link)
    except Exception:
        reached = False
    if not reached:
        log.warning("an alert could not be delivered key=%s tries=%d", alert["key"], alert["tries"] + 1)
    return bool(reached)


def dag_failed(study_id: str, dag_id: str, run_id: str, task_id: str, settings: Settings) -> None:
    """Queue one alert for a failed DAG run, however many of its tasks fail, and send what waits."""
    with Ledger(settings.ledger).write() as connection:
        book.queue_alert(
            connection, study_id, "DAG_FAILED", f"{study_id}/dag/{dag_id}/{run_id}", f"{study_id}: {dag_id} failed",
            f"Run {run_id}, first failed task {task_id}. Next: open the run in Airflow, read the task's log.",
        )  # fmt: skip
    send_pending(settings)
