"""Options of a new index, and their check against an existing one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypeVar, cast

import click
from opensearchpy import OpenSearch

from connector.connection.client import explained
from connector.encoders.folders import DEFAULT_ENCODER, OWN_ENCODER, SHIPPED_SPLADE
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
        help="Weight SPLADE query features by their IDF in the corpus (stored in the index).",
    ),
    "calibrate": click.option(
        "--calibrate/--no-calibrate",
        default=None,
        help="Calibrate a new index (token IDF, mean embedding) on its first 10,000 documents.  [default: calibrate]",
    ),
    "code_bits": click.option(
        "--code-bits",
        type=CodeBitsChoice,
        help="Store an N-bit code of each dense embedding to rescore the top hits (new index only); 3 only with "
        "a dictionary of the index.  [default: 4 if the encoder has a dense model]",
    ),
    "posting_budget": click.option(
        "--posting-budget",
        type=click.FloatRange(min=0, min_open=True),
        help="Default posting budget for searches of a new index, in postings per document.",
    ),
    "shards": click.option("--shards", type=click.IntRange(1, 1024), help="New index only.  [default: the server's]"),
    "replicas": click.option("--replicas", type=click.IntRange(0), help="New index only.  [default: the server's]"),
}


@dataclass(frozen=True, slots=True)
class NewIndexChoice:
    """Options of a new index; None if not given."""

    idf: bool | None = None
    calibrate: bool | None = None
    code_bits: str | None = None
    posting_budget: float | None = None
    shards: int | None = None
    replicas: int | None = None

    @property
    def bits(self) -> CodeBits:
        """Bits per dimension of the codes."""
        if self.code_bits is None:
            return "auto"
        return None if self.code_bits == "none" else cast("Bits", int(self.code_bits))

    @property
    def settings(self) -> dict[str, int]:
        """Index settings that were given."""
        settings = {"number_of_shards": self.shards, "number_of_replicas": self.replicas}
        return {name: value for name, value in settings.items() if value is not None}

    def builds_dictionary(self, encoder: str | None, k: int | None) -> bool:
        """Whether the index builds its own dictionary: no option requires a fixed encoder."""
        return encoder is None and k is None and not self.idf and self.calibrate is not False

    def to_new_index(self, **others: Any) -> NewIndex:  # noqa: ANN401
        """Convert to the library's `NewIndex`; `others` are fields from other options."""
        budget = None if self.posting_budget is None else Pruning("posting_budget", self.posting_budget)
        own: dict[str, Any] = {
            "code_bits": self.bits,
            "calibrate": self.calibrate is not False,
            "search": None if budget is None else SearchSettings(pruning=budget),
            "settings": self.settings,
        }
        return NewIndex(**own | others)

    def check_own(self, encoder: str | None, *, k: int | None = None, fit: bool = False) -> None:
        """Refuse options that contradict `--encoder own`, and codes that a fitted head cannot have.

        Args:
            encoder: The given encoder.
            k: Features per document; None if not given.
            fit: Whether a head is to be fitted.

        Raises:
            UsageError: An option would be ignored, or would keep the dictionary from being built.
        """
        given = {"--k": k is not None, "--idf": self.idf, "--no-calibrate": self.calibrate is False, "--fit": fit}
        refused = [option for option, is_given in given.items() if is_given]
        if encoder == OWN_ENCODER and refused:
            raise click.UsageError(f"--encoder own builds a dictionary, without {' and '.join(refused)}; choose one.")
        if fit and self.bits == 3:
            raise click.UsageError("--code-bits 3 needs a dictionary, and --fit makes a head; use 1, 2, 4 or 8.")

    def check_existing(
        self,
        client: OpenSearch,
        schema: IndexSchema,
        *,
        k: int | None = None,
        fields: Mapping[str, str] | None = None,
        encoder: str | None = None,
    ) -> None:
        """Refuse options that an existing index does not match and cannot adopt; warn about those without effect.

        Options that the index already matches are accepted, so that a command can be repeated.

        Args:
            client: A connected client.
            schema: Schema of the index.
            k: Features per document; None if not given.
            fields: Types of the fields to declare, by name.
            encoder: The given encoder; another one than that of the index is refused later.

        Raises:
            EncoderMismatchError: `k` differs.
            IndexMappingError: Another option differs.
        """
        check_k(schema, k)
        check_fields(schema, fields or {})
        settings = _settings(client, schema) if self.settings else {}
        bits = schema.code.bits if schema.code is not None else None
        refused, copied = [], []
        if self.code_bits is not None and self.bits != bits:
            refused.append(f"--code-bits {self.code_bits} (it has {f'codes of {bits} bits' if bits else 'no codes'})")
            needs_dictionary = self.bits == 3 and schema.dictionary is None
            copied.append(f"{f'--encoder {OWN_ENCODER} ' if needs_dictionary else ''}--code-bits {self.code_bits}")
        if self.idf and not weighs_by_idf(schema):
            refused.append("--idf (its queries are not weighted)")
            if not _has_dense_model(schema):
                copied.append("--idf")
            elif not copied:  # a SPLADE has no codes
                copied.append(f"--encoder {SHIPPED_SPLADE} --idf")
        if self.shards is not None and str(self.shards) != settings["number_of_shards"]:
            refused.append(f"--shards {self.shards} (it has {settings['number_of_shards']})")
        if refused:
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
        if encoder == OWN_ENCODER and schema.dictionary is None:
            _warn(schema, "--encoder own", f"keeps its encoder, {schema.encoder_name or schema.encoder}")


