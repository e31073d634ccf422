"""Search options shared by `ksparse search` and other commands."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import wraps
from math import isfinite, isnan
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from connector.cli.options import check_window, filter_clauses
from connector.limits import MAX_CLAUSES, MAX_HITS
from connector.query.body import SearchOptions
from connector.query.pruning import PRUNE_TYPES, PruneType, Pruning
from connector.query.settings import SearchSettings

if TYPE_CHECKING:
    from connector.index.schema import IndexSchema
    from connector.search.retriever import Retriever
    from connector.types import Hit

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS = (
    click.option(
        "--k-query",
        type=click.IntRange(1, MAX_CLAUSES),
        help="Features per query.  [default: as tuned, else the encoder's, fewer if hits are rescored]",
    ),
    click.option(
        "--prune-type",
        type=click.Choice(PRUNE_TYPES),
        help="Rule for dropping query features, named as in neural-search, or posting_budget.  "
        "[default: as tuned, or none]",
    ),
    click.option(
        "--prune-ratio",
        type=float,
        help="Threshold for --prune-type: a count, a fraction, a weight, or postings per document.",
    ),
    click.option(
        "--window",
        type=click.IntRange(0, MAX_HITS),
        help="Hits per shard to rescore by codes; 0 disables rescoring.  [default: as stored in the index, else 100; "
        "at least 10 times --top-k]",
    ),
    click.option(
        "--min-score",
        type=float,
        help="Minimum score as printed; codes and --hybrid change its scale.",
    ),
    click.option("--hybrid", is_flag=True, help="Average the normalized scores of features and of BM25."),
    click.option(
        "--alpha",
        type=click.FloatRange(0, 1),
        help="Weight of the features in this average; BM25 has the rest.  [default: 0.5]",
    ),
    click.option(
        "--rank-window-size",
        type=click.IntRange(1, MAX_HITS),
        help="Hits of each ranking that --hybrid fuses.  [default: 100, at most the window and at least --top-k]",
    ),
    click.option("--bm25-weight", type=float, help="Add BM25 times this weight to the dot product instead, e.g. 0.01."),
    click.option(
        "--filter", "filters", multiple=True, metavar="NAME=VALUE", help="Keep matching documents. Repeatable."
    ),
)


@dataclass(frozen=True, slots=True)
class SearchChoice:
    """Search options of the command line.

    Raises:
        UsageError: Options contradict each other.
    """

    k_query: int | None = None
    prune_type: PruneType | None = None
    prune_ratio: float | None = None
    window: int | None = None
    min_score: float | None = None
    hybrid: bool = False
    alpha: float | None = None
    rank_window_size: int | None = None
    bm25_weight: float | None = None
    filters: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        weight = self.bm25_weight
        if self.hybrid and weight is not None:
            raise click.UsageError("--hybrid averages normalized scores and --bm25-weight adds scores; choose one.")
        if weight is not None and not (weight > 0 and isfinite(weight)):
            raise click.UsageError(f"--bm25-weight must be a number above 0, got {weight:g}.")
        for option, given in {"--min-score": self.min_score, "--alpha": self.alpha}.items():
            if given is not None and isnan(given):
                raise click.UsageError(f"{option} must be a number, got nan.")
        for option, given in {"--alpha": self.alpha, "--rank-window-size": self.rank_window_size}.items():
            if given is not None and not self.hybrid:
                raise click.UsageError(f"{option} needs --hybrid.")
        if weight is not None and self.window:
            raise click.UsageError("--bm25-weight does not rescore by codes; leave --window out, or use --hybrid.")
        if self.prune_ratio is not None and self.prune_type is None:
            raise click.UsageError(f"--prune-ratio {self.prune_ratio:g} needs --prune-type.")
        if self.prune_type not in (None, "none") and self.prune_ratio is None:
            raise click.UsageError(f"--prune-type {self.prune_type} needs --prune-ratio.")
        try:
            _ = self.settings
        except ValueError as error:
            raise click.UsageError(str(error)) from error

    @property
    def mixed(self) -> bool:
        """Whether BM25 contributes to the ranking."""
        return self.hybrid or self.bm25_weight is not None

    @property
    def settings(self) -> SearchSettings:
        """Convert to the library's `SearchSettings`."""
        pruning = None if self.prune_type is None else Pruning(self.prune_type, self.prune_ratio or 0.0)
        return SearchSettings(self.k_query, self.window, pruning, self.rank_window_size)

    def clauses(self, schema: IndexSchema, *, top_k: int) -> list[dict[str, Any]]:
        """Run the checks that need no encoder and return the filters as query clauses.

        Raises:
            SearchError: A window is set but the index has no codes.
            UsageError: A filter is not of the form NAME=VALUE, or --rank-window-size is below --top-k.
        """
        check_window(schema, self.window)
        if self.rank_window_size is not None and self.rank_window_size < top_k:
            raise click.UsageError(f"--rank-window-size {self.rank_window_size} is below --top-k {top_k}; increase it.")
        return filter_clauses(schema, self.filters)

    def ask(
        self,
        retriever: Retriever,
        queries: Sequence[str],
        clauses: Sequence[Mapping[str, Any]],
        *,
        top_k: int,
        source: Sequence[str] | None = None,
        many: bool = True,
    ) -> list[list[Hit]]:
        """Run queries; in batches if `many` is set and the search is not hybrid.

        Args:
            retriever: Retriever of the index.
            queries: The query texts.
            clauses: Filters as query clauses.
            top_k: Hits per query.
            source: Fields to return.
            many: Truncate queries that are too long instead of refusing them.
        """
        options: dict[str, Any] = {"top_k": top_k, "filters": clauses, "settings": self.settings}
        options["options"] = SearchOptions(min_score=self.min_score, source=source)
        if self.mixed:
            options |= {"alpha": self.alpha, "bm25_weight": self.bm25_weight}
            return [retriever.search_hybrid(query, **options) for query in queries]
        if many:
            return retriever.search_many(queries, **options)
        return [retriever.search(query, **options) for query in queries]


def search_options(command: F) -> F:
    """Add the search options, passed to the command as `choice`."""
    names = [each.name for each in fields(SearchChoice)]

    @wraps(command)
    def gathered(*args: Any, **given: Any) -> Any:  # noqa: ANN401
        own = {name: given.pop(name) for name in names}
        return command(*args, choice=SearchChoice(**own), **given)

    decorated: Any = gathered
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return cast("F", decorated)
