"""Options that name an encoder or a dense model; a name that does not exist is reported before anything slow."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from connector.encoders.folders import OWN_ENCODER, check_encoder, head_folder

if TYPE_CHECKING:
    from connector.encoders.base_model import BaseModel

F = TypeVar("F", bound=Callable[..., Any])

_DENSE_HELP = "Dense model.  [default: sentence-transformers/all-MiniLM-L6-v2]"


def _checking(check: Callable[[str], object]) -> Callable[..., str | None]:
    """A callback that checks the given name."""

    def checked(_context: click.Context, _option: click.Parameter, name: str | None) -> str | None:
        if name is not None:
            check(name)
        return name

    return checked


def encoder_option(help: str, flag: str = "--encoder", **options: Any) -> Callable[[F], F]:  # noqa: ANN401
    """An option that names an existing encoder."""
    return click.option(flag, help=help, callback=_checking(check_encoder), **options)


def new_encoder_option(help: str) -> Callable[[F], F]:
    """An option `--encoder` for a new index, which also takes `own`."""

    def check(name: str) -> None:
        if name != OWN_ENCODER:
            check_encoder(name)

    return click.option("--encoder", help=help, callback=_checking(check))


def head_option(help: str) -> Callable[[F], F]:
    """An option `--encoder` that names a head."""
    return click.option("--encoder", help=help, callback=_checking(head_folder))


def dense_model_option(flag: str) -> Callable[[F], F]:
    """An option that names a dense model; its value is the located `BaseModel`, or None."""

    def find(_context: click.Context, _option: click.Parameter, name: str | None) -> BaseModel | None:
        from connector.encoders.base_model import find_base_model

        return find_base_model(name) if name is not None else None

    return click.option(flag, help=_DENSE_HELP, callback=find)


index_encoder_option = encoder_option(
    "Encoder that wrote the index, or a copy of it.  [default: the one that the index names]"
)
