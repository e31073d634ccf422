"""Split batches so that no document occurs twice in one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from connector.types import MalformedRecord


class HasId(Protocol):
    """Anything with a document id."""

    @property
    def doc_id(self) -> str:
        """Id of the document."""


def without_repeats(batch: Sequence[HasId | MalformedRecord]) -> Iterator[range]:
    """Split a batch where an id repeats; yield the ranges of rows."""
    start, seen = 0, set[str]()
    for place, record in enumerate(batch):
        if isinstance(record, MalformedRecord):
            continue
        if record.doc_id in seen:
            yield range(start, place)
            start, seen = place, set()
        seen.add(record.doc_id)
    yield range(start, len(batch))
