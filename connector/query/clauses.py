"""Clauses of the server's query language, joined so that each says what its words say. Pure functions.

To the server, a bool query without clauses matches everything: also one that asks for any of none.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from typing import Any

Clause = dict[str, Any]

EVERYTHING: Clause = {"match_all": {}}
NOTHING: Clause = {"match_none": {}}


def every(clauses: Iterable[Mapping[str, Any]]) -> Clause:
    """All of the clauses match; so they do where there are none."""
    given = [dict(clause) for clause in clauses]
    return {"bool": {"filter": given}} if given else EVERYTHING


def some(clauses: Iterable[Mapping[str, Any]]) -> Clause:
    """One of the clauses matches; none does where there are none."""
    given = [dict(clause) for clause in clauses]
    return {"bool": {"should": given, "minimum_should_match": 1}} if given else NOTHING


def at_random(clause: Mapping[str, Any] = EVERYTHING, *, seed: int | None = None) -> Clause:
    """The documents that match, in a random order: the same one with the same seed, while the index stays as it is."""
    drawn = {} if seed is None else {"seed": seed, "field": "_seq_no"}
    return {"function_score": {"query": dict(clause), "random_score": drawn}}


def negation(clause: Mapping[str, Any]) -> Clause:
    """The clause does not match."""
    return {"bool": {"must_not": [dict(clause)]}}


def matches_everything(clause: Mapping[str, Any]) -> bool:
    """Whether a clause matches all documents by its form alone, whatever they hold."""
    return len(clause) == 1 and _is_everything(*next(iter(clause.items())))


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
            return any(map(matches_everything, body.get("queries", ())))
        case "query_string" | "simple_query_string":
            return str(body.get("query", "")).strip() in ("*", "*:*")
        case "exists":
            return body.get("field") in ("_id", "_index")
        case "wildcard":
            return bool(_value(body.get("_index")) == "*")
        case "prefix":
            return bool(_value(body.get("_index")) == "")
        case "wrapper":
            return _wrapped_is_everything(body.get("query"))
    return False


def _value(body: Any) -> Any:  # noqa: ANN401
    return body.get("value") if isinstance(body, Mapping) else body


def _wrapped_is_everything(encoded: Any) -> bool:  # noqa: ANN401
    """Of a clause in Base64; one that cannot be read is the server's to refuse."""
    try:
        clause = json.loads(base64.b64decode(encoded))
    except (TypeError, ValueError):
        return False
    return isinstance(clause, Mapping) and matches_everything(clause)


def _bool_is_everything(body: Mapping[str, Any]) -> bool:
    required = [*_listed(body.get("must")), *_listed(body.get("filter"))]
    should = _listed(body.get("should"))
    if should and (not required or body.get("minimum_should_match", 0) not in (0, "0", "0%")):
        required.append({"dis_max": {"queries": should}})
    return all(map(matches_everything, required)) and all(map(_matches_nothing, _listed(body.get("must_not"))))


def _matches_nothing(clause: Mapping[str, Any]) -> bool:
    """The same for no documents, as far as negations need it."""
    [(name, body), *others] = clause.items()
    if others or not isinstance(body, Mapping):
        return False
    match name:
        case "match_none":
            return True
        case "terms":
            return any(value == [] for value in body.values())
        case "ids":
            return body.get("values") == []
        case "bool":
            must = [*_listed(body.get("must")), *_listed(body.get("filter"))]
            should = _listed(body.get("should"))
            return (
                any(map(_matches_nothing, must))
                or any(map(matches_everything, _listed(body.get("must_not"))))
                or (not must and bool(should) and all(map(_matches_nothing, should)))
            )
    return False


def _listed(clauses: Any) -> list[Mapping[str, Any]]:  # noqa: ANN401
    """A bool query takes one clause in the place of a list of one."""
    if clauses is None:
        return []
    return [clauses] if isinstance(clauses, Mapping) else list(clauses)
