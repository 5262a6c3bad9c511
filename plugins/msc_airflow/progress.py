"""What the embedded stack shows while it works: steps with their seconds, a bar per DAG run.

On a terminal the lines move; elsewhere (a log of a build) each is printed once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

console = Console(highlight=False)
OVER = ("success", "failed", "skipped", "upstream_failed", "removed")
PRINT_EVERY_SECONDS = 10.0


def say(text: str) -> None:
    """Print one line (rich markup)."""
    console.print(text, soft_wrap=True)


def plain(text: object) -> str:
    """Return `text` with its brackets shown as they are."""
    return escape(str(text))


@contextmanager
def step(name: str) -> Iterator[None]:
    """Show that `name` is being done, then how long it took."""
    started = time.monotonic()
    with console.status(name):
        yield
    say(f"  [green]✓[/green] {name} [dim]{time.monotonic() - started:.0f} s[/dim]")


@contextmanager
def of(dag_id: str) -> Iterator[Callable[[list[dict[str, Any]]], None]]:
    """Give a function that shows the task instances of one DAG run."""
    started = time.monotonic()
    columns = (
        TextColumn("  {task.description}"),
        BarColumn(),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
    )
    note = ""
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        bar = bars.add_task(dag_id, total=None, note=note)
        printed = started

        def show(instances: list[dict[str, Any]]) -> None:
            nonlocal note, printed
            over = sum(one["state"] in OVER for one in instances)
            red = sum(one["state"] in ("failed", "upstream_failed") for one in instances)
            note = f"{over}/{len(instances)} tasks" + (f", {red} red" if red else "")
            bars.update(bar, total=max(len(instances), 1), completed=over, note=note)
            if not console.is_terminal and time.monotonic() - printed > PRINT_EVERY_SECONDS:
                printed = time.monotonic()
                say(f"    {dag_id}: {note}")

        yield show
    say(f"  [green]✓[/green] {dag_id}: {note} [dim]{time.monotonic() - started:.0f} s[/dim]")
