"""Sparse vectors in `rank_features`, searched by a bool query of `rank_feature` clauses."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice, repeat

import numpy as np
from opensearchpy import OpenSearch

from benchmarks.datasets import EncodedSet
from benchmarks.systems.base import INDEX_SETTINGS, Encoding, OneRequest, Probe, Request, without_source
from connector.errors import BulkWriteError
from connector.index.meta import IndexMeta
from connector.index.new_index import NewIndex
from connector.index.schema import index_body
from connector.index.writer import BulkWriter
from connector.query.body import FEATURES_FIELD, build_query
from connector.query.pruning import Pruning, prune_query
from connector.types import EncoderFingerprint, SparseDocument, SparseVectors
from connector.vectors.storage import round_to_stored, scale_weights
from connector.vectors.top_k import prune

_BLOCK = 10_000
"""Documents per block whose features are converted to mappings."""


@dataclass(frozen=True, slots=True)
class RankFeatures(OneRequest):
    """Searches documents of `k_doc` features with queries of `k_query` features.

    Attributes:
        index: Name of the index.
        fingerprint: Fingerprint of the encoder.
        k_query: Maximum number of query features.
        k_doc: Features kept per document; None keeps all.
        pruning: Pruning of query features.
        window: If set, these features only collect candidates, and the first `window` of them are rescored by all
            features of the query.
        weight_exponent: Exponent of the power of two by which stored weights are multiplied.
        vectors: Vectors of documents and queries from another encoder; None uses those of the set.
        name: Name in tables.
        top_k: Hits per query.
    """

    index: str
    fingerprint: EncoderFingerprint
    k_query: int
    k_doc: int | None = None
    pruning: Pruning = Pruning()
    window: int | None = None
    weight_exponent: int = 0
    vectors: tuple[SparseVectors, SparseVectors] | None = None
    name: str = "k-sparse"
    top_k: int = 10

    @property
    def knob(self) -> str:
        """Setting that trades quality for latency."""
        parts = [f"k_query={self.k_query}"]
        if self.pruning.prune_type != "none":
            parts.append(str(self.pruning))
        if self.window:
            parts.append(f"{self.window} rescored by all")
        return ", ".join(parts)

    @property
    def encoding(self) -> Encoding | None:
        """The head's."""
        return None if self.vectors else "features"

    def configure(self, client: OpenSearch) -> None:
        """Create an index of features alone."""
        body = index_body(
            IndexMeta(self.fingerprint, weight_exponent=self.weight_exponent), NewIndex(settings=INDEX_SETTINGS)
        )
        # Its size is measured immediately, before later merges drop the recovery source.
        body["mappings"]["_source"] = without_source(FEATURES_FIELD)
        client.indices.create(index=self.index, body=body)

    def upload(self, client: OpenSearch, data: EncodedSet) -> None:
        """Write the features without text, whose size would be the same in every system."""
        write_features(client, self.index, data.doc_ids, stored_features(self.vectors_of(data)[0], self.k_doc))

    def prepare(self, data: EncodedSet) -> list[Request]:
        """Build one bool query each."""
        requests: list[Request] = []
        documents, queries = self.vectors_of(data)
        searched = searched_features(
            queries, self.k_query, self.pruning, partial(document_shares, documents, self.k_doc)
        )
        for features, strongest in zip(queries.as_mappings(), searched, strict=True):
            rest = {name: weight for name, weight in features.items() if name not in strongest}
            first = build_query(strongest, weight_exponent=self.weight_exponent)
            request: Request = {"size": self.top_k, "query": first}
            if self.window and rest:
                second = build_query(rest, weight_exponent=self.weight_exponent)
                request["rescore"] = {"window_size": self.window, "query": {"rescore_query": second}}
            requests.append(request)
        return requests

    def probes(self, data: EncodedSet, rows: Sequence[int]) -> list[Probe]:
        """Expect the sum of a document's stored weights."""
        return feature_probes(self.vectors_of(data)[0], self.k_doc, rows, self.weight_exponent)

    def vectors_of(self, data: EncodedSet) -> tuple[SparseVectors, SparseVectors]:
        """Return the vectors of documents and queries."""
        return self.vectors or (data.document_vectors, data.query_vectors)


def write_features(
    client: OpenSearch,
    index: str,
    doc_ids: Sequence[str],
    features: Iterable[dict[str, float]],
    sources: Iterable[dict[str, str]] | None = None,
) -> None:
    """Write features and other fields with ksparse's writer; a refused document is an error."""
    writer = BulkWriter(client, index)
    documents = map(SparseDocument, doc_ids, features, sources if sources is not None else repeat({}))
    while block := list(islice(documents, _BLOCK)):
        refused = writer.write(block).refused
        if refused:
            raise BulkWriteError(f"{index} refused {refused[0].document.doc_id!r}: {refused[0].reason}")


def document_shares(documents: SparseVectors, k_doc: int | None) -> dict[str, float]:
    """Document frequency of each feature as a fraction, with `k_doc` features per document."""
    kept = prune(documents, k_doc) if k_doc is not None else documents
    features, counts = np.unique(kept.features[kept.weights > 0], return_counts=True)
    return {
        str(name): count / len(kept.weights) for name, count in zip(features.tolist(), counts.tolist(), strict=True)
    }


def searched_features(
    queries: SparseVectors, k_query: int, pruning: Pruning, count_shares: Callable[[], dict[str, float]]
) -> list[dict[str, float]]:
    """Return the pruned features of each query; document frequencies are counted if the pruning needs them."""
    shares = count_shares() if pruning.prune_type == "posting_budget" else None
    return [prune_query(features, pruning, shares=shares) for features in prune(queries, k_query).as_mappings()]


def stored_features(vectors: SparseVectors, k_doc: int | None, weight_exponent: int = 0) -> Iterator[dict[str, float]]:
    """Yield the features of documents as stored, as mappings; a million at once would not fit into memory."""
    for start in range(0, len(vectors.weights), _BLOCK):
        block = vectors.take(np.arange(start, min(start + _BLOCK, len(vectors.weights))))
        if k_doc is not None:
            block = prune(block, k_doc)
        stored = scale_weights(round_to_stored(block.weights), weight_exponent)
        yield from block._replace(weights=stored).as_mappings()


def feature_probes(
    vectors: SparseVectors, k_doc: int | None, rows: Sequence[int], weight_exponent: int = 0
) -> list[Probe]:
    """Build queries for all features of a document with weight 1, whose score is the sum of its weights."""
    return [
        (
            {"query": build_query(dict.fromkeys(features, 1.0), weight_exponent=weight_exponent)},
            sum(features.values()),
        )
        for features in stored_features(vectors.take(rows), k_doc)
    ]
