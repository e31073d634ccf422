"""The first documents of a stream, looked at before they are ingested."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from connector.types import Document, MalformedRecord

MOST_DOCUMENTS = 10_000
"""Enough for the frequency of a word that one document in a hundred has."""

_MOST_CHARACTERS = 64 * 2**20


class Sampled:
    """A stream of records that may be sampled once and is then still whole.

    Args:
        records: Read lazily.
    """

    def __init__(self, records: Iterable[Document | MalformedRecord]) -> None:
        self._records = iter(records)
        self._taken: deque[Document | MalformedRecord] = deque()

    def sample(self) -> list[str]:
        """The texts of the first documents: up to `MOST_DOCUMENTS`, or 64 MB."""
        texts: list[str] = []
        characters = 0
        while len(texts) < MOST_DOCUMENTS and characters < _MOST_CHARACTERS:
            record = next(self._records, None)
            if record is None:
                break
            self._taken.append(record)
            if isinstance(record, Document):
                texts.append(record.content)
                characters += len(record.content)
        return texts

    def __iter__(self) -> Iterator[Document | MalformedRecord]:
        """All records, those of the sample first."""
        while self._taken:
            yield self._taken.popleft()
        yield from self._records
