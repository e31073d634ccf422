"""Command-line options derived from training settings, which define the defaults."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import click

from connector.errors import ConnectorError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

F = TypeVar("F", bound=Callable[..., Any])


class _RunSettings(Protocol):
    def unread(self) -> Mapping[str, str]:
        """Names of settings that this run ignores, with the reason."""
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
    """An option for one setting; if it is not given, the default of the settings applies.

    Args:
        settings: The dataclass of the settings.
        name: Name of its field.
        flag: Name of the option.
        kind: Type of its value; None for a flag that enables the setting.
        help: Help text.
        default: Default to show; None shows the field's default.
    """
    shown = default or str(next(field.default for field in fields(settings) if field.name == name))
    text = f"{help}  [default: {shown}]".strip() if kind is not None else help
    how: dict[str, Any] = {"type": kind} if kind is not None else {"is_flag": True, "flag_value": True}
    return click.option(flag, name, default=None, help=text, **how)


def make_settings(settings: type[S], *, max_minutes: float | None = None, **options: object) -> S:
    """Create settings from the given options; None leaves the default.

    Raises:
        UsageError: Options contradict each other, or the run would ignore one of them.
    """
    given = {name: value for name, value in options.items() if value is not None}
    if max_minutes is not None:
        given["max_seconds"] = 60 * max_minutes
    try:
        made = settings(**given)
    except ValueError as error:
        raise click.UsageError(_with_flags(str(error))) from error
    for name, reason in made.unread().items():
        if name in given:
            raise click.UsageError(f"{_flag_of(name)} has no effect: {reason}. Leave it out.")
    return made


@contextmanager
def naming_options() -> Iterator[None]:
    """Name options of the current command in errors of the library, which name its arguments and settings."""
    try:
        yield
    except ConnectorError as error:
        raise type(error)(_with_flags(str(error))) from error


def _with_flags(message: str) -> str:
    """Replace names of arguments and settings by the current command's options."""
    for option in click.get_current_context().command.params:
        name = option.name or ""
        if isinstance(option, click.Option) and name:
            # Others are also words, and mean the option only as the subject of the message, before its value.
            pattern = rf"(?<![\w./-]){name}(?![\w/-])" if "_" in name or len(name) == 1 else rf"^{name}(?= -?\d)"
            message = re.sub(pattern, option.opts[0], message)
    return message


def _flag_of(name: str) -> str:
    """The current command's option for a setting."""
    context = click.get_current_context()
    return next((option.opts[0] for option in context.command.params if option.name == name), name)
