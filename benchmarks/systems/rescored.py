"""Features collect candidates, and compact codes of dense vectors rescore them."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from opensearchpy import OpenSearch

from benchmarks.datasets import EncodedSet
from benchmarks.systems.base import (
    INDEX_SETTINGS,
    Encoding,
    OneRequest,
    Probe,
    Request,
    blocks,
    without_source,
    write,
)
from benchmarks.systems.lucene_hnsw import knn_script, largest_value, to_bytes
from benchmarks.systems.rank_features import document_shares, feature_probes, searched_features, stored_features
from connector.query.body import FEATURES_FIELD, PRESENCE_FEATURE, build_query
from connector.query.pruning import Pruning
from connector.query.rescore import CODE_FIELD, build_rescore, code_mapping, rescore_by
from connector.types import SparseVectors
from connector.vectors.codes import RotatedCode
from connector.vectors.storage import SMALLEST_WEIGHT

Kind = Literal["1 bit", "2 bits", "3 bits", "4 bits", "knn byte"]


@dataclass(frozen=True, slots=True)
class Rescored(OneRequest):
    """Rescores the first `window` hits by a script over codes, or by the k-NN plugin's script.

    Attributes:
        index: Name of the index.
        kind: Kind of code; `knn byte` is a byte vector without a graph, scored by `knn_score`.
        k_query: Number of query features.
        window: Number of candidates; with 0, features alone rank.
        k_doc: Features kept per document; None keeps all.
        pruning: Pruning of query features.
        weight_exponent: Exponent of the power of two by which stored weights are multiplied.
        vectors: Vectors of documents and queries from another encoder; None uses those of the set.
        code: The code; None uses a random rotation.
        label: Name in tables instead of `k-sparse`.
        setting: Name of the settings in tables; empty shows their values.
        more_bytes: Bytes that the cluster stores in addition to the index.
        recoverable: Keep the copy of features and codes for recovery, as ksparse does; the server drops it in a merge,
            a minute after it was written. Without it, a merged index has its final size at once.
        top_k: Hits per query.
    """

    index: str
    kind: Kind
    k_query: int
    window: int = 100
    k_doc: int | None = None
    pruning: Pruning = Pruning()
    weight_exponent: int = 0
    vectors: tuple[SparseVectors, SparseVectors] | None = None
    code: RotatedCode | None = None
    label: str = "k-sparse"
    setting: str = ""
    more_bytes: int = 0
    recoverable: bool = False
    top_k: int = 10
    encoding: Encoding = "features"

    @property
    def name(self) -> str:
        """Name in tables."""
        many = "" if self.k_doc in (None, 64) else f", {self.k_doc} a document"
        return f"{self.label}{many} + {self.kind}" if self.window else f"{self.label}{many}, features alone"

    @property
    def knob(self) -> str:
        """Setting that trades quality for latency."""
        rule = "" if self.pruning.prune_type == "none" else f", {self.pruning}"
        rescored = f", {self.window} rescored" if self.window else ""
        return self.setting or f"k_query={self.k_query}{rule}{rescored}"

    def configure(self, client: OpenSearch, *, words: str | None = None) -> None:
        """Create an index of features and codes.

        Args:
            client: A client.
            words: Name of an additional text field.
        """
        properties: dict[str, Any] = {FEATURES_FIELD: {"type": "rank_features"}}
        if self.kind != "knn byte":  # its dimension is known only with the documents
            properties[CODE_FIELD] = code_mapping()
        if words is not None:
            properties[words] = {"type": "text"}
        source = without_source(FEATURES_FIELD, CODE_FIELD, *([words] if words else []))
        if self.recoverable:
            del source["recovery_source_excludes"]
        mappings = {"dynamic": "strict", "_source": source, "properties": properties}
        client.indices.create(index=self.index, body={"settings": {"index": INDEX_SETTINGS}, "mappings": mappings})

    def upload(self, client: OpenSearch, data: EncodedSet) -> None:
        """Write features and codes."""
        if self.kind == "knn byte":
            field = {"type": "knn_vector", "dimension": data.document_embeddings.shape[1], "data_type": "byte"}
            client.indices.put_mapping(index=self.index, body={"properties": {CODE_FIELD: field}})
        write(client, self.index, data.doc_ids, self.sources(data, range(len(data.documents))))

    def sources(self, data: EncodedSet, rows: Sequence[int]) -> Iterator[dict[str, Any]]:
        """Yield the fields of documents, given by their rows."""
        encode = self._encoding(data)
        present = max(2.0**self.weight_exponent, SMALLEST_WEIGHT)
        for block in blocks(rows):
            codes = encode(data.document_embeddings[block])
            stored = stored_features(self._vectors(data)[0].take(block), self.k_doc, self.weight_exponent)
            for features, found in zip(stored, codes, strict=True):
                yield {FEATURES_FIELD: {**features, PRESENCE_FEATURE: present}, CODE_FIELD: found}

    def prepare(self, data: EncodedSet) -> list[Request]:
        """Build one bool query each, with rescoring."""
        documents, queries = self._vectors(data)
        count = partial(document_shares, documents, self.k_doc)
        features = searched_features(queries, self.k_query, self.pruning, count)
        rescores = self._rescores(data) if self.window else [{}] * len(features)
        return [
            {"size": self.top_k, "query": build_query(found, weight_exponent=self.weight_exponent), **rescore}
            for found, rescore in zip(features, rescores, strict=True)
        ]

    def probes(self, data: EncodedSet, rows: Sequence[int]) -> list[Probe]:
        """Expect the sum of a document's stored weights."""
        return feature_probes(self._vectors(data)[0], self.k_doc, rows, self.weight_exponent)

    def _vectors(self, data: EncodedSet) -> tuple[SparseVectors, SparseVectors]:
        return self.vectors or (data.document_vectors, data.query_vectors)

    def _encoding(self, data: EncodedSet) -> Callable[[NDArray[np.float32]], list[Any]]:
        """What turns embeddings of documents into JSON values."""
        if self.kind == "knn byte":
            largest = largest_value(data.document_embeddings)
            return lambda embeddings: to_bytes(embeddings, largest=largest).tolist()
        code = self._code(data)
        return lambda embeddings: [base64.b64encode(row.tobytes()).decode() for row in code.encode(embeddings)]

    def _rescores(self, data: EncodedSet) -> list[Request]:
        """The `rescore` part of each query's request."""
        if self.kind == "knn byte":
            rounded = to_bytes(data.query_embeddings, largest=largest_value(data.document_embeddings))
            return [{"rescore": rescore_by(knn_script(CODE_FIELD, each), self.window)} for each in rounded]
        code = self._code(data)
        return [{"rescore": build_rescore(code, each, self.window)} for each in data.query_embeddings]

    def _code(self, data: EncodedSet) -> RotatedCode:
        if self.code is not None:
            return self.code
        bits: Any = int(self.kind[0])
        return RotatedCode(data.document_embeddings.mean(axis=0), bits)
