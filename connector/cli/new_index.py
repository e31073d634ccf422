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
from connector.index.schema import IndexSchema, check_fields
from connector.types import SearchDefaults
from connector.vectors.codes import Bits, CodeBits

F = TypeVar("F", bound=Callable[..., Any])

RescoreChoice = click.Choice(["none", "1", "2", "3", "4", "8"])

_OPTIONS = {
    "idf": click.option(
        "--idf",
        is_flag=True,
        default=None,
        help="Weigh a SPLADE's queries by how rare features are in the corpus; the index notes it.",
    ),
    "calibrate": click.option(
        "--calibrate/--no-calibrate",
        default=None,
        help="Tell the encoder of a new index how common words are, and where documents lie, from the first 10,000.  "
        "[default: calibrate]",
    ),
    "rescore": click.option(
        "--rescore",
        type=RescoreChoice,
        help="Bits a dimension of a code that puts the first hits into the dense order. Of a new index.  "
        "[default: 3 with a dictionary of the index's own, 4 with another head]",
    ),
    "posting_budget": click.option(
        "--posting-budget",
        type=click.FloatRange(min=0, min_open=True),
        help="Of a new index: what searches read at most where they do not say, in multiples of its documents.",
    ),
    "shards": click.option("--shards", type=click.IntRange(1, 1024), help="Of a new index.  [default: the server's]"),
    "replicas": click.option("--replicas", type=click.IntRange(0), help="Of a new index.  [default: the server's]"),
}


@dataclass(frozen=True, slots=True)
class NewIndex:
    """What the command line says of a new index; None where it says nothing."""

    idf: bool | None = None
    calibrate: bool | None = None
    rescore: str | None = None
    posting_budget: float | None = None
    shards: int | None = None
    replicas: int | None = None

    @property
    def bits(self) -> CodeBits:
        """Bits a dimension of the codes, as the library takes them."""
        if self.rescore is None:
            return "auto"
        return None if self.rescore == "none" else cast("Bits", int(self.rescore))

    def builds_dictionary(self, encoder: str | None, k: int | None) -> bool:
        """Whether it gets a dictionary of its own documents: nothing that is said belongs to a fixed encoder."""
        return encoder is None and k is None and not self.idf and self.calibrate is not False

    @property
    def search(self) -> SearchDefaults | None:
        """How it is searched where a search does not say."""
        return None if self.posting_budget is None else SearchDefaults(posting_budget=self.posting_budget)

    @property
    def settings(self) -> dict[str, int]:
        """Its settings, those left out that the server is to choose."""
        settings = {"number_of_shards": self.shards, "number_of_replicas": self.replicas}
        return {name: value for name, value in settings.items() if value is not None}

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
        if self.rescore is not None and self.bits != bits:
            refused.append(f"--rescore {self.rescore} (it has {f'codes of {bits} bits' if bits else 'no codes'})")
        if self.idf and not weighs:
            refused.append("--idf (its queries are not weighed)")
        if self.shards is not None and str(self.shards) != settings["number_of_shards"]:
            refused.append(f"--shards {self.shards} (it has {settings['number_of_shards']})")
        if refused:
            copied = [f"--rescore {self.rescore}"] if self.rescore is not None and self.bits != bits else []
            copied += ["--idf"] if self.idf and not weighs else []
            advice = f", or copy this one: `ksparse reencode {schema.index} --to NEW {' '.join(copied)} --no-switch`"
            raise IndexMappingError(
                f"Index {schema.index!r} exists, and only a new one can be made with {', '.join(refused)}. Leave that "
                f"out, or ingest into a new index{advice if len(copied) == len(refused) else ''}."
            )
        budget = schema.search.posting_budget if schema.search is not None else None
        told = schema.statistics is not None
        if self.replicas is not None and str(self.replicas) != settings["number_of_replicas"]:
            _warn(schema, f"--replicas {self.replicas}", f"keeps its {settings['number_of_replicas']}")
        if self.posting_budget is not None and self.posting_budget != budget:
            kept = "searches without" if budget is None else f"keeps its own, {budget:g}"
            _warn(schema, f"--posting-budget {self.posting_budget:g}", f"{kept}; `ksparse tune --save` sets one")
        if self.calibrate is not None and self.calibrate != told:
            kept = "keeps its statistics" if told else "stays without statistics"
            _warn(schema, "--calibrate" if self.calibrate else "--no-calibrate", kept)


def new_index_options(*names: str) -> Callable[[F], F]:
    """Add the options of a new index, those named or all, which the command gets as `new`."""

    def add(command: F) -> F:
        @wraps(command)
        def gathered(*args: Any, **given: Any) -> Any:  # noqa: ANN401
            own = {name: given.pop(name) for name in names or _OPTIONS}
            return command(*args, new=NewIndex(**own), **given)

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