def new_index_options(*names: str) -> Callable[[F], F]:
    """Add the named options of a new index, or all, passed to the command as `new`."""

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
    """Check that an index keeps `k` features per document; None skips the check.

    Raises:
        EncoderMismatchError: It keeps another number.
    """
    if k is not None and k != schema.encoder.k:
        raise EncoderMismatchError(
            f"Index {schema.index!r} keeps {schema.encoder.k or 'all'} features per document, not {k}. Leave --k "
            f"out, or {_advise_k(schema, k)}"
        )


def check_copied(schema: IndexSchema, k: int | None, *, idf: bool) -> None:
    """Check that a copy of an index with the same encoder can have these properties.

    Args:
        schema: Schema of the index to copy.
        k: Features per document of the copy; None if not given.
        idf: Whether its queries are to be weighted by IDF.

    Raises:
        UsageError: The encoder is a dictionary, which cannot.
    """
    if schema.dictionary is None or (k in (None, schema.encoder.k) and not idf):
        return
    option = "--idf" if idf or k is None else f"--k {k}"
    advice = advise_copy(schema, SHIPPED_SPLADE, "--idf") if idf or k is None else _advise_k(schema, k)
    raise click.UsageError(
        f"{option} is impossible: {schema.index} has its own dictionary, whose features are fixed. Leave it out, or "
        f"{advice}"
    )


def advise_copy(schema: IndexSchema, encoder: str | None = None, options: str = "") -> str:
    """How to copy an index, with another encoder if one is named."""
    words = ["ksparse reencode", schema.index, "--to NEW", f"--encoder {encoder}" if encoder else "", options]
    fixed = " with a fixed encoder" if encoder in (DEFAULT_ENCODER, SHIPPED_SPLADE) else ""
    return f"copy the index{fixed}: `{' '.join(filter(None, words))} --no-switch`."


def _advise_k(schema: IndexSchema, k: int) -> str:
    """How to copy an index to another number of features, which a dictionary does not have."""
    return advise_copy(schema, DEFAULT_ENCODER if schema.dictionary is not None else None, f"--k {k}")


def weighs_by_idf(schema: IndexSchema) -> bool:
    """Whether queries are weighted by `QueryIdf`, whose statistics have no mean."""
    return schema.statistics is not None and not schema.statistics.mean.size


def _has_dense_model(schema: IndexSchema) -> bool:
    """Whether the encoder of an index is known to have a dense model; only a SPLADE can weight queries by IDF."""
    measured = schema.statistics is not None and bool(schema.statistics.mean.size)
    return measured or schema.dictionary is not None or schema.code is not None


def _settings(client: OpenSearch, schema: IndexSchema) -> dict[str, str]:
    with explained(client):
        replies = client.indices.get_settings(index=schema.names[0], params={"flat_settings": "true"})
    found = next(iter(replies.values()))["settings"]
    return {name: str(found[f"index.{name}"]) for name in ("number_of_shards", "number_of_replicas")}


def _warn(schema: IndexSchema, option: str, instead: str) -> None:
    click.echo(f"{option} has no effect: index {schema.index} exists and {instead}.", err=True)
