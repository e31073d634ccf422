"""Other systems on OpenSearch that find neighbours or combine them with BM25, at several settings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from opensearchpy import OpenSearch

from benchmarks.datasets import EncodedSet
from benchmarks.suites import EF_SEARCH, PREFIX, OwnDictionary
from benchmarks.systems.base import System
from benchmarks.systems.bm25 import BM25, Hybrid
from benchmarks.systems.fused import Fused
from benchmarks.systems.lucene_hnsw import VARIANTS, LuceneHnsw
from benchmarks.systems.neural_hybrid import NeuralHybrid
from benchmarks.systems.seismic import Seismic
from connector.vectors.storage import find_weight_exponent

VECTORS, WORDS, NOT_RUN = "vectors", "words and vectors", "not run"

NATIVE = tuple(name for name in VARIANTS if name != "HNSW 7 bits")
"""Systems that need the k-NN plugin's native library."""

_ABSENT = "the k-NN plugin lacks its native library on this node, so the first document or search would crash the node"
_UNSEEN = (
    "the nodes are not on this machine, so it is unknown whether the k-NN plugin has its native library; --native "
    "assumes that it does"
)

_PREFIX = f"{PREFIX}-rivals"


def vector_systems(data: EncodedSet, own: OwnDictionary, *, native: bool) -> list[System]:
    """Systems that find the neighbours of an embedding, HNSW at its default first.

    Args:
        data: The encoded set.
        own: The set's own dictionary.
        native: Whether the nodes have the k-NN plugin's native library.
    """
    hnsw = _hnsw(data)
    graphs = [
        hnsw,
        replace(hnsw, index=f"{_PREFIX}-byte", data_type="byte"),
        replace(hnsw, index=f"{_PREFIX}-7-bits", variant="HNSW 7 bits"),
    ]
    if native:
        graphs += [replace(hnsw, index=f"{_PREFIX}-native-{place}", variant=each) for place, each in enumerate(NATIVE)]
    systems: list[System] = [*graphs]
    swept = [graph for graph in graphs if graph.variant != "flat"]
    systems += [replace(graph, ef_search=ef) for graph in swept for ef in EF_SEARCH]
    settings = ((own.k, 100), (own.k, None), (own.k, 500), (2 * own.k, 500), (3 * own.k, 1_000), (3 * own.k, 2_000))
    systems += [replace(own.system(k, window), index=f"{_PREFIX}-own") for k, window in settings]
    return systems + [Seismic(f"{_PREFIX}-seismic", top_n) for top_n in (4, 8, 16)]


def word_systems(data: EncodedSet, own: OwnDictionary) -> list[System]:
    """HNSW at its default, BM25, and systems that combine words and neighbours."""
    hnsw = _hnsw(data)
    exponent = find_weight_exponent(data.document_vectors.weights, margin=1)
    hybrid = NeuralHybrid(f"{_PREFIX}-hybrid", hnsw.dim)
    fused = Fused(own.system(), f"{_PREFIX}-own-words")
    return [
        hnsw,
        BM25(f"{_PREFIX}-bm25"),
        *(replace(hybrid, candidates=candidates) for candidates in (50, 100, 200)),
        *(replace(hybrid, weight=weight) for weight in (0.3, 0.5, 0.7)),
        *(replace(fused, candidates=candidates) for candidates in (50, 100, 200)),
        replace(fused, storage=own.wide()),
        *(Hybrid(f"{_PREFIX}-features", 0.005, k, weight_exponent=exponent) for k in (16, 32)),
    ]


def has_native_library(client: OpenSearch) -> bool | None:
    """Look for the k-NN plugin's native library in the nodes' folders; None if they are not on this machine.

    It cannot be tested otherwise, because without the library the first document or search crashes the node.
    """
    found = [
        _library_of(Path(node["settings"]["path"]["home"]))
        for node in client.nodes.info(metric="settings")["nodes"].values()
    ]
    return None if None in found or not found else all(found)


def why_not_run(native: bool | None) -> list[dict[str, str]]:
    """Rows with the systems that were not run, and the reason."""
    if native:
        return []
    reason = _UNSEEN if native is None else _ABSENT
    return [{"system": name, "reason": reason} for name in NATIVE]


def _library_of(home: Path) -> bool | None:
    plugin = home / "plugins" / "opensearch-knn"
    return any(plugin.rglob("libopensearchknn_*")) if plugin.is_dir() else None


def _hnsw(data: EncodedSet) -> LuceneHnsw:
    return LuceneHnsw(f"{_PREFIX}-hnsw", data.document_embeddings.shape[1])
