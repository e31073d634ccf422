"""Query clauses that read documents of other indices than the one that is searched. Pure functions."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

_SHAPES = ("geo_shape", "shape", "xy_shape")
_SHAPES_INDEX = "shapes"
"""Where the server looks shapes up if no index is named."""


def check_lookups(clauses: Any, served: Collection[str]) -> None:  # noqa: ANN401
    """Refuse clauses that read documents of indices that are not served, anywhere in filters or highlighting options.

    Args:
        clauses: JSON with filters or query clauses.
        served: Names of the indices that may be read.

    Raises:
        ValueError: A clause names another index, or hides its content (`wrapper`).
    """
    waiting = [clauses]
    while waiting:
        part = waiting.pop()
        if isinstance(part, list):
            waiting += part
        elif isinstance(part, Mapping):
            waiting += part.values()
            for kind, body in part.items():
                _check(kind, body, served)


def _check(kind: str, body: Any, served: Collection[str]) -> None:  # noqa: ANN401
    if not isinstance(body, Mapping):
        return
    if kind == "wrapper" and "query" in body:
        raise ValueError("a clause 'wrapper' is not accepted, because its Base64 hides what it reads; send its query.")
    for index in _indices_of(kind, body):
        if index not in served:
            raise ValueError(
                f"a clause {kind!r} reads documents of index {index!r}, which is not served here; leave it out, or "
                "start `ksparse serve` with this name as well."
            )


def _indices_of(kind: str, body: Mapping[str, Any]) -> Iterator[Any]:
    """The indices that a clause names for looking documents up."""
    inner = [each for each in body.values() if isinstance(each, Mapping)]
    if kind == "terms":
        yield from (each["index"] for each in inner if "index" in each)
    elif kind == "percolate" and "index" in body:
        yield body["index"]
    elif kind == "more_like_this":
        for examples in (body.get("like"), body.get("unlike")):
            listed = examples if isinstance(examples, list) else [examples]
            yield from (each["_index"] for each in listed if isinstance(each, Mapping) and "_index" in each)
    elif kind in _SHAPES:
        shapes = [each["indexed_shape"] for each in inner if isinstance(each.get("indexed_shape"), Mapping)]
        yield from (each.get("index", _SHAPES_INDEX) for each in shapes)
