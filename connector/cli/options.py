"""Options that are the same in every command that has them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
from opensearchpy import OpenSearch

from connector.encoders.graph import BACKEND_VARIABLE, BACKENDS, THREADS_VARIABLE
from connector.errors import SearchError
from connector.index.schema import STORED_FIELDS, IndexSchema
from connector.index.sizes import find_unused
from connector.query.body import parse_filter

F = TypeVar("F", bound=Callable[..., Any])

_HEADS_HELP = "A shipped one, a folder (ksparse train, SparseEncoder), or one on the hub."


def together(*options: Callable[[F], F]) -> Callable[[F], F]:
    """One decorator for options that go together, in their order."""

    def add(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return add


def _to_environment(variable: str) -> Callable[..., None]:
    """A callback that lets an option say for this run what the environment says for all."""

    def keep(context: click.Context, _option: click.Parameter, value: object) -> None:
        if value is None:
            return
        before = os.environ.get(variable)
        os.environ[variable] = str(value)

        @context.call_on_close
        def restore() -> None:
            if before is None:
                os.environ.pop(variable, None)
            else:
                os.environ[variable] = before

    return keep


_backend_options = together(
    click.option(
        "--backend",
        type=click.Choice(BACKENDS),
        expose_value=False,
        callback=_to_environment(BACKEND_VARIABLE),
        help="What runs the dense model.  [default: openvino on a CPU where it is installed, else torch]",
    ),
    click.option(
        "--threads",
        type=click.IntRange(1),
        expose_value=False,
        callback=_to_environment(THREADS_VARIABLE),
        help="Threads of the dense model on a CPU.  [default: OMP_NUM_THREADS, or one a core]",
    ),
)

device_option = together(
    click.option("--device", help="cuda, mps or cpu.  [default: the best available]"),
    _backend_options,
)

devices_option = together(
    click.option(
        "--device",
        "devices",
        multiple=True,
        help="cuda, mps or cpu; repeatable (cuda:0, cuda:1) to encode on several.  [default: the best available]",
    ),
    _backend_options,
)

corpora_argument = click.argument("corpus", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))

trained_output_option = click.option(
    "--output", "-o", required=True, type=click.Path(file_okay=False, path_type=Path), help="Output folder."
)

splits_option = click.option(
    "--split", "splits", multiple=True, help="Qrels to train on. Repeatable.  [default: train, if the corpus has it]"
)

max_minutes_option = click.option(
    "--max-minutes",
    type=click.FloatRange(min=0, min_open=True),
    help="Stop training after this many minutes.  [default: no limit]",
)

cache_option = click.option(
    "--cache", type=click.Path(file_okay=False, path_type=Path), help="Cache embeddings in this folder."
)

seed_option = click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True)

quiet_option = click.option("--quiet", is_flag=True, help="Show no progress bar.")

batch_size_option = click.option(
    "--batch-size",
    type=click.IntRange(1),
    default=32,
    show_default=True,
    help="Texts per forward pass; more of short ones.",
)

summary_option = click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")

dead_letters_option = click.option(
    "--dead-letters",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Append records that fail to this file.  [default: INDEX.dead-letters.jsonl]",
)


def dead_letters_path(asked: Path | None, index: str) -> Path:
    """Where the dead letters of an index are kept."""
    return asked or Path(f"{index}.dead-letters.jsonl")


index_encoder_option = click.option(
    "--encoder", help="The encoder that wrote the index, or a copy of it.  [default: the one that the index names]"
)


def _parse_field(_context: click.Context, _option: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    fields: dict[str, str] = {}
    for value in values:
        # A name may hold colons, a type does not.
        name, separator, kind = value.rpartition(":")
        if not (name and separator and kind):
            raise click.BadParameter(f"{value!r} is not of the form NAME:TYPE, e.g. lang:keyword.")
        fields[name] = kind
    return fields


record_options = together(
    click.option("--index", required=True, help="Index to write; created if it does not exist."),
    click.option(
        "--encoder",
        help=f"{_HEADS_HELP}  [default: that of the index; for a new one `own`, a dictionary of its own documents]",
    ),
    click.option(
        "--k",
        type=click.IntRange(1),
        help="Features kept per document.  [default: that of the index; for a new one, that of the encoder]",
    ),
    click.option(
        "--field",
        "fields",
        multiple=True,
        callback=_parse_field,
        metavar="NAME:TYPE",
        help="Declare a top-level field, e.g. year:integer. Repeatable.",
    ),
    click.option(
        "--format",
        "file_format",
        type=click.Choice(["jsonl", "csv", "tsv", "parquet"]),
        help="Input format.  [default: by suffix; jsonl for -]",
    ),
    click.option("--generate-ids", is_flag=True, help="Give records without _id the SHA-256 of their content."),
    dead_letters_option,
)
"""What is written, and from what."""

writing_options = together(
    batch_size_option,
    click.option(
        "--chunk-size", type=click.IntRange(1), default=1_000, show_default=True, help="Documents per request."
    ),
)
"""How much at a time."""


def check_window(schema: IndexSchema, window: int | None) -> None:
    """Make sure that an index has codes if hits shall be rescored by them.

    Raises:
        SearchError: It has none.
    """
    if window and schema.code is None:
        raise SearchError(
            f"Index {schema.index!r} has no codes to rescore {window} hits by. {advice_for_codes(schema)}"
        )


def advice_for_codes(schema: IndexSchema) -> str:
    """How an index that has no codes gets some."""
    return f"To make an index that has: `ksparse reencode {schema.index} --to NEW --code-bits 4 --no-switch`."


def filter_clauses(client: OpenSearch, schema: IndexSchema, filters: Sequence[str]) -> list[dict[str, Any]]:
    """The query clauses of NAME=VALUE filters; a name that no document has is said on standard error.

    Raises:
        UsageError: One is not of that form.
    """
    try:
        clauses = [parse_filter(expression, fields=schema.fields) for expression in filters]
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    paths = [path for clause in clauses for compared in clause.values() for path in compared]
    for path in find_unused(client, schema.index, [path for path in paths if path not in schema.fields]):
        declared = f" Declared fields: {', '.join(schema.fields)}." if schema.fields else ""
        click.echo(f"No document of {schema.index} has {path}, the field of a --filter.{declared}", err=True)
    return clauses


def source_fields(schema: IndexSchema, names: str | None) -> list[str] | None:
    """The fields that a comma-separated list names; None for all of them.

    Raises:
        UsageError: The index has no field of that name.
    """
    wanted = [name.strip() for name in (names or "").split(",") if name.strip()]
    known = (*STORED_FIELDS, *schema.fields)
    for name in wanted:
        if "*" not in name and not any(name == field or name.startswith(f"{field}.") for field in known):
            raise click.UsageError(
                f"--fields {name}: index {schema.index} has {', '.join(known)}; a key of the metadata is "
                f"metadata.{name}."
            )
    return wanted or None
