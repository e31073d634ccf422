"""Range checks of settings."""

from __future__ import annotations

from collections.abc import Iterable


def check_ranges(
    settings: object,
    *,
    at_least_one: Iterable[str] = (),
    above_zero: Iterable[str] = (),
    at_least_zero: Iterable[str] = (),
) -> None:
    """Check the ranges of settings; `max_seconds`, if set, must be above 0.

    Args:
        settings: The settings.
        at_least_one: Names of settings that must be at least 1, or None.
        above_zero: Names of settings that must be above 0.
        at_least_zero: Names of settings that must be at least 0.

    Raises:
        ValueError: A setting is out of range.
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
