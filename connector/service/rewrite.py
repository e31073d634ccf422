"""Replace the text in a search request by features. Pure functions.

The text can be anywhere in the query, once, in one of three forms:

- `{"match": {"ksparse": "how do plants eat"}}`, with a field that no document has;
- `{"neural_sparse": {"features": {"query_text": "how do plants eat"}}}` without a model;
- a query that is a `query_string` without fields, which `GET docs/_search?q=...` sends.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from connector.errors import SearchError
from connector.query.body import FEATURES_FIELD
from connector.query.hybrid import build_words_query

TEXT_FIELD = "ksparse"
"""Pseudo-field of a `match` clause for semantic search."""

_DEFAULT_SIZE = 10
_NO_RESCORE = ("rescore", "sort", "collapse")
"""Parts of a request that the server does not allow with `rescore`, or that the client sets."""

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class TextClause:
    """The location of the text in a request.

    Attributes:
        text: The text.
        boost: Boost of its clause.
        path: Keys from the query to the clause.
        rescored: Whether codes may rescore, since no other clause affects the score.
        depth: Number of hits that the request reads, including skipped ones.
        filters: What the enclosing queries and the `post_filter` require of a hit; empty if codes do not rescore.
    """

    text: str
    boost: float
    path: Path
    rescored: bool
    depth: int
    filters: Sequence[Mapping[str, Any]] = ()


def find_text(request: Mapping[str, Any]) -> TextClause | None:
    """Find the text of a search request; None if it has none.

    Raises:
        SearchError: The request has several texts.
    """
    query = request.get("query")
    if not isinstance(query, Mapping):
        return None
    found = [(path, *clause) for path, clause in _texts(query)]
    if not found:
        return None
    if len(found) > 1:
        raise SearchError(f"A search can have one text, this one has {len(found)}; send separate searches.")
    [(path, text, boost)] = found
    size, skipped = request.get("size", _DEFAULT_SIZE), request.get("from", 0)
    depth = max(size + skipped, 1)
    filters = _filters_around(query, path)
    if size == 0 or filters is None or any(request.get(name) for name in _NO_RESCORE):
        return TextClause(text, boost, path, False, depth)
    return TextClause(text, boost, path, True, depth, [*filters, *_listed(request.get("post_filter"))])


def with_features(
    request: Mapping[str, Any], clause: TextClause, query: dict[str, Any], rescore: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Replace the text of a request by a query.

    Hits are not counted unless requested, since counting takes several times as long. For highlighting, the words of
    the text are used, since features are not words.

    Args:
        request: The request.
        clause: The text found in it.
        query: The query of its features.
        rescore: The `rescore` part; None for no rescoring.
    """
    made: dict[str, Any] = {"track_total_hits": False} | dict(request)
    if rescore is not None:
        made["rescore"] = dict(rescore)
    highlight = made.get("highlight")
    if isinstance(highlight, Mapping) and "highlight_query" not in highlight:
        made["highlight"] = {**highlight, "highlight_query": build_words_query(clause.text)}
    if not clause.path:
        return made | {"query": query}
    made["query"] = copy.deepcopy(made["query"])
    place = made["query"]
    for key in clause.path[:-1]:
        place = place[key]
    place[clause.path[-1]] = query
    return made


def _texts(query: Mapping[str, Any]) -> Iterator[tuple[Path, tuple[str, float]]]:
    """Yield the path of each text with its boost."""
    whole = query.get("query_string")
    if len(query) == 1 and isinstance(whole, Mapping) and not whole.get("fields") and "default_field" not in whole:
        yield (), (str(whole.get("query", "")), float(whole.get("boost", 1.0)))
    else:
        yield from _nested(query, ())


def _nested(value: Any, path: Path) -> Iterator[tuple[Path, tuple[str, float]]]:  # noqa: ANN401
    if isinstance(value, Mapping):
        found = _text_of(value)
        if found is not None:
            yield path, found
            return
        for key, inner in value.items():
            yield from _nested(inner, (*path, key))
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from _nested(inner, (*path, place))


def _text_of(clause: Mapping[str, Any]) -> tuple[str, float] | None:
    if len(clause) != 1:
        return None
    [(kind, fields)] = clause.items()
    if not isinstance(fields, Mapping) or len(fields) != 1:
        return None
    [(field, said)] = fields.items()
    if (kind, field) == ("match", TEXT_FIELD):
        said = said if isinstance(said, Mapping) else {"query": said}
        return str(said.get("query", "")), float(said.get("boost", 1.0))
    if (kind, field) == ("neural_sparse", FEATURES_FIELD) and isinstance(said, Mapping):
        if "query_text" in said and "model_id" not in said:
            return str(said["query_text"]), float(said.get("boost", 1.0))
    return None


def _filters_around(query: Mapping[str, Any], path: Path) -> list[Mapping[str, Any]] | None:
    """The filters of the queries that enclose the clause at the path; None if another clause is scored, too."""
    filters: list[Mapping[str, Any]] = []
    around: Any = query
    while path:
        inner = around.get("bool") if len(around) == 1 else None
        if inner is None or path[0] != "bool" or path[1] not in ("must", "should"):
            return None
        scored = [clause for kind in ("must", "should") for clause in _listed(inner.get(kind))]
        if len(scored) != 1 or inner.get("boost", 1.0) != 1.0:
            return None
        filters += _listed(inner.get("filter"))
        if excluded := _listed(inner.get("must_not")):
            filters.append({"bool": {"must_not": excluded}})
        around, path = scored[0], path[3:] if len(path) > 2 and isinstance(path[2], int) else path[2:]
    return filters


def _listed(clauses: Any) -> list[Any]:  # noqa: ANN401
    if clauses is None:
        return []
    return clauses if isinstance(clauses, list) else [clauses]
