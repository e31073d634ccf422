"""Progress on standard error: bars on a terminal, otherwise a line every few seconds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click
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


_EVERY_S = 5.0
"""Seconds between two lines without a terminal."""


class _Lines:
    """Prints progress lines at intervals."""

    def __init__(self) -> None:
        self._last, self._stage = 0.0, ""

    def write(self, stage: str, line: str) -> None:
        """Write the line if the stage is new or the last line is some seconds old."""
        now = time.monotonic()
        if stage != self._stage or now - self._last >= _EVERY_S:
            self._last, self._stage = now, stage
            click.echo(line, err=True)


@contextmanager
def stages(quiet: bool) -> Iterator[Callable[[str, float], None]]:
    """Yield a function that takes the current task and its completed fraction; each task has a bar or line."""
    console = Console(stderr=True)
    if not quiet and not console.is_terminal:
        lines = _Lines()
        yield lambda what, share: lines.write(what, f"{what}: {share:.0%}")
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=quiet) as bars:
        tasks = {}

        def report(what: str, share: float) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=1.0)
            bars.update(tasks[what], completed=share)

        yield report


@contextmanager
def documents(quiet: bool, total: int | None, what: str) -> Iterator[Callable[[int], None]]:
    """Yield a function that takes the number of processed documents; `total` is None if unknown."""
    console = Console(stderr=True)
    if not quiet and not console.is_terminal:
        lines, of = _Lines(), f" of {total:,}" if total is not None else ""
        yield lambda done: lines.write(what, f"{what}: {done:,}{of} documents")
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), _DocumentsPerSecond())
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=quiet) as bars:
        task = bars.add_task(what, total=total)
        yield lambda done: bars.update(task, completed=done)
