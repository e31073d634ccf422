"""What a new index is like: the options that say so, and what becomes of them where the index exists already."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypeVar, cast

import click
from opensearchpy import OpenSearch

from connector.connection.client import explained
from connector.errors import EncoderMismatchError, IndexMappingError
from connector.index.new_index import NewIndex
from connector.index.schema import IndexSchema, check_fields
from connector.query.pruning import Pruning
from connector.query.settings import SearchSettings
from connector.vectors.codes import Bits, CodeBits

F = TypeVar("F", bound=Callable[..., Any])

CodeBitsChoice = click.Choice(["none", "1", "2", "3", "4", "8"])

_OPTIONS = {
    "idf": click.option(
        "--idf",
        is_flag=True,
        default=None,
        help="Weight the queries of a SPLADE by the IDF of their features in the corpus (stored in the index).",
    ),
    "calibrate": click.option(
        "--calibrate/--no-calibrate",
        default=None,
        help="Calibrate a new index (token IDF, mean embedding) on its first 10,000 documents.  [default: calibrate]",
    ),
    "code_bits": click.option(
        "--code-bits",
        type=CodeBitsChoice,
        help="Store an N-bit code of each dense embedding to rescore the top hits (new index only).  "
        "[default: 4 where there is a dense model]",
    ),
    "posting_budget": click.option(
        "--posting-budget",
        type=click.FloatRange(min=0, min_open=True),
        help="Default posting budget for searches of a new index, in postings per document.",
    ),
    "shards": click.option("--shards", type=click.IntRange(1, 1024), help="Of a new index.  [default: the server's]"),
    "replicas": click.option("--replicas", type=click.IntRange(0), help="Of a new index.  [default: the server's]"),
}


@dataclass(frozen=True, slots=True)
class NewIndexChoice:
    """What the command line says of a new index; None where it says nothing."""

    idf: bool | None = None
    calibrate: bool | None = None
    code_bits: str | None = None
    posting_budget: float | None = None
    shards: int | None = None
    replicas: int | None = None

    @property
    def bits(self) -> CodeBits:
        """Bits per dimension of the codes, as the library takes them."""
        if self.code_bits is None:
            return "auto"
        return None if self.code_bits == "none" else cast("Bits", int(self.code_bits))

    @property
    def settings(self) -> dict[str, int]:
        """Its settings, without those that the server chooses."""
        settings = {"number_of_shards": self.shards, "number_of_replicas": self.replicas}
        return {name: value for name, value in settings.items() if value is not None}

    def builds_dictionary(self, encoder: str | None, k: int | None) -> bool:
        """Whether it gets a dictionary of its own documents: no option requires a fixed encoder."""
        return encoder is None and k is None and not self.idf and self.calibrate is not False

    def to_new_index(self, **others: Any) -> NewIndex:  # noqa: ANN401
        """What the library takes; `others` come from other options."""
        budget = None if self.posting_budget is None else Pruning("posting_budget", self.posting_budget)
        own: dict[str, Any] = {
            "code_bits": self.bits,
            "calibrate": self.calibrate is not False,
            "search": None if budget is None else SearchSettings(pruning=budget),
            "settings": self.settings,
        }
        return NewIndex(**own | others)

    def check_existing(
        self, client: OpenSearch, schema: IndexSchema, *, k: int | None = None, fields: Mapping[str, str] | None = None
    ) -> None:
        """Refuse what an index that exists does not have and cannot get; warn of what can be changed elsewhere.

        What the index has may be asked for again, so that a command can be run twice.

        Args:
            client: A ready client.
            schema: Of the index.
            k: Features of a document, None where the command does not say.
            fields: To be declared, from name to type.

        Raises:
            EncoderMismatchError: `k` is another.
            IndexMappingError: Something else is.
        """
        check_k(schema, k)
        check_fields(schema, fields or {})
        settings = _settings(client, schema) if self.settings else {}
        bits, weighs = schema.code.bits if schema.code is not None else None, weighs_by_idf(schema)
        refused = []
        if self.code_bits is not None and self.bits != bits:
            refused.append(f"--code-bits {self.code_bits} (it has {f'codes of {bits} bits' if bits else 'no codes'})")
        if self.idf and not weighs:
            refused.append("--idf (its queries are not weighed)")
        if self.shards is not None and str(self.shards) != settings["number_of_shards"]:
            refused.append(f"--shards {self.shards} (it has {settings['number_of_shards']})")
        if refused:
            copied = [f"--code-bits {self.code_bits}"] if self.code_bits is not None and self.bits != bits else []
            copied += ["--idf"] if self.idf and not weighs else []
            advice = f", or copy this one: `ksparse reencode {schema.index} --to NEW {' '.join(copied)} --no-switch`"
            raise IndexMappingError(
                f"Index {schema.index!r} exists, and only a new index can have {', '.join(refused)}. Leave it "
                f"out, or ingest into a new index{advice if len(copied) == len(refused) else ''}."
            )
        budget = schema.search.posting_budget if schema.search is not None else None
        calibrated = schema.statistics is not None
        if self.replicas is not None and str(self.replicas) != settings["number_of_replicas"]:
            _warn(schema, f"--replicas {self.replicas}", f"keeps its {settings['number_of_replicas']}")
        if self.posting_budget is not None and self.posting_budget != budget:
            kept = "searches without" if budget is None else f"keeps its own, {budget:g}"
            _warn(schema, f"--posting-budget {self.posting_budget:g}", f"{kept}; `ksparse tune --save` sets one")
        if self.calibrate is not None and self.calibrate != calibrated:
            kept = "keeps its statistics" if calibrated else "stays without statistics"
            _warn(schema, "--calibrate" if self.calibrate else "--no-calibrate", kept)


def new_index_options(*names: str) -> Callable[[F], F]:
    """Add the options of a new index, those named or all, which the command gets as `new`."""

    def add(command: F) -> F:
        @wraps(command)
        def gathered(*args: Any, **given: Any) -> Any:  # noqa: ANN401
            own = {name: given.pop(name) for name in names or _OPTIONS}
            return command(*args, new=NewIndexChoice(**own), **given)

        decorated: Any = gathered
        for name in reversed(names or tuple(_OPTIONS)):
            decorated = _OPTIONS[name](decorated)
        return cast("F", decorated)

    return add


def check_k(schema: IndexSchema, k: int | None) -> None:
    """Make sure that an index keeps as many features of a document; None asks for nothing.

    Raises:
        EncoderMismatchError: It does not.
    """
    if k is not None and k != schema.encoder.k:
        raise EncoderMismatchError(
            f"Index {schema.index!r} keeps {schema.encoder.k or 'all'} features of a document, not {k}: their features "
            f"do not match. Leave --k out, or copy the index: `ksparse reencode {schema.index} --to NEW --k {k}`."
        )


def weighs_by_idf(schema: IndexSchema) -> bool:
    """Whether queries are weighed by `QueryIdf`, whose statistics have no mean."""
    return schema.statistics is not None and not schema.statistics.mean.size


def _settings(client: OpenSearch, schema: IndexSchema) -> dict[str, str]:
    with explained(client):
        replies = client.indices.get_settings(index=schema.names[0], params={"flat_settings": "true"})
    found = next(iter(replies.values()))["settings"]
    return {name: str(found[f"index.{name}"]) for name in ("number_of_shards", "number_of_replicas")}


def _warn(schema: IndexSchema, option: str, instead: str) -> None:
    click.echo(f"{option} has no effect: index {schema.index} exists and {instead}.", err=True)
