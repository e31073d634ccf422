"""The k-NN plugin's Lucene HNSW on fp32 or byte embeddings, the reference of comparisons."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from opensearchpy import OpenSearch

from benchmarks.datasets import EncodedSet
from benchmarks.systems.base import INDEX_SETTINGS, Encoding, OneRequest, Probe, Request, blocks, write
from connector.index.schema import load_mapping
from connector.query.rescore import score_by


def _scalar(bits: int) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Quantization by the engine to a number of bits per dimension."""

    def change(field: dict[str, Any]) -> dict[str, Any]:
        method = field["method"]
        encoder = {"name": "sq", "parameters": {"bits": bits}}
        return field | {"method": method | {"parameters": method["parameters"] | {"encoder": encoder}}}

    return change


def _on_disk(field: dict[str, Any]) -> dict[str, Any]:
    space = field["method"]["space_type"]
    kept = {name: field[name] for name in ("type", "dimension")}
    return kept | {"space_type": space, "mode": "on_disk", "compression_level": "32x"}


def _flat(field: dict[str, Any]) -> dict[str, Any]:
    space = field["method"]["space_type"]
    kept = {name: field[name] for name in ("type", "dimension")}
    return kept | {"space_type": space, "method": {"name": "flat", "engine": "lucene"}}


QUANTIZED: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "HNSW 7 bits": _scalar(7),
    "HNSW 1 bit": _scalar(1),
    "HNSW 1 bit, on_disk": _on_disk,
    "flat": _flat,
}
"""Mappings of vectors that the server quantizes, by name in tables.

All but 7 bits need the plugin's native library: without it, the first document or search crashes the node.
"""


@dataclass(frozen=True, slots=True)
class LuceneHnsw(OneRequest):
    """Approximate nearest neighbours at the server's default settings, unless `ef_search` is given.

    Attributes:
        index: Name of the index.
        dim: Dimensions of the embeddings.
        ef_search: Size of the candidate list; None uses the server's default.
        data_type: `byte` takes a quarter of the bytes.
        quantized: Quantization by the server; see `QUANTIZED`.
        top_k: Hits per query.
    """

    index: str
    dim: int
    ef_search: int | None = None
    data_type: Literal["float", "byte"] = "float"
    quantized: str | None = None
    top_k: int = 10
    encoding: Encoding = "dense"

    @property
    def name(self) -> str:
        """Name in tables."""
        if self.quantized is not None:
            return self.quantized
        return "HNSW" if self.data_type == "float" else "HNSW byte"

    @property
    def knob(self) -> str:
        """Setting that trades quality for latency."""
        return "default" if self.ef_search is None else f"ef_search={self.ef_search}"

    def configure(self, client: OpenSearch) -> None:
        """Create an index of embeddings alone."""
        client.indices.create(index=self.index, body=self.body())

    def body(self) -> dict[str, Any]:
        """Return settings and mapping of the index."""
        body = load_mapping("lucene_hnsw")
        field = body["mappings"]["properties"]["embedding"]
        field |= {"dimension": self.dim, "data_type": self.data_type}
        if self.quantized is not None:
            body["mappings"]["properties"]["embedding"] = QUANTIZED[self.quantized](field)
        body["settings"] = {"index": {"knn": True, **INDEX_SETTINGS}}
        return body

    def upload(self, client: OpenSearch, data: EncodedSet) -> None:
        """Write the embeddings."""
        write(client, self.index, data.doc_ids, self.sources(data, range(len(data.documents))))

    def sources(self, data: EncodedSet, rows: Sequence[int]) -> Iterator[dict[str, Any]]:
        """Yield the fields of documents, given by their rows."""
        for block in blocks(rows):
            for embedding in self._stored(data.document_embeddings[block], data):
                yield {"embedding": embedding.tolist()}

    def prepare(self, data: EncodedSet) -> list[Request]:
        """Build one k-NN query each."""
        extra: dict[str, Any] = {}
        if self.ef_search is not None:
            extra["method_parameters"] = {"ef_search": self.ef_search}
        return [
            {
                "size": self.top_k,
                "query": {"knn": {"embedding": {"vector": embedding.tolist(), "k": self.top_k, **extra}}},
            }
            for embedding in self._stored(data.query_embeddings, data)
        ]

    def probes(self, data: EncodedSet, rows: Sequence[int]) -> list[Probe]:
        """Expect the inner product of a stored vector with itself, to which the plugin adds 1."""
        stored = self._stored(data.document_embeddings[np.asarray(rows)], data)
        probes: list[Probe] = []
        for vector in stored:
            product = float(np.square(vector.astype(np.float64)).sum())
            probes.append(({"query": score_by(knn_script("embedding", vector))}, product + 1.0))
        return probes

    def _stored(self, embeddings: NDArray[np.float32], data: EncodedSet) -> NDArray[Any]:
        return embeddings if self.data_type == "float" else to_bytes(embeddings, data.document_embeddings)


def knn_script(field: str, vector: NDArray[Any]) -> dict[str, Any]:
    """Return the plugin's script for exact scores: 1 plus the inner product."""
    params = {"field": field, "query_value": vector.tolist(), "space_type": "innerproduct"}
    return {"source": "knn_score", "lang": "knn", "params": params}


def to_bytes(embeddings: NDArray[np.float32], documents: NDArray[np.float32]) -> NDArray[np.int8]:
    """Quantize embeddings to int8, (n, dim), with the documents' largest value as 127."""
    scale = 127.0 / float(np.abs(documents).max())
    return np.asarray(np.clip(np.rint(embeddings * scale), -127, 127), dtype=np.int8)
