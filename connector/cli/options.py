"""Options that are the same in every command that has them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from connector.query.body import parse_filter
from connector.types import SearchDefaults
from connector.vectors.codes import Bits

F = TypeVar("F", bound=Callable[..., Any])

_HEADS_HELP = "all-MiniLM-L6-v2 or bert-tiny-splade-ht, a folder (ksparse train, SparseEncoder), or one on the hub."


def _to_bits(_context: click.Context, _option: click.Parameter, value: str) -> Bits | None:
    bits: dict[str, Bits] = {"1": 1, "2": 2, "4": 4, "8": 8}
    return bits.get(value)


rescore_option = click.option(
    "--rescore",
    type=click.Choice(["none", "1", "2", "4", "8"]),
    default="none",
    show_default=True,
    callback=_to_bits,
    help="Bits a dimension of a code that puts the first hits into the dense order. Of a new index.",
)

device_option = click.option("--device", help="cuda, mps or cpu.  [default: the best there is]")

devices_option = click.option(
    "--device",
    "devices",
    multiple=True,
    help="cuda, mps or cpu; repeatable (cuda:0, cuda:1) to encode on several.  [default: the best there is]",
)

corpora_argument = click.argument("corpus", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))

trained_output_option = click.option(
    "--output", "-o", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder to write."
)

splits_option = click.option(
    "--split", "splits", multiple=True, help="Qrels to learn from. Repeatable.  [default: train, where a corpus has it]"
)

max_minutes_option = click.option(
    "--max-minutes", type=click.FloatRange(min=0, min_open=True), help="Stop in time.  [default: no limit]"
)

cache_option = click.option(
    "--cache", type=click.Path(file_okay=False, path_type=Path), help="Keep embeddings in this folder."
)

seed_option = click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True)

quiet_option = click.option("--quiet", is_flag=True, help="No progress.")

batch_size_option = click.option(
    "--batch-size", type=click.IntRange(1), default=32, show_default=True, help="Texts per forward pass."
)

summary_option = click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")

dead_letters_option = click.option(
    "--dead-letters",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Keep what fails in this file.  [default: INDEX.dead-letters.jsonl]",
)


def dead_letters_path(asked: Path | None, index: str) -> Path:
    """Where the dead letters of an index are kept."""
    return asked or Path(f"{index}.dead-letters.jsonl")


index_encoder_option = click.option(
    "--encoder", default="all-MiniLM-L6-v2", show_default=True, help="The one that wrote the index."
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


def together(*options: Callable[[F], F]) -> Callable[[F], F]:
    """One decorator for options that go together, in their order."""

    def add(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return add


record_options = together(
    click.option("--index", required=True, help="Index to write; made if it does not exist."),
    click.option("--encoder", default="all-MiniLM-L6-v2", show_default=True, help=_HEADS_HELP),
    click.option("--k", type=click.IntRange(1), help="Features kept per document.  [default: the encoder's]"),
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
        help="Of the input.  [default: by its suffix; jsonl for -]",
    ),
    click.option("--generate-ids", is_flag=True, help="Give records without _id the SHA-256 of their content."),
    dead_letters_option,
)
"""What is written, and from what."""

idf_option = click.option(
    "--idf", is_flag=True, help="Weigh a SPLADE's queries by how rare features are in the corpus; the index notes it."
)

posting_budget_option = click.option(
    "--posting-budget",
    type=click.FloatRange(min=0, min_open=True),
    help="Of a new index: what searches read at most where they do not say, in multiples of its documents.",
)

new_index_options = together(
    idf_option,
    click.option(
        "--calibrate/--no-calibrate",
        default=True,
        show_default=True,
        help="Tell the encoder of a new index how common words are, and where documents lie, from the first 10,000.",
    ),
    rescore_option,
    posting_budget_option,
    click.option("--shards", type=click.IntRange(1), help="Of a new index.  [default: the server's]"),
    click.option("--replicas", type=click.IntRange(0), help="Of a new index.  [default: the server's]"),
)
"""What a new index is like."""

writing_options = together(
    batch_size_option,
    click.option(
        "--chunk-size", type=click.IntRange(1), default=1_000, show_default=True, help="Documents per request."
    ),
)
"""How much at a time."""


def filter_clauses(filters: Sequence[str], fields: Mapping[str, str]) -> list[dict[str, Any]]:
    """The query clauses of NAME=VALUE filters.

    Raises:
        UsageError: One is not of that form.
    """
    try:
        return [parse_filter(expression, fields=fields) for expression in filters]
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def index_settings(shards: int | None, replicas: int | None) -> dict[str, int]:
    """The settings of a new index, those left out that the server is to choose."""
    settings = {"number_of_shards": shards, "number_of_replicas": replicas}
    return {name: value for name, value in settings.items() if value is not None}


def search_defaults(posting_budget: float | None) -> SearchDefaults | None:
    """How a new index is searched where a search does not say; None if the command says nothing of it either."""
    return None if posting_budget is None else SearchDefaults(posting_budget=posting_budget)
