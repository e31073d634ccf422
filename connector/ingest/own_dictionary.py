"""Build the dictionary of a new index from its first documents, and reuse their embeddings.

Torch is imported on demand.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Sequence
from logging import getLogger
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from connector.encoders.adapt import E
from connector.encoders.base import Encoder
from connector.ingest.sample import MAX_SAMPLED, SampledTexts, with_finite
from connector.training.dictionary.settings import MIN_DOCUMENTS, DictionarySettings
from connector.types import EncoderFingerprint, SparseVectors
from connector.vectors.statistics import CorpusStatistics
from connector.vectors.top_k import stack

if TYPE_CHECKING:
    from connector.encoders.text import TextEncoder

_log = getLogger("ksparse.ingest")

_DEFAULT_SETTINGS = DictionarySettings()


class Sample(Protocol):
    """Returns texts of the first documents."""

    def __call__(self, most: int = ...) -> Sequence[str]:
        """Return up to `most` texts."""


class OwnDictionary:
    """Builds the dictionary of a new index and keeps the embeddings of its sample.

    Args:
        sample: Texts of the first documents, or a function that returns them.
        settings: Settings of the dictionary.
        documents: Expected number of documents, which sets the number of cells; None if unknown.
        progress: Called with the current step and its completed fraction.
        embeddings: (n, dim), those of the first n texts of the sample, if they are known; n at least its size.
    """

    def __init__(
        self,
        sample: Sample | Sequence[str],
        settings: DictionarySettings = _DEFAULT_SETTINGS,
        *,
        documents: int | None = None,
        progress: Callable[[str, float], None] | None = None,
        embeddings: NDArray[np.float32] | None = None,
    ) -> None:
        self._sample: Sample = sample if callable(sample) else lambda most=MAX_SAMPLED: sample[:most]
        self._settings = settings
        self._documents = documents
        self._report = progress or (lambda _task, _share: None)
        self._embeddings = embeddings
        self._known: tuple[Sequence[str], NDArray[np.float32]] | None = None
        self._finite: tuple[Sequence[str], NDArray[np.float32]] | None = None

    def build(self, encoder: TextEncoder) -> TextEncoder | None:
        """Build the dictionary from a sample.

        Args:
            encoder: Encoder whose dense model is used; its head is ignored.

        Returns:
            The dense model with the dictionary, or None if there are too few documents with finite embeddings.

        Raises:
            EncoderError: No embedding is finite.
        """
        from connector.training.dictionary.build import cells_for

        texts = self._sample(MIN_DOCUMENTS)
        if len(texts) < MIN_DOCUMENTS:
            _log.info("%d documents are too few for a dictionary, which needs %d.", len(texts), MIN_DOCUMENTS)
            return None
        expected = max(self._documents or MAX_SAMPLED, MIN_DOCUMENTS)
        cells = math.prod(cells_for(expected))
        texts = self._sample(max(cells, min(expected, MAX_SAMPLED)))
        if len(texts) < cells:
            if isinstance(texts, SampledTexts) and texts.is_cut:
                _log.warning(
                    "Only %d texts fit into the sample, because they are long: the dictionary has about as many cells "
                    "instead of %d, and searches read more postings.",
                    *(len(texts), cells),
                )
            else:  # fewer came than were expected
                cells = math.prod(cells_for(len(texts)))
        if self._embeddings is not None:
            embeddings = self._embeddings[: len(texts)]
        else:
            embeddings = encoder.embed(
                texts, progress=lambda share: self._report("embedding documents for the dictionary", share)
            )
        known = texts, embeddings
        texts, embeddings = with_finite(texts, embeddings, encoder.precision)
        if len(texts) < MIN_DOCUMENTS:
            return None
        started = time.monotonic()
        made = dictionary_encoder(
            encoder,
            texts,
            embeddings,
            num_cells=min(cells, len(texts)),
            settings=self._settings,
            progress=lambda share: self._report("building the dictionary", share),
        )
        took = time.monotonic() - started
        _log.info("%s was built from %d documents in %.1f s.", made.fingerprint, len(texts), took)
        self._known, self._finite = known, (texts, embeddings)
        return made

    @property
    def known(self) -> tuple[Sequence[str], NDArray[np.float32]] | None:
        """Texts of the sample and their embeddings, (n, dim), all finite.

        None if no dictionary was built, and after `reuse`.
        """
        return self._finite

    @property
    def embeddings(self) -> NDArray[np.float32] | None:
        """The embeddings of the sample, one for each text."""
        return None if self._known is None else self._known[1]

    def reuse(self, encoder: TextEncoder) -> Encoder:
        """Return an encoder that reuses the embeddings of the sample."""
        if self._known is None:
            return encoder
        known, self._known, self._finite = self._known, None, None
        return KnownEmbeddings(encoder, *known)


def dictionary_encoder(
    encoder: E,
    texts: Sequence[str],
    embeddings: NDArray[np.float32],
    *,
    documents: int | None = None,
    num_cells: int | None = None,
    settings: DictionarySettings = _DEFAULT_SETTINGS,
    progress: Callable[[float], None] | None = None,
) -> E:
    """Build the dictionary of a corpus from a sample, and append it to the dense model.

    Args:
        encoder: Encoder whose dense model is used; its head is ignored.
        texts: n texts of documents.
        embeddings: (n, dim), embeddings of these texts.
        documents: Documents of the corpus, which set the number of cells; n if None.
        num_cells: Number of cells, approximately; None for that of the documents.
        settings: Settings of the dictionary.
        progress: Called with the completed fraction.

    Raises:
        ValueError: There are too few texts.
    """
    from connector.training.dictionary.build import build_cells
    from connector.training.distinct import distinct_rows

    distinct = distinct_rows(embeddings, texts)
    some, different = (
        rows[np.random.default_rng(settings.seed).permutation(len(rows))[:MAX_SAMPLED]]
        for rows in (np.arange(len(texts)), distinct)
    )
    # Copies count for the frequency of a token, but would move the mean away from all other documents.
    counts = encoder.count_corpus([texts[row] for row in some.tolist()])
    head = build_cells(
        embeddings,
        documents=documents,
        num_cells=num_cells,
        distinct=distinct,
        **settings.head_options(counts.shape[1]),
        statistics=CorpusStatistics.measure(embeddings[different], counts, encoder.special_ids),
        base_model=encoder.fingerprint.base_model,
        progress=progress,
    )
    return encoder.with_head(head)


class KnownEmbeddings:
    """An encoder that reuses known embeddings of some documents, until it encodes a batch without any of them.

    Args:
        encoder: Encodes other documents and queries.
        texts: n texts of documents.
        embeddings: (n, dim), embeddings of these texts.
    """

    def __init__(self, encoder: TextEncoder, texts: Sequence[str], embeddings: NDArray[np.float32]) -> None:
        self._encoder = encoder
        self._rows = {_digest(text): row for row, text in enumerate(texts)}
        self._embeddings = embeddings

    @property
    def fingerprint(self) -> EncoderFingerprint:
        """The encoder's fingerprint."""
        return self._encoder.fingerprint

    def encode_document(self, texts: Sequence[str], *, batch_size: int = 32) -> SparseVectors:
        """Encode n documents as `TextEncoder.encode_document` does, without the dense model if possible."""
        rows = np.array([self._rows.get(_digest(text), -1) for text in texts], dtype=np.int64)
        known, others = np.flatnonzero(rows >= 0), np.flatnonzero(rows < 0)
        if not len(known):
            # The sample came first. Of a million documents, its embeddings take 1.6 GB.
            self._rows, self._embeddings = {}, np.empty((0, 0), np.float32)
            return self._encoder.encode_document(texts, batch_size=batch_size)
        vectors = self._encoder.encode_embedded(
            self._embeddings[rows[known]], [texts[number] for number in known.tolist()]
        )
        if not len(others):
            return vectors
        rest = self._encoder.encode_document([texts[number] for number in others.tolist()], batch_size=batch_size)
        return stack([vectors, rest]).take(np.argsort(np.concatenate([known, others])))

    def encode_query(self, texts: Sequence[str], *, batch_size: int = 32, k: int | None = None) -> SparseVectors:
        """As in `TextEncoder`."""
        return self._encoder.encode_query(texts, batch_size=batch_size, k=k)


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
