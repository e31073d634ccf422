"""Progress bars on standard error, silent where nobody looks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text


class _DocumentsPerSecond(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.completed / task.elapsed if task.elapsed else 0.0:,.0f} documents/s")


@contextmanager
def stages(quiet: bool) -> Iterator[Callable[[str, float], None]]:
    """Yield a function that is told what is being done and the share of it that is done; one bar for each."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), disable=quiet) as bars:
        tasks = {}

        def report(what: str, share: float) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=1.0)
            bars.update(tasks[what], completed=share)

        yield report


@contextmanager
def documents(quiet: bool, total: int | None, what: str) -> Iterator[Callable[[int], None]]:
    """Yield a function that is told how many documents are done, of `total` if that is known."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _DocumentsPerSecond())
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), disable=quiet) as bars:
        task = bars.add_task(what, total=total)
        yield lambda done: bars.update(task, completed=done)
