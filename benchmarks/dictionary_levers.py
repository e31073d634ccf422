"""Effect of each setting of a dictionary on the dense neighbours that a search finds. Needs no server."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.datasets import EncodedSet
from benchmarks.exact import ExactSearches, rescore
from benchmarks.suites import require_dictionary_size
from connector.encoders.dictionary import TwoLevelDictionary
from connector.encoders.light_heads import CANDIDATE_CELLS, CANDIDATE_TOKENS, CELLS_PER_DOCUMENT
from connector.encoders.text import TextEncoder
from connector.evaluation.exact import document_frequencies, exact_sparse_search, postings_read
from connector.evaluation.metrics import evaluate_run, overlap_at, share
from connector.ingest.own_dictionary import dictionary_encoder
from connector.ingest.prepare import window_for
from connector.training.dictionary.settings import DictionarySettings
from connector.types import Hit, SparseVectors
from connector.vectors.codes import RotatedCode

DEPTHS = (100, 200, 500)
"""Numbers of first hits in which the dense top ten are counted."""

_DEFAULTS = DictionarySettings()

Order = Literal["4 bits", "3 bits", "4 bits, one rotation", "exact"]


@dataclass(frozen=True, slots=True)
class Lever:
    """One combination of settings; the defaults are those of a new index.

    Attributes:
        density: Cells per document of the corpus.
        cells: Cells kept per document.
        spread: Weight of the penalty on parallel residuals of a document's cells.
        probes: Nearest coarse cells whose fine cells are compared with a document.
        query_probes: The same for a query.
        query_cells: Cells per query.
        query_tokens: Maximum rare tokens per query.
        window: Hits that are rescored; None for the default of this number of documents.
        order: Scores by which they are ranked.
    """

    density: float = CELLS_PER_DOCUMENT
    cells: int = _DEFAULTS.cells
    spread: float = _DEFAULTS.spread
    probes: int = _DEFAULTS.probes
    query_probes: int = _DEFAULTS.query_probes
    query_cells: int = CANDIDATE_CELLS
    query_tokens: int = CANDIDATE_TOKENS
    window: int | None = None
    order: Order = "4 bits"


CHANGES: tuple[dict[str, Any], ...] = (
    {"density": 0.15},
    {"density": 0.3},
    {"density": 1.0},
    {"cells": 4},
    {"cells": 12},
    {"spread": 0.0},
    {"spread": 4.0},
    {"probes": 12},
    {"probes": 48},
    {"query_probes": 24},
    {"query_probes": 96},
    {"query_cells": 8},
    {"query_cells": 24},
    {"query_cells": 48},
    {"query_tokens": 0},
    {"query_tokens": 12},
    {"window": 100},
    {"window": 500},
    {"window": 1_000},
    {"order": "3 bits"},
    {"order": "4 bits, one rotation"},
    {"order": "exact"},
)
"""Changes to the defaults, each measured alone."""

_BLOCKS = 64

_BUILDS = ("density", "cells", "spread", "probes")


def compare_levers(
    data: EncodedSet,
    changes: Sequence[Mapping[str, Any]] | None = None,
    *,
    progress: Callable[[float], None] | None = None,
) -> list[dict[str, Any]]:
    """Measure the default dictionary of a set and each change to it.

    Args:
        data: The set with its embeddings.
        changes: Settings that differ from the defaults; None for `CHANGES`.
        progress: Called with the completed fraction.

    Returns:
        One row each, the defaults first: the changed settings; recall of the dense top ten in the first 100, 200 and
        500 hits, in the rescored window and among all documents that share a feature with the query; overlap of the
        rescored first ten with them; NDCG@10 relative to exact dense search; postings read per query, relative to the
        number of documents.

    Raises:
        ConnectorError: The set has fewer than 1,000 documents.
    """
    require_dictionary_size(data)
    lab = _Lab(data)
    wanted = [{}, *(CHANGES if changes is None else changes)]
    rows = []
    for done, change in enumerate(wanted):
        rows.append({"change": dict(change), **lab.measure(replace(Lever(), **change))})
        if progress is not None:
            progress((done + 1) / len(wanted))
    return rows


class _Built(NamedTuple):
    """A dictionary with the vectors of all documents and their embeddings as 4-bit codes store them."""

    encoder: TextEncoder
    documents: SparseVectors
    decoded: NDArray[np.float32]


class _Lab:
    """Searches of one set; the default dictionary is kept, because most levers share it."""

    def __init__(self, data: EncodedSet) -> None:
        self._data = data
        self._texts = [document.content for document in data.documents]
        self._questions = [query.text for query in data.judged.queries]
        self._exact = ExactSearches(data)
        self._default = self._build(Lever())
        self._window = window_for(_head(self._default.encoder).num_latents)

    def measure(self, lever: Lever) -> dict[str, Any]:
        """Return the figures of one combination of settings."""
        same = all(getattr(lever, name) == getattr(Lever(), name) for name in _BUILDS)
        built = self._default if same else self._build(lever)
        encoder, documents, data = built.encoder, built.documents, self._data
        head = _head(encoder)
        head.candidate_cells, head.candidate_tokens = lever.query_cells, lever.query_tokens
        head.query_probes = min(lever.query_probes, head.num_coarse)
        queries = encoder.sparsify_embeddings(
            data.query_embeddings,
            self._questions,
            task="query",
            k=lever.query_cells + lever.query_tokens,
            candidates=True,
        )
        window = lever.window or self._window
        found = exact_sparse_search(documents, queries, data.doc_ids, encoder.num_latents, len(documents.features))
        run = rescore([hits[:window] for hits in found], data, self._ordering(built, lever.order))
        frequencies = document_frequencies(documents, encoder.num_latents)
        return {
            **{f"recall@{depth}": self._recall(found, depth) for depth in DEPTHS},
            "recall": self._recall(found, None),
            "window": window,
            "recall@window": self._recall(found, window),
            "overlap@10": overlap_at(run, self._exact.top_10, 10),
            "ndcg_share": share(evaluate_run(run, data.judged.qrels)["ndcg@10"], self._exact.dense_ndcg),
            "postings_per_document": float(postings_read(queries, frequencies).mean()) / len(data.documents),
            "settings": asdict(lever),
        }

    def _build(self, lever: Lever) -> _Built:
        embeddings = self._data.document_embeddings
        cells = round(lever.density * len(self._texts))
        encoder = dictionary_encoder(
            self._data.encoder,
            self._texts,
            embeddings,
            num_cells=None if lever.density == CELLS_PER_DOCUMENT else cells,
            settings=DictionarySettings(cells=lever.cells, spread=lever.spread, probes=lever.probes),
        )
        documents = encoder.sparsify_embeddings(embeddings, self._texts)
        return _Built(encoder, documents, _decoded(embeddings, _head(encoder).code(4)))

    def _ordering(self, built: _Built, order: Order) -> NDArray[np.float32]:
        """Embeddings whose products with a query rank its candidates."""
        embeddings, head = self._data.document_embeddings, _head(built.encoder)
        if order == "exact":
            return embeddings
        if order == "3 bits":
            return _decoded(embeddings, head.code(3))
        if order == "4 bits, one rotation":
            return _decoded(embeddings, RotatedCode(head.code(4).mean, 4))
        return built.decoded

    def _recall(self, found: list[list[Hit]], depth: int | None) -> float:
        return self._exact.recall(self._data.run_of([hits[:depth] for hits in found]))


def _head(encoder: TextEncoder) -> TwoLevelDictionary:
    assert isinstance(encoder.head, TwoLevelDictionary)
    return encoder.head


def _decoded(embeddings: NDArray[np.float32], code: RotatedCode) -> NDArray[np.float32]:
    """Embeddings as codes store them."""
    return np.concatenate([code.decode(code.encode(block)) for block in np.array_split(embeddings, _BLOCKS)])
