"""Peek at the first documents of a stream."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from connector.errors import CorpusError
from connector.ingest.size import size_of
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
            most: Number of texts; fewer if the records exceed 256 million characters.

        Raises:
            CorpusError: There is no document among so many characters.
        """
        texts = [record.content for record in self._taken if isinstance(record, Document)][:most]
        characters = sum(map(size_of, self._taken))
        while len(texts) < most and characters < _MAX_CHARACTERS:
            record = next(self._records, None)
            if record is None:
                break
            self._taken.append(record)
            characters += size_of(record)
            if isinstance(record, Document):
                texts.append(record.content)
        first = next(iter(self._taken), None)
        if not texts and isinstance(first, MalformedRecord) and characters >= _MAX_CHARACTERS:
            raise CorpusError(
                f"The first {len(self._taken):,} records are malformed; the first one, {first.location}, "
                f"{first.reason}. Correct the corpus, or name its fields."
            )
        return texts

    def __iter__(self) -> Iterator[Document | MalformedRecord]:
        """Iterate over all records, including those of the sample."""
        while self._taken:
            yield self._taken.popleft()
        yield from self._records
