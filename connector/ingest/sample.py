"""Peek at the first documents of a stream."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from connector.types import Document, MalformedRecord

MAX_SAMPLED = 10_000
"""Enough to estimate the frequency of a token that 1 % of the documents contain."""

_MAX_CHARACTERS = 256 * 2**20


class Sampled:
    """A stream of records whose beginning can be sampled without consuming it.

    Args:
        records: The records, read lazily.
    """

    def __init__(self, records: Iterable[Document | MalformedRecord]) -> None:
        self._records = iter(records)
        self._taken: deque[Document | MalformedRecord] = deque()

    def sample(self, most: int = MAX_SAMPLED) -> list[str]:
        """Return the texts of the first documents; call before iterating.

        Args:
            most: Number of texts; fewer if they exceed 256 million characters.
        """
        texts = [record.content for record in self._taken if isinstance(record, Document)][:most]
        characters = sum(map(len, texts))
        while len(texts) < most and characters < _MAX_CHARACTERS:
            record = next(self._records, None)
            if record is None:
                break
            self._taken.append(record)
            if isinstance(record, Document):
                texts.append(record.content)
                characters += len(record.content)
        return texts

    def __iter__(self) -> Iterator[Document | MalformedRecord]:
        """Iterate over all records, including those of the sample."""
        while self._taken:
            yield self._taken.popleft()
        yield from self._records
