"""Build OpenSearch request bodies for sparse queries. Pure functions, no server."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from connector.corpus.values import is_unicode
from connector.errors import SearchError
from connector.limits import MAX_CLAUSES, MAX_HITS
from connector.query.clauses import copied
from connector.query.paths import WORD_TYPES, check_lengths, exact_path, path_of
from connector.types import FLAT_FIELDS, WHOLE_FIELD, Hit
from connector.vectors.storage import SMALLEST_WEIGHT

FEATURES_FIELD = "features"
PRESENCE_FEATURE = "present"
"""A feature that every document has: `exists` does not work on `rank_features` fields."""

SPACE_FIELD = "ksparse_space"
"""Constant field of each index that names its encoder, so that queries of other encoders match nothing."""

_WHOLE_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.0+)?")
_MAX_WHOLE = 2**53

_MAX_FLOAT = 3.4028234663852886e38


def check_text(query: str) -> None:
    """Refuse an empty query or one that cannot be encoded as UTF-8.

    Raises:
        SearchError: The query is empty, blank or not valid Unicode.
    """
    if not query.strip():
        raise SearchError("The query is empty; enter a search text.")
    try:
        query.encode()
    except UnicodeEncodeError as error:
        raise SearchError(
            f"The query is not valid Unicode: {query[error.start]!r} at position {error.start}. Give it as UTF-8."
        ) from None


def check_features(features: Mapping[str, float], *, largest: float = _MAX_FLOAT) -> None:
    """Refuse features that `rank_features` cannot store or that would silently match nothing.

    Args:
        features: Weight of each feature name.
        largest: Largest allowed weight; by default the largest float.

    Raises:
        ValueError: The mapping is empty, a name is empty or contains a dot, or a weight is not a normal float above 0.
    """
    if not features:
        raise ValueError("the vector has no features; encode a non-empty text.")
    for name, weight in features.items():
        if not name or "." in name:
            raise ValueError(f"feature name {name!r} is empty or contains a dot, which rank_features does not allow.")
        if not (math.isfinite(weight) and SMALLEST_WEIGHT <= weight <= largest):
            raise ValueError(
                f"the weight of feature {name!r} is {weight!r}; rank_features stores only normal floats above 0 "
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
        features: Query weight of each feature name, 1 to 1,024 features.
        filters: Query clauses that a document must match; they do not change its score.
        field: The `rank_features` field.
        weight_exponent: Exponent of the power of two by which document weights were multiplied; boosts undo it.
        named: Name each clause by its feature, so that the server reports matches (`matched_queries`).
        space: Match nothing in an index with another `IndexSchema.space`.

    Returns:
        The value for `query` of a search body. Each clause is sent with `linear`: without a function the server
        would apply `saturation`, which is not a dot product.

    Raises:
        ValueError: A weight, a name or a filter is invalid, or there are more features than clauses in a bool query.
    """
    unscale = 2.0**-weight_exponent
    check_features(features, largest=_MAX_FLOAT / unscale)
    if len(features) + len(filters) > MAX_CLAUSES:
        raise ValueError(
            f"the query has {len(features)} features and {len(filters)} filters, but a bool query allows {MAX_CLAUSES} "
            "clauses; keep fewer features with k_query."
        )
    clauses = []
    for name, weight in features.items():
        # Nine significant digits identify a float exactly.
        clause = {"field": f"{field}.{name}", "boost": float(f"{weight * unscale:.9g}"), "linear": {}}
        clauses.append({"rank_feature": clause | {"_name": name} if named else clause})
    query: dict[str, Any] = {"should": clauses, "minimum_should_match": 1}
    if filters:
        query["filter"] = copied(filters)
    return within_space({"bool": query}, space)


def within_space(query: dict[str, Any], space: str | None) -> dict[str, Any]:
    """Make a bool query match nothing in an index of another space.

    The clause is in `must_not`, where it is free: each shard rewrites it to "matches nothing" and drops it. As a
    `filter`, a constant that matches everything doubles the search time, since blocks of postings are not skipped.

    Args:
        query: A bool query without `must_not`.
        space: The space; None allows any.
    """
    if space is None:
        return query
    inner = query["bool"]
    if sum(map(len, (inner["should"], inner.get("filter", ())))) == MAX_CLAUSES:
        inner = {"must": [query]}  # the limit of clauses is per bool query
    named = {"exists": {"field": SPACE_FIELD}}
    same = {"term": {SPACE_FIELD: {"value": space}}}
    return {"bool": inner | {"must_not": [{"bool": {"filter": [named], "must_not": [same]}}]}}


def without_features(field: str = FEATURES_FIELD) -> dict[str, Any]:
    """Build a query for documents without features, e.g. after a partial `_update`."""
    return {"bool": {"must_not": has_features(field)}}


