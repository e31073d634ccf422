"""Semantic search on the inverted index that OpenSearch already has.

Names are imported when they are first used: torch takes seconds, and `ksparse status` does not need it.
"""

from __future__ import annotations

import logging
from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

# The library logs nothing unless the application configures logging.
logging.getLogger("ksparse").addHandler(logging.NullHandler())

if TYPE_CHECKING:
    from connector.connection.client import connect
    from connector.corpus.layout import Layout
    from connector.corpus.read import check_documents, read_corpus
    from connector.encoders.base import Encoder
    from connector.encoders.load import load_encoder, shipped_encoders, shipped_heads
    from connector.encoders.text import TextEncoder
    from connector.errors import (
        BulkWriteError,
        BusyError,
        CheckpointError,
        ClusterError,
        ConnectorError,
        CorpusError,
        EncoderError,
        EncoderMismatchError,
        IndexMappingError,
        SearchError,
    )
    from connector.index.meta import IndexMeta
    from connector.index.new_index import NewIndex
    from connector.index.schema import prepare_index
    from connector.index.searcher import Searcher
    from connector.index.writer import BulkWriter
    from connector.ingest.checkpoint import Checkpoint
    from connector.ingest.ledger import IngestResult
    from connector.ingest.pipeline import IngestJob, ingest_documents
    from connector.ingest.prepare import prepare_encoder
    from connector.ingest.ray.job import RayIngest
    from connector.ingest.update import Change, DocumentUpdater
    from connector.query.body import SearchOptions, build_query
    from connector.query.pruning import Pruning
    from connector.query.settings import SearchSettings
    from connector.search.async_index import AsyncSparseIndex
    from connector.search.async_retriever import AsyncRetriever
    from connector.search.retriever import Retriever
    from connector.search.sparse_index import SparseIndex
    from connector.types import (
        Contribution,
        Deletion,
        Document,
        EncoderFingerprint,
        Explanation,
        Hit,
        MalformedRecord,
        Query,
        SparseDocument,
        SparseVectors,
    )
    from connector.vectors.statistics import CorpusStatistics

_HOMES = {
    "AsyncRetriever": "connector.search.async_retriever",
    "AsyncSparseIndex": "connector.search.async_index",
    "BulkWriteError": "connector.errors",
    "BulkWriter": "connector.index.writer",
    "BusyError": "connector.errors",
    "Change": "connector.ingest.update",
    "Checkpoint": "connector.ingest.checkpoint",
    "CheckpointError": "connector.errors",
    "ClusterError": "connector.errors",
    "ConnectorError": "connector.errors",
    "Contribution": "connector.types",
    "CorpusError": "connector.errors",
    "CorpusStatistics": "connector.vectors.statistics",
    "Deletion": "connector.types",
    "Document": "connector.types",
    "DocumentUpdater": "connector.ingest.update",
    "Encoder": "connector.encoders.base",
    "EncoderError": "connector.errors",
    "EncoderFingerprint": "connector.types",
    "EncoderMismatchError": "connector.errors",
    "Explanation": "connector.types",
    "Hit": "connector.types",
    "IndexMappingError": "connector.errors",
    "IndexMeta": "connector.index.meta",
    "IngestJob": "connector.ingest.pipeline",
    "IngestResult": "connector.ingest.ledger",
    "Layout": "connector.corpus.layout",
    "MalformedRecord": "connector.types",
    "NewIndex": "connector.index.new_index",
    "Pruning": "connector.query.pruning",
    "Query": "connector.types",
    "RayIngest": "connector.ingest.ray.job",
    "Retriever": "connector.search.retriever",
    "SearchError": "connector.errors",
    "SearchOptions": "connector.query.body",
    "SearchSettings": "connector.query.settings",
    "Searcher": "connector.index.searcher",
    "SparseDocument": "connector.types",
    "SparseIndex": "connector.search.sparse_index",
    "SparseVectors": "connector.types",
    "TextEncoder": "connector.encoders.text",
    "build_query": "connector.query.body",
    "check_documents": "connector.corpus.read",
    "connect": "connector.connection.client",
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
    "AsyncSparseIndex",
    "BulkWriteError",
    "BulkWriter",
    "BusyError",
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
    "IndexMeta",
    "IngestJob",
    "IngestResult",
    "Layout",
    "MalformedRecord",
    "NewIndex",
    "Pruning",
    "Query",
    "RayIngest",
    "Retriever",
    "SearchError",
    "SearchOptions",
    "SearchSettings",
    "Searcher",
    "SparseDocument",
    "SparseIndex",
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
