"""Stand-ins for what a test must not call."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn


def never(event: str) -> Callable[..., NoReturn]:
    """Return a function that fails the test, with the event that must not happen as the reason."""

    def called(*_: object, **__: object) -> NoReturn:
        raise AssertionError(event)

    return called
