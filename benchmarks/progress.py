"""Progress of a suite, by task."""

from __future__ import annotations

from collections.abc import Callable

Report = Callable[[str, float], None]
"""Takes the current task and its completed fraction."""


def silent(_task: str, _share: float) -> None:
    """Report nothing."""
