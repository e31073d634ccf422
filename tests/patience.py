"""How long tests wait for what must happen: long enough for a machine that is busy with something else."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

PATIENCE_S = 120.0
"""Nothing takes that long where all is well; a test that fails may."""


def wait_until(condition: Callable[[], object], what: str = "it did not happen in time") -> None:
    """Wait until a condition holds, and fail with `what` if it never does."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


@contextmanager
def process(command: list[str], **options: Any) -> Iterator[subprocess.Popen[Any]]:  # noqa: ANN401
    """Run a process that is waited for at the end, and killed where the test fails before.

    Args:
        command: Program and arguments.
        **options: As of `subprocess.Popen`.
    """
    with subprocess.Popen(command, **options) as started:
        try:
            yield started
            started.wait(PATIENCE_S)
        except BaseException:
            started.kill()
            raise
