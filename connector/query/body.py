"""A sparse query as an OpenSearch query body: pure functions from values to a dict, no server."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from connector.errors import SearchError
from connector.limits import MAX_CLAUSES, MAX_HITS
from connector.types import Hit
from connector.vectors.storage import SMALLEST_WEIGHT

FEATURES_FIELD = "features"
PRESENCE_FEATURE = "present"
"""Every document has it, beside those of its encoder: `rank_features` cannot be asked by `exists` which have any."""

SPACE_FIELD = "ksparse_space"
"""A constant of each index: the space of its features, so that a query finds nothing where its features mean others."""

_WORD_TYPES = ("keyword", "constant_keyword", "wildcard", "flat_object", "flattened")
"""Types of fields that compare what is written, and not the number that it stands for."""

_WHOLE_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.0+)?")
_LARGEST_WHOLE = 2**53

FLAT_FIELDS = ("metadata", "meta")
"""Of `flat_object`, where any key can be asked for, and a string of more than 32 KB cannot be indexed."""

WHOLE_FIELD = "unindexed"
"""Keeps such fields whole where a document has such strings; the server does not look into it."""

_LARGEST = 3.4028234663852886e38


def check_text(query: str) -> None:
    """Refuse a query that says nothing, or that no server can be sent.

    Raises:
        SearchError: It is empty or blank, or no valid Unicode.
    """
    if not query.strip():
        raise SearchError("The query is empty; say what to look for.")
    try:
        query.encode()
    except UnicodeEncodeError as error:
        raise SearchError(
            f"The query is not valid Unicode: {query[error.start]!r} at position {error.start}. Give it as UTF-8."
        ) from None


def check_features(features: Mapping[str, float], *, largest: float = _LARGEST) -> None:
    """Refuse features that `rank_features` cannot hold or that would silently match nothing.

    Args:
        features: From name to weight.
        largest: The largest weight allowed; by default that of a float.

    Raises:
        ValueError: There are none, a name is empty or holds a dot, or a weight is not a normal float above 0.
    """
    if not features:
        raise ValueError("the vector has no features; encode a text that is not empty.")
    for name, weight in features.items():
        if not name or "." in name:
            raise ValueError(f"feature name {name!r} is empty or holds a dot; rank_features cannot find it again.")
        if not (math.isfinite(weight) and SMALLEST_WEIGHT <= weight <= largest):
            raise ValueError(
                f"feature {name!r} weighs {weight!r}; rank_features holds normal floats above 0 only "
                f"({SMALLEST_WEIGHT:.3g} to {largest:.3g})."
            )


def build_query(
    features: Mapping[str, float],
    *,
    filters: Sequence[Mapping[str, Any]] = (),
    field: str = FEATURES_FIELD,
    weight_exponent: int = 0,
    named: bool = False,
    space: str | None = None,
) -> dict[str, Any]:
    """Build a bool query whose score is the dot product of the query's and the document's features.

    Args:
        features: From feature name to weight in the query, 1 to 1,024 of them.
        filters: Query clauses that a document must match; they don't change its score.
        field: The `rank_features` field.
        weight_exponent: The power of two that the documents' weights were multiplied by; boosts undo it.
        named: Give each clause its feature's name, so that the server can say which matched (`matched_queries`).
        space: Match nothing in an index that says its features are of another space (`IndexSchema.space`).

    Returns:
        The value for `query` of a search body. Each clause is sent with `linear`: without a function the server
        would apply `saturation`, which is not a dot product.

    Raises:
        ValueError: A weight or a name cannot be searched, or there are more features than clauses.
    """
    unscale = 2.0**-weight_exponent
    check_features(features, largest=_LARGEST / unscale)
    if len(features) + len(filters) > MAX_CLAUSES:
        raise ValueError(
            f"the query has {len(features)} features and {len(filters)} filters, a bool query takes {MAX_CLAUSES} "
            "clauses; keep fewer features with k_query."
        )
    clauses = []
    for name, weight in features.items():
        # Nine digits tell a float apart; more would be sent and read for nothing.
        clause = {"field": f"{field}.{name}", "boost": float(f"{weight * unscale:.9g}"), "linear": {}}
        clauses.append({"rank_feature": clause | {"_name": name} if named else clause})
    query: dict[str, Any] = {"should": clauses, "minimum_should_match": 1}
    if filters:
        query["filter"] = [dict(clause) for clause in filters]
    return within_space({"bool": query}, space)


def within_space(query: dict[str, Any], space: str | None) -> dict[str, Any]:
    """Let a bool query match nothing in an index that names another space.

    The clause stands under `must_not`, where it costs nothing: each shard knows beforehand that it matches none of its
    documents, and drops it. As a filter, a constant that matches everything doubles the time of a search, since blocks
    of postings are no longer skipped.

    Args:
        query: A bool query without `must_not`.
        space: None for any.
    """
    if space is None:
        return query
    inner = query["bool"]
    if sum(map(len, (inner["should"], inner.get("filter", ())))) == MAX_CLAUSES:
        inner = {"must": [query]}  # to make room for one more
    named = {"exists": {"field": SPACE_FIELD}}
    same = {"term": {SPACE_FIELD: {"value": space}}}
    return {"bool": inner | {"must_not": [{"bool": {"filter": [named], "must_not": [same]}}]}}


def without_features(field: str = FEATURES_FIELD) -> dict[str, Any]:
    """Build a query for documents that lost their features, as a partial `_update` makes them do."""
    return {"bool": {"must_not": {"rank_feature": {"field": f"{field}.{PRESENCE_FEATURE}", "linear": {}}}}}


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """Optional parameters of a search; the defaults change nothing.

    Attributes:
        min_score: Leave out hits whose final score is lower: the score that a hit reports, whether it is a dot product,
            the estimate of a code, or the sum of reciprocal ranks.
        source: Names of the fields to return, or whether to return any; None for the searcher's own.
        highlight: Passed through to the server, e.g. `{"fields": {"text": {}}}`.
        routing: Ask the shards of this routing value only.
        preference: Which copies of a shard answer, e.g. a session's id, so that equal scores keep their order.
    """

    min_score: float | None = None
    source: Sequence[str] | bool | None = None
    highlight: Mapping[str, Any] | None = None
    routing: str | None = None
    preference: str | None = None

    def __post_init__(self) -> None:
        if self.min_score is not None and math.isnan(self.min_score):
            raise ValueError("min_score must be a number, got nan.")

    @property
    def params(self) -> dict[str, str]:
        """What stands in the address of the request."""
        return {name: value for name in ("routing", "preference") if (value := getattr(self, name)) is not None}

    @property
    def body(self) -> dict[str, Any]:
        """What stands in its body, `source` apart."""
        return {} if self.highlight is None else {"highlight": dict(self.highlight)}

    def keep(self, hits: Sequence[Hit]) -> list[Hit]:
        """Return the hits that score enough.

        The server's `min_score` compares the score of the first phase, before codes rescore a hit or ranks are fused.
        """
        return [hit for hit in hits if self.min_score is None or hit.score >= self.min_score]


NO_OPTIONS = SearchOptions()


def build_search(
    query: Mapping[str, Any],
    *,
    top_k: int,
    source: Sequence[str] | bool = True,
    rescore: Mapping[str, Any] | None = None,
    options: SearchOptions = NO_OPTIONS,
) -> dict[str, Any]:
    """Build a search body around a query.

    Args:
        query: A query clause, such as `build_query` returns.
        top_k: Hits asked for, at least 1.
        source: Names of the fields to return, or whether to return any.
        rescore: How the first hits are scored again.
        options: What else is asked for.

    Raises:
        ValueError: `top_k` is not between 1 and 10,000, the server's `index.max_result_window`.
    """
    if not 1 <= top_k <= MAX_HITS:
        raise ValueError(f"top_k must be between 1 and {MAX_HITS:,} (index.max_result_window), got {top_k}.")
    again = {"rescore": dict(rescore)} if rescore is not None else {}
    if options.source is not None:
        source = options.source
    return (
        again
        | options.body
        | {
            "query": dict(query),
            "size": top_k,
            # Without it the first 10,000 hits are counted and no block of postings can be skipped.
            "track_total_hits": False,
            "_source": _asked(source) if not isinstance(source, bool) else source,
        }
    )


def _asked(fields: Sequence[str]) -> list[str]:
    """The fields of `_source` that some fields of a document are made of."""
    return [*fields, WHOLE_FIELD] if any(name in FLAT_FIELDS for name in fields) else list(fields)


def parse_filter(expression: str, *, fields: Mapping[str, str] | Sequence[str] = ()) -> dict[str, Any]:
    """Turn `name=value` into a clause.

    A whole number is found however it was written, as 2020 or as 2020.0, where the server compares words.

    Args:
        expression: As typed, e.g. `lang=en`.
        fields: The top-level fields that the index declares, with their types if they are known. Any other name is
            looked up under `metadata`.

    Raises:
        ValueError: The expression has no `=`, or nothing in front of it, or is not valid Unicode.
    """
    name, separator, value = expression.partition("=")
    name, value = name.strip(), value.strip()
    if not separator or not name:
        raise ValueError(f"filter {expression!r} is not of the form NAME=VALUE, e.g. lang=en.")
    try:
        expression.encode()
    except UnicodeEncodeError:
        raise ValueError(f"filter {expression!r} is not valid Unicode; give it as UTF-8.") from None
    path = name if name in fields or name.startswith("metadata.") else f"metadata.{name}"
    of_words = path not in fields or (isinstance(fields, Mapping) and fields[path] in _WORD_TYPES)
    written = number_spellings(value) if of_words else [value]
    return {"term": {path: {"value": value}}} if len(written) == 1 else {"terms": {path: written}}


def number_spellings(value: str) -> list[str]:
    """The ways in which a whole number may have been written, the given one first; any other value is itself.

    A number with leading zeros is none: it is a code, such as 007.
    """
    if not _WHOLE_NUMBER.fullmatch(value) or abs(float(value)) >= _LARGEST_WHOLE:
        return [value]
    whole = int(value.partition(".")[0])
    return list(dict.fromkeys([value, str(whole), f"{whole}.0"]))
