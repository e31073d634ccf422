"""The first documents of a stream, looked at before they are ingested."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from connector.types import Document, MalformedRecord

MOST_DOCUMENTS = 10_000
"""Enough for the frequency of a word that one document in a hundred has."""

_MOST_CHARACTERS = 256 * 2**20


class Sampled:
    """A stream of records whose beginning may be looked at; it is still whole then.

    Args:
        records: Read lazily.
    """

    def __init__(self, records: Iterable[Document | MalformedRecord]) -> None:
        self._records = iter(records)
        self._taken: deque[Document | MalformedRecord] = deque()

    def sample(self, most: int = MOST_DOCUMENTS) -> list[str]:
        """The texts of the first documents, before any is iterated over.

        Args:
            most: How many; fewer once they hold 256 million characters.
        """
        texts = [record.content for record in self._taken if isinstance(record, Document)][:most]
        characters = sum(map(len, texts))
        while len(texts) < most and characters < _MOST_CHARACTERS:
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
