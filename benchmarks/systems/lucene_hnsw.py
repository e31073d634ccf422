"""The k-NN plugin's Lucene HNSW on fp32 or byte embeddings, the reference of comparisons, and its other engines."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
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


def _faiss(**parameters: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:  # noqa: ANN401
    """The plugin's default engine, with the graph of the reference."""

    def change(field: dict[str, Any]) -> dict[str, Any]:
        method = field["method"]
        return field | {"method": method | {"engine": "faiss", "parameters": method["parameters"] | parameters}}

    return change


VARIANTS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "HNSW 7 bits": _scalar(7),
    "HNSW Faiss": _faiss(),
    "HNSW Faiss, fp16": _faiss(encoder={"name": "sq", "parameters": {"type": "fp16"}}),
    "HNSW 1 bit": _scalar(1),
    "HNSW 1 bit, on_disk": _on_disk,
    "flat": _flat,
}
"""Other engines, and vectors that the server quantizes: changes of the reference's mapping, by name in tables.

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
        variant: Another engine, or quantization by the server; see `VARIANTS`.
        top_k: Hits per query.
    """

    index: str
    dim: int
    ef_search: int | None = None
    data_type: Literal["float", "byte"] = "float"
    variant: str | None = None
    top_k: int = 10
    encoding: Encoding = "dense"

    @property
    def name(self) -> str:
        """Name in tables."""
        if self.variant is not None:
            return self.variant
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
        if self.variant is not None:
            body["mappings"]["properties"]["embedding"] = VARIANTS[self.variant](field)
        body["settings"] = {"index": {"knn": True, **INDEX_SETTINGS}}
        return body

    def upload(self, client: OpenSearch, data: EncodedSet) -> None:
        """Write the embeddings."""
        write(client, self.index, data.doc_ids, self.sources(data, range(len(data.documents))))

    def sources(self, data: EncodedSet, rows: Sequence[int]) -> Iterator[dict[str, Any]]:
        """Yield the fields of documents, given by their rows."""
        stored = self._storage(data)
        for block in blocks(rows):
            yield from ({"embedding": numbers} for numbers in to_numbers(stored(data.document_embeddings[block])))

    def prepare(self, data: EncodedSet) -> list[Request]:
        """Build one k-NN query each."""
        extra: dict[str, Any] = {}
        if self.ef_search is not None:
            extra["method_parameters"] = {"ef_search": self.ef_search}
        return [
            {
                "size": self.top_k,
                "query": {"knn": {"embedding": {"vector": numbers, "k": self.top_k, **extra}}},
            }
            for numbers in to_numbers(self._storage(data)(data.query_embeddings))
        ]

    def probes(self, data: EncodedSet, rows: Sequence[int]) -> list[Probe]:
        """Expect the inner product of a stored vector with itself, to which the plugin adds 1."""
        stored = self._storage(data)(data.document_embeddings[np.asarray(rows)])
        probes: list[Probe] = []
        for vector in stored:
            product = float(np.square(vector.astype(np.float64)).sum())
            probes.append(({"query": score_by(knn_script("embedding", vector))}, product + 1.0))
        return probes

    def _storage(self, data: EncodedSet) -> Callable[[NDArray[np.float32]], NDArray[Any]]:
        """What turns embeddings into stored vectors."""
        if self.data_type == "float":
            return lambda embeddings: embeddings
        return partial(to_bytes, largest=largest_value(data.document_embeddings))


def knn_script(field: str, vector: NDArray[Any]) -> dict[str, Any]:
    """Return the plugin's script for exact scores: 1 plus the inner product."""
    params = {"field": field, "query_value": vector.tolist(), "space_type": "innerproduct"}
    return {"source": "knn_score", "lang": "knn", "params": params}


def to_numbers(vectors: NDArray[Any]) -> Iterator[list[float]]:
    """Yield each vector as JSON numbers; of floats, 8 decimals, which are half as long as the digits of a double."""
    for vector in vectors:
        yield (vector if vector.dtype == np.int8 else np.round(vector.astype(np.float64), 8)).tolist()


def largest_value(embeddings: NDArray[np.float32]) -> float:
    """The largest absolute value."""
    return float(max(embeddings.max(), -embeddings.min()))


def to_bytes(embeddings: NDArray[np.float32], *, largest: float) -> NDArray[np.int8]:
    """Quantize embeddings to int8, (n, dim), with `largest` as 127."""
    return np.asarray(np.clip(np.rint(embeddings * (127.0 / largest)), -127, 127), dtype=np.int8)
