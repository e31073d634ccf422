"""Peek at the first documents of a stream."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from logging import getLogger

import numpy as np
from numpy.typing import NDArray

from connector.errors import CorpusError, EncoderError
from connector.ingest.size import size_of
from connector.types import Document, MalformedRecord

_log = getLogger("ksparse.ingest")

MAX_SAMPLED = 10_000
"""Enough to estimate the frequency of a token that 1 % of the documents contain."""

_MAX_CHARACTERS = 256 * 2**20


class SampledTexts(list[str]):
    """Texts of the first documents.

    Attributes:
        is_cut: Whether there are fewer than were asked for because of their size, so that more documents may follow.
    """

    is_cut = False


class Sampled:
    """A stream of records whose beginning can be sampled without consuming it.

    Args:
        records: The records, read lazily.
    """

    def __init__(self, records: Iterable[Document | MalformedRecord]) -> None:
        self._records = iter(records)
        self._taken: deque[Document | MalformedRecord] = deque()

    def sample(self, most: int = MAX_SAMPLED) -> SampledTexts:
        """Return the texts of the first documents; call before iterating.

        Args:
            most: Number of texts; fewer if the records exceed 256 million characters.

        Raises:
            CorpusError: There is no document among so many characters.
        """
        known = (record.content for record in self._taken if isinstance(record, Document))
        texts = SampledTexts(islice(known, most))
        characters = sum(map(size_of, self._taken))
        while len(texts) < most and characters < _MAX_CHARACTERS:
            record = next(self._records, None)
            if record is None:
                break
            self._taken.append(record)
            characters += size_of(record)
            if isinstance(record, Document):
                texts.append(record.content)
        texts.is_cut = len(texts) < most and characters >= _MAX_CHARACTERS
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


def with_finite(
    texts: Sequence[str], embeddings: NDArray[np.float32], precision: str
) -> tuple[Sequence[str], NDArray[np.float32]]:
    """Return the texts whose embeddings are finite, and these embeddings; the others become dead letters later.

    Args:
        texts: n texts, at least one.
        embeddings: Their embeddings, (n, dim).
        precision: Precision of the dense model, for messages.

    Raises:
        EncoderError: No embedding is finite.
    """
    finite = np.isfinite(embeddings).all(axis=1)
    if finite.all():
        return texts, embeddings
    if not finite.any():
        raise EncoderError(
            f"None of the embeddings of {len(texts):,} documents is finite, computed in {precision}. Use the precision "
            "float32, or another dense model."
        )
    _log.warning(
        "The embeddings of %d of %d documents are not finite, computed in %s; an index is created without them.",
        *(len(texts) - finite.sum(), len(texts), precision),
    )
    return [texts[row] for row in np.flatnonzero(finite).tolist()], embeddings[finite]
