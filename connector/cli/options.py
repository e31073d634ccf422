"""Options shared by several commands."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from connector.cli.encoder_option import new_encoder_option
from connector.encoders.graph import BACKEND_VARIABLE, BACKENDS, THREADS_VARIABLE
from connector.encoders.precision import PRECISION_VARIABLE, PRECISIONS
from connector.errors import SearchError
from connector.index.schema import STORED_FIELDS, IndexSchema
from connector.query.body import parse_filter

F = TypeVar("F", bound=Callable[..., Any])

_HEADS_HELP = "Name of a shipped encoder, a folder (ksparse train, SparseEncoder), or a model on the hub."


def together(*options: Callable[[F], F]) -> Callable[[F], F]:
    """Combine several options into one decorator."""

    def add(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return add


def _to_environment(variable: str) -> Callable[..., None]:
    """A callback that sets an environment variable to the option's value for this run."""

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
        help="Runtime of the dense model.  [default: openvino on a CPU if installed, else torch]",
    ),
    click.option(
        "--threads",
        type=click.IntRange(1),
        expose_value=False,
        callback=_to_environment(THREADS_VARIABLE),
        help="CPU threads of the dense model.  [default: OMP_NUM_THREADS, or one per core]",
    ),
    click.option(
        "--precision",
        type=click.Choice(PRECISIONS),
        expose_value=False,
        callback=_to_environment(PRECISION_VARIABLE),
        help="Precision of the dense model: bfloat16 or float16 on a GPU, int8 with OpenVINO.  [default: float32]",
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

training_options = together(seed_option, device_option, cache_option, quiet_option)
"""Options of all commands that embed corpora to train or label a model."""

batch_size_option = click.option(
    "--batch-size",
    type=click.IntRange(1),
    default=32,
    show_default=True,
    help="Texts per forward pass; short texts are grouped in larger batches.",
)

summary_option = click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")

dead_letters_option = click.option(
    "--dead-letters",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Append failed records to this file.  [default: INDEX.dead-letters.jsonl]",
)


def dead_letters_path(asked: Path | None, index: str) -> Path:
    """The path of the dead-letter file of an index."""
    return asked or Path(f"{index}.dead-letters.jsonl")


def check_outputs(inputs: Iterable[Path | None], outputs: Mapping[str, Path]) -> None:
    """Refuse to write to a file that is also read, or to a device or pipe, which would be replaced by a file.

    Args:
        inputs: Files that are read; None is standard input.
        outputs: Files that are written, by option.

    Raises:
        UsageError: A file is both, or is not a regular file.
    """
    read = {path.resolve() for path in inputs if path is not None}
    for option, path in outputs.items():
        if path.resolve() in read:
            hint = " Dead letters are retried by `ksparse replay`." if option == "--dead-letters" else ""
            raise click.UsageError(f"{path} is read, so it cannot be written; name another file by {option}.{hint}")
        if path.exists() and not path.is_file():
            raise click.UsageError(f"{option} {path} is not a regular file; name another one, or leave {option} out.")


def _parse_field(_context: click.Context, _option: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    fields: dict[str, str] = {}
    for value in values:
        # Names may contain colons, types do not.
        name, separator, kind = value.rpartition(":")
        if not (name and separator and kind):
            raise click.BadParameter(f"{value!r} is not of the form NAME:TYPE, e.g. lang:keyword.")
        fields[name] = kind
    return fields


generate_ids_option = click.option(
    "--generate-ids", is_flag=True, help="Give records without _id the SHA-256 of their content."
)

record_options = together(
    click.option("--index", required=True, help="Index to write; created if it does not exist."),
    new_encoder_option(
        f"{_HEADS_HELP}  [default: that of the index; for a new index `own`, a dictionary of its documents]"
    ),
    click.option(
        "--k",
        type=click.IntRange(1),
        help="Features kept per document.  [default: that of the index, or of the encoder for a new index]",
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
    generate_ids_option,
    dead_letters_option,
)
"""Input and output options."""


writing_options = together(
    batch_size_option,
    click.option(
        "--chunk-size", type=click.IntRange(1), default=1_000, show_default=True, help="Documents per request."
    ),
)
"""Batch sizes."""


def check_window(schema: IndexSchema, window: int | None) -> None:
    """Check that an index has codes if a rescoring window is set.

    Raises:
        SearchError: It has no codes.
    """
    if window and schema.code is None:
        raise SearchError(
            f"Index {schema.index!r} stores no codes, so it cannot rescore {window} hits. {advice_for_codes(schema)}"
        )


def advice_for_codes(schema: IndexSchema) -> str:
    """How to get an index with codes."""
    return f"Re-encode it with codes: `ksparse reencode {schema.index} --to NEW --code-bits 4 --no-switch`."


def filter_clauses(schema: IndexSchema, filters: Sequence[str]) -> list[dict[str, Any]]:
    """Parse NAME=VALUE filters into query clauses.

    Raises:
        UsageError: A filter is not of that form, or names a `text` field without a keyword subfield.
    """
    try:
        return [parse_filter(expression, fields=schema.filterable) for expression in filters]
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def source_fields(schema: IndexSchema, names: str | None) -> list[str] | None:
    """Parse a comma-separated list of fields; None means all fields.

    Raises:
        UsageError: The index has no field of that name.
    """
    wanted = [name.strip() for name in (names or "").split(",") if name.strip()]
    known = (*STORED_FIELDS, *schema.fields)
    for name in wanted:
        if "*" not in name and not any(name == field or name.startswith(f"{field}.") for field in known):
            raise click.UsageError(
                f"--fields {name}: index {schema.index} has {', '.join(known)}; name a metadata key as metadata.{name}."
            )
    return wanted or None
