"""The command that replays the dead letters of a run, with the options of the run that it needs."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from connector.encoders.folders import OWN_ENCODER, lasting_name
from connector.encoders.graph import BACKEND_VARIABLE, THREADS_VARIABLE
from connector.encoders.precision import PRECISION_VARIABLE

if TYPE_CHECKING:
    from connector.index.schema import IndexSchema

_NOT_PASSED_ON = ("index", "encoder", "dead_letters", "as_json", "quiet", "verbose")
"""Options of a replay that do not depend on those of the run, or are passed on in another way."""

_VARIABLES = {"backend": BACKEND_VARIABLE, "threads": THREADS_VARIABLE, "precision": PRECISION_VARIABLE}
"""Environment variables that hold the values of options during a run."""


def replay_command(letters: Path, index: str, encoder: str | None = None) -> str:
    """Return the command that replays the dead letters of the current command, quoted for a shell.

    Options that were given to the current command are passed on if the replay has them, too: names of fields, device,
    connection and the like.

    Args:
        letters: File of the dead letters.
        index: Their index.
        encoder: Encoder to name (`encoder_to_name`).
    """
    words = ["ksparse", "replay", str(letters), "--index", index]
    words += ["--encoder", encoder] if encoder is not None else []
    context = click.get_current_context(silent=True)
    if context is not None:
        for option in _options_of_replay(context):
            if option.name not in _NOT_PASSED_ON:
                for value in _given(context, str(option.name)):
                    words += [option.opts[0]] if option.is_flag else [option.opts[0], value]
    return shlex.join(words)


def _options_of_replay(context: click.Context) -> list[click.Option]:
    root = context.find_root()
    # By its name: it imports this module.
    replay = root.command.get_command(root, "replay") if isinstance(root.command, click.Group) else None
    return [option for option in replay.params if isinstance(option, click.Option)] if replay is not None else []


def encoder_to_name(schema: IndexSchema | None, encoder: str | None) -> str | None:
    """Return the encoder that later commands must name, too; None for the one that the index names.

    Args:
        schema: Schema of the index before the run; None for a new index, which names its encoder.
        encoder: The encoder that was given to the run.
    """
    if schema is None or encoder in (None, OWN_ENCODER) or lasting_name(str(encoder)) == schema.encoder_name:
        return None
    return encoder


def _given(context: click.Context, name: str) -> Sequence[str]:
    """The values of an option on the command line; one for a flag."""
    if name == "device" and "devices" in context.params:
        return _given(context, "devices")[:1]
    if context.get_parameter_source(name) is not ParameterSource.COMMANDLINE:
        return ()
    value = os.environ.get(_VARIABLES[name]) if name in _VARIABLES else context.params.get(name)
    if value is None:
        return ()
    return tuple(map(str, value)) if isinstance(value, tuple) else (str(value),)