def has_features(field: str = FEATURES_FIELD) -> dict[str, Any]:
    """Build a query for documents with features: all that ksparse has written."""
    return {"rank_feature": {"field": f"{field}.{PRESENCE_FEATURE}", "linear": {}}}


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """Optional parameters of a search; the defaults change nothing.

    Attributes:
        min_score: Minimum final score of a hit: the dot product, the rescored value or the fused score.
        source: Names of the fields to return, or whether to return any; None for the searcher's default.
        highlight: Passed to the server, e.g. `{"fields": {"text": {}}}`.
        routing: Search only the shards of this routing value.
        preference: Which shard copies answer, e.g. a session id, so that ties keep their order.
    """

    min_score: float | None = None
    source: Sequence[str] | bool | None = None
    highlight: Mapping[str, Any] | None = None
    routing: str | None = None
    preference: str | None = None

    def __post_init__(self) -> None:
        if isinstance(self.source, str):
            _asked(self.source)  # raises
        if self.min_score is not None and math.isnan(self.min_score):
            raise ValueError("min_score must be a number, got nan.")

    @property
    def params(self) -> dict[str, str]:
        """URL parameters of the request."""
        return {name: value for name in ("routing", "preference") if (value := getattr(self, name)) is not None}

    @property
    def body(self) -> dict[str, Any]:
        """Parts of the request body, except `source`."""
        return {} if self.highlight is None else {"highlight": dict(self.highlight)}

    def keep(self, hits: Sequence[Hit]) -> list[Hit]:
        """Return the hits with at least `min_score`.

        The server's own `min_score` compares first-phase scores, before rescoring and fusion.
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
        top_k: Number of hits, at least 1.
        source: Names of the fields to return, or whether to return any.
        rescore: The `rescore` part of the body.
        options: Further parameters.

    Raises:
        ValueError: `top_k` is not a whole number between 1 and 10,000, or `source` is a single string.
    """
    check_top_k(top_k)
    again = {"rescore": dict(rescore)} if rescore is not None else {}
    if options.source is not None:
        source = options.source
    return (
        again
        | options.body
        | {
            "query": dict(query),
            "size": top_k,
            # By default the server counts 10,000 hits, so it cannot skip blocks of postings.
            "track_total_hits": False,
            "_source": _asked(source) if not isinstance(source, bool) else source,
        }
    )


def check_top_k(top_k: Any, name: str = "top_k") -> None:  # noqa: ANN401
    """Check a number of hits.

    Args:
        top_k: The number.
        name: Name of the option in errors.

    Raises:
        ValueError: It is not a whole number from 1 to 10,000, the server's `index.max_result_window`.
    """
    if isinstance(top_k, bool) or not hasattr(top_k, "__index__"):
        raise ValueError(f"{name} must be a whole number, got {top_k!r}.")
    if not 1 <= top_k <= MAX_HITS:
        raise ValueError(f"{name} must be between 1 and {MAX_HITS:,} (index.max_result_window), got {top_k}.")


def _asked(fields: Sequence[str]) -> list[str] | bool:
    """The `_source` needed to build the given document fields."""
    if isinstance(fields, str):  # which is a sequence of names of one letter
        raise ValueError(f"source must be a list of names, got {fields!r}; pass [{fields!r}].")
    # A pattern may match the name of a flat field, or the path of its keys.
    whole = [name for name in fields if "*" in name or name.partition(".")[0] in FLAT_FIELDS]
    # The server would take an empty list as all fields.
    return [*fields, *(f"{WHOLE_FIELD}.{name}" for name in whole)] or False


def parse_filter(expression: str, *, fields: Mapping[str, str] | Sequence[str] = ()) -> dict[str, Any]:
    """Turn `name=value` into a query clause.

    Where the server compares strings, a whole number also matches its other spelling (2020 and 2020.0), and a truth
    value those of JSON and Python (true and True).

    Args:
        expression: E.g. `lang=en`; `_id=1` is the document with this id.
        fields: Declared fields of the index, with their types if known (`IndexSchema.filterable`). Other names are
            looked up under `metadata`.

    Raises:
        ValueError: The expression has no name, no `=`, or is not valid Unicode; or the value is too long for the
            field's index; or the field is analysed text without a keyword subfield.
    """
    name, separator, value = expression.partition("=")
    name, value = name.strip(), value.strip()
    if not separator or not name:
        raise ValueError(f"filter {expression!r} is not of the form NAME=VALUE, e.g. lang=en.")
    if not is_unicode(expression):
        raise ValueError(f"filter {expression!r} is not valid Unicode; give it as UTF-8.")
    path = exact_path(path_of(name, fields), fields)
    check_lengths(path, [value], fields)
    of_words = path not in fields or (isinstance(fields, Mapping) and fields[path] in WORD_TYPES)
    written = _spellings(value) if of_words and path != "_id" else [value]
    if isinstance(fields, Mapping) and fields.get(path) == "boolean":
        written = [value.lower()]
    return {"term": {path: {"value": written[0]}}} if len(written) == 1 else {"terms": {path: written}}


def _spellings(value: str) -> list[str]:
    """Return the spellings of a whole number or truth value, the given one first; any other value is returned alone.

    Leading zeros mark an identifier such as 007, not a number.
    """
    if value.lower() in ("true", "false"):
        return list(dict.fromkeys([value, value.lower(), value.capitalize(), value.upper()]))
    if not _WHOLE_NUMBER.fullmatch(value) or abs(float(value)) >= _MAX_WHOLE:
        return [value]
    whole = int(value.partition(".")[0])
    return list(dict.fromkeys([value, str(whole), f"{whole}.0"]))
