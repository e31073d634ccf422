"""Options that stand for the settings of a training run, which alone know their defaults."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import click

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

F = TypeVar("F", bound=Callable[..., Any])


class _RunSettings(Protocol):
    def unread(self) -> Mapping[str, str]:
        """The settings that this run does not read, and why."""
        ...


S = TypeVar("S", bound=_RunSettings)


def settings_option(
    settings: type[DataclassInstance],
    name: str,
    flag: str,
    kind: click.ParamType[Any] | None = None,
    help: str = "",
    *,
    default: str | None = None,
) -> Callable[[F], F]:
    """An option for one setting. It has no default of its own: what is not given, the settings decide.

    Args:
        settings: The dataclass.
        name: Of its field.
        flag: Of the option.
        kind: What it takes; None for a flag that switches the setting on.
        help: What it means.
        default: What to show as the default; the field's own if None.
    """
    shown = default or str(next(field.default for field in fields(settings) if field.name == name))
    text = f"{help}  [default: {shown}]".strip() if kind is not None else help
    how: dict[str, Any] = {"type": kind} if kind is not None else {"is_flag": True, "flag_value": True}
    return click.option(flag, name, default=None, help=text, **how)


def make_settings(settings: type[S], *, max_minutes: float | None = None, **options: object) -> S:
    """The settings of a run from the options that were given; those that are None are left to the settings.

    Raises:
        UsageError: They contradict each other, or the run would not read one of them.
    """
    given = {name: value for name, value in options.items() if value is not None}
    if max_minutes is not None:
        given["max_seconds"] = 60 * max_minutes
    try:
        made = settings(**given)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    for name, reason in made.unread().items():
        if name in given:
            raise click.UsageError(f"{_flag_of(name)} has no effect: {reason}. Leave it out.")
    return made


def _flag_of(name: str) -> str:
    """The option of the current command for a setting."""
    context = click.get_current_context()
    return next((option.opts[0] for option in context.command.params if option.name == name), name)
