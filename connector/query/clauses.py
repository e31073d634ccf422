"""Combine query clauses logically. Pure functions.

In OpenSearch a bool query without clauses matches everything, also where "any of" an empty list is meant.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

Clause = dict[str, Any]

EVERYTHING: Clause = {"match_all": {}}
NOTHING: Clause = {"match_none": {}}


def copied(clauses: Iterable[Mapping[str, Any]]) -> list[Clause]:
    """Copy clauses.

    Raises:
        ValueError: One is no mapping; the clauses may be a single one instead of a list.
    """
    given = list(clauses)
    for clause in given:
        if not isinstance(clause, Mapping):
            raise ValueError(f'a filter must be a query clause such as {{"term": {{...}}}} in a list, got {clause!r}.')
    return [dict(clause) for clause in given]


def every(clauses: Iterable[Mapping[str, Any]]) -> Clause:
    """All clauses match; an empty list matches everything."""
    given = copied(clauses)
    return {"bool": {"filter": given}} if given else EVERYTHING


def some(clauses: Iterable[Mapping[str, Any]]) -> Clause:
    """At least one clause matches; an empty list matches nothing."""
    given = copied(clauses)
    return {"bool": {"should": given, "minimum_should_match": 1}} if given else NOTHING


def at_random(clause: Mapping[str, Any] = EVERYTHING, *, seed: int | None = None) -> Clause:
    """The matching documents in random order, reproducible by seed while the index does not change."""
    drawn = {} if seed is None else {"seed": seed, "field": "_seq_no"}
    return {"function_score": {"query": dict(clause), "random_score": drawn}}


def literally(text: str) -> str:
    """A text for the pattern of a `wildcard` clause, in which none of its characters is a wildcard."""
    return re.sub(r"([*?\\])", r"\\\1", text)


def negation(clause: Mapping[str, Any]) -> Clause:
    """Negate a clause."""
    return {"bool": {"must_not": [dict(clause)]}}


def matches_everything(clause: Mapping[str, Any]) -> bool:
    """Whether a clause syntactically matches all documents; False for what is no clause, which the server rejects."""
    return isinstance(clause, Mapping) and len(clause) == 1 and _is_everything(*next(iter(clause.items())))


def _is_everything(name: str, body: Any) -> bool:  # noqa: ANN401
    if name == "match_all":
        return True
    if not isinstance(body, Mapping):
        return False
    match name:
        case "bool":
            return _bool_is_everything(body)
        case "constant_score":
            return matches_everything(body.get("filter", {}))
        case "function_score" | "script_score":
            return "min_score" not in body and matches_everything(body.get("query", EVERYTHING))
        case "boosting":
            return matches_everything(body.get("positive", {}))
        case "dis_max":
            return any(map(matches_everything, listed(body.get("queries"))))
        case "query_string" | "simple_query_string":
            return str(body.get("query", "")).strip() in ("*", "*:*")
        case "exists":
            return body.get("field") in ("_id", "_index")
        case "wildcard":
            return bool(_value(body.get("_index")) == "*")
        case "prefix":
            return bool(_value(body.get("_index")) == "")
        case "wrapper":
            return matches_everything(unwrapped(body.get("query")))
    return False


def _value(body: Any) -> Any:  # noqa: ANN401
    return body.get("value") if isinstance(body, Mapping) else body


def unwrapped(encoded: Any) -> Mapping[str, Any]:  # noqa: ANN401
    """Return the clause in a Base64 `wrapper` clause; empty if it is invalid, which the server rejects."""
    try:
        clause = json.loads(base64.b64decode(encoded))
    except (TypeError, ValueError):
        return {}
    return clause if isinstance(clause, Mapping) else {}


def _bool_is_everything(body: Mapping[str, Any]) -> bool:
    required = [*listed(body.get("must")), *listed(body.get("filter"))]
    should = listed(body.get("should"))
    if should and (not required or body.get("minimum_should_match", 0) not in (0, "0", "0%")):
        required.append({"dis_max": {"queries": should}})
    return all(map(matches_everything, required)) and all(map(_matches_nothing, listed(body.get("must_not"))))


def _matches_nothing(clause: Mapping[str, Any]) -> bool:
    """Whether a clause syntactically matches no documents, as far as negations need it."""
    if not isinstance(clause, Mapping) or len(clause) != 1:
        return False
    [(name, body)] = clause.items()
    if not isinstance(body, Mapping):
        return False
    match name:
        case "match_none":
            return True
        case "terms":
            return any(value == [] for value in body.values())
        case "ids":
            return body.get("values") == []
        case "bool":
            must = [*listed(body.get("must")), *listed(body.get("filter"))]
            should = listed(body.get("should"))
            return (
                any(map(_matches_nothing, must))
                or any(map(matches_everything, listed(body.get("must_not"))))
                or (not must and bool(should) and all(map(_matches_nothing, should)))
            )
    return False


def listed(clauses: Any) -> list[Mapping[str, Any]]:  # noqa: ANN401
    """Return a list: a bool query accepts a single clause instead of a list."""
    if clauses is None:
        return []
    return list(clauses) if isinstance(clauses, list | tuple) else [clauses]
