"""Batches in which no document occurs twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from connector.types import MalformedRecord


class HasId(Protocol):
    """Whatever says something of a document."""

    @property
    def doc_id(self) -> str:
        """Of the document."""


def without_repeats(batch: Sequence[HasId | MalformedRecord]) -> Iterator[range]:
    """Cut a batch where an id comes again: its rows from one cut to the next."""
    start, seen = 0, set[str]()
    for place, record in enumerate(batch):
        if isinstance(record, MalformedRecord):
            continue
        if record.doc_id in seen:
            yield range(start, place)
            start, seen = place, set()
        seen.add(record.doc_id)
    yield range(start, len(batch))
