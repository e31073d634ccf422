"""Semantic search on the inverted index that OpenSearch already has.

Names are imported when they are first used: torch takes seconds, and `ksparse status` does not need it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from connector.async_retriever import AsyncRetriever
    from connector.corpus.read import check_documents, read_corpus
    from connector.encoders.base import Encoder
    from connector.encoders.load import load_encoder, shipped_encoders, shipped_heads
    from connector.encoders.text import TextEncoder
    from connector.errors import (
        BulkWriteError,
        CheckpointError,
        ClusterError,
        ConnectorError,
        CorpusError,
        EncoderError,
        EncoderMismatchError,
        IndexMappingError,
        SearchError,
    )
    from connector.explain import Contribution, Explanation
    from connector.index.client import connect
    from connector.index.schema import prepare_index
    from connector.index.searcher import Searcher
    from connector.index.writer import BulkWriter
    from connector.ingest.checkpoint import Checkpoint
    from connector.ingest.pipeline import IngestJob, IngestResult, ingest_documents
    from connector.ingest.prepare import prepare_encoder
    from connector.ingest.ray_data import RayIngest
    from connector.ingest.update import Change, DocumentUpdater
    from connector.pruning import Pruning
    from connector.query import SearchOptions, build_query
    from connector.retriever import Retriever
    from connector.statistics import CorpusStatistics
    from connector.types import (
        Deletion,
        Document,
        EncoderFingerprint,
        Hit,
        MalformedRecord,
        Query,
        SparseDocument,
        SparseVectors,
    )

_HOMES = {
    "AsyncRetriever": "connector.async_retriever",
    "BulkWriteError": "connector.errors",
    "BulkWriter": "connector.index.writer",
    "Change": "connector.ingest.update",
    "Checkpoint": "connector.ingest.checkpoint",
    "CheckpointError": "connector.errors",
    "ClusterError": "connector.errors",
    "ConnectorError": "connector.errors",
    "Contribution": "connector.explain",
    "CorpusError": "connector.errors",
    "CorpusStatistics": "connector.statistics",
    "Deletion": "connector.types",
    "Document": "connector.types",
    "DocumentUpdater": "connector.ingest.update",
    "Encoder": "connector.encoders.base",
    "EncoderError": "connector.errors",
    "EncoderFingerprint": "connector.types",
    "EncoderMismatchError": "connector.errors",
    "Explanation": "connector.explain",
    "Hit": "connector.types",
    "IndexMappingError": "connector.errors",
    "IngestJob": "connector.ingest.pipeline",
    "IngestResult": "connector.ingest.pipeline",
    "MalformedRecord": "connector.types",
    "Pruning": "connector.pruning",
    "Query": "connector.types",
    "RayIngest": "connector.ingest.ray_data",
    "Retriever": "connector.retriever",
    "SearchError": "connector.errors",
    "SearchOptions": "connector.query",
    "Searcher": "connector.index.searcher",
    "SparseDocument": "connector.types",
    "SparseVectors": "connector.types",
    "TextEncoder": "connector.encoders.text",
    "build_query": "connector.query",
    "check_documents": "connector.corpus.read",
    "connect": "connector.index.client",
    "ingest_documents": "connector.ingest.pipeline",
    "load_encoder": "connector.encoders.load",
    "prepare_encoder": "connector.ingest.prepare",
    "prepare_index": "connector.index.schema",
    "read_corpus": "connector.corpus.read",
    "shipped_encoders": "connector.encoders.load",
    "shipped_heads": "connector.encoders.load",
}

__all__ = [
    "AsyncRetriever",
    "BulkWriteError",
    "BulkWriter",
    "Change",
    "Checkpoint",
    "CheckpointError",
    "ClusterError",
    "ConnectorError",
    "Contribution",
    "CorpusError",
    "CorpusStatistics",
    "Deletion",
    "Document",
    "DocumentUpdater",
    "Encoder",
    "EncoderError",
    "EncoderFingerprint",
    "EncoderMismatchError",
    "Explanation",
    "Hit",
    "IndexMappingError",
    "IngestJob",
    "IngestResult",
    "MalformedRecord",
    "Pruning",
    "Query",
    "RayIngest",
    "Retriever",
    "SearchError",
    "SearchOptions",
    "Searcher",
    "SparseDocument",
    "SparseVectors",
    "TextEncoder",
    "build_query",
    "check_documents",
    "connect",
    "ingest_documents",
    "load_encoder",
    "prepare_encoder",
    "prepare_index",
    "read_corpus",
    "shipped_encoders",
    "shipped_heads",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'connector' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
