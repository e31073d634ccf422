"""The ranges that settings of all kinds of runs share."""

from __future__ import annotations

from collections.abc import Iterable


def check_ranges(
    settings: object,
    *,
    at_least_one: Iterable[str] = (),
    above_zero: Iterable[str] = (),
    at_least_zero: Iterable[str] = (),
) -> None:
    """Check settings by their names; `max_seconds`, where it is given, must be above 0 for all of them.

    Args:
        settings: Of a run.
        at_least_one: Names of numbers, or of None where a setting may be without.
        above_zero: Names of numbers.
        at_least_zero: Names of numbers.

    Raises:
        ValueError: One is out of range.
    """
    for name in at_least_one:
        value = getattr(settings, name)
        if value is not None and value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}.")
    for name in above_zero:
        if not getattr(settings, name) > 0:
            raise ValueError(f"{name} must be above 0, got {getattr(settings, name)}.")
    for name in at_least_zero:
        if not getattr(settings, name) >= 0:
            raise ValueError(f"{name} must be at least 0, got {getattr(settings, name)}.")
    seconds = getattr(settings, "max_seconds", None)
    if seconds is not None and seconds <= 0:
        raise ValueError(f"max_seconds must be above 0, got {seconds}.")
