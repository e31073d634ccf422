"""A retrieval set, encoded once, so that every system gets the same vectors."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from connector.corpus.read import read_corpus
from connector.encoders.lexical import Task
from connector.encoders.text import TextEncoder
from connector.errors import CorpusError
from connector.evaluation.datasets import RetrievalSet, load_retrieval_set
from connector.evaluation.exact import exact_search
from connector.evaluation.runs import Run
from connector.files import written_whole
from connector.training.embeddings import EmbeddingCache
from connector.types import Document, Hit, Query, SparseVectors
from connector.vectors.statistics import CorpusStatistics


@dataclass(frozen=True, slots=True)
class EncodedSet:
    """A retrieval set with its vectors, dense and sparse, row by row.

    Attributes:
        name: The folder's name.
        documents: The corpus.
        judged: Queries and judgements.
        document_embeddings: float32 (n, dim).
        query_embeddings: float32 (m, dim).
        document_vectors: n sparse vectors.
        query_vectors: m sparse vectors with the maximum number of features.
        encoder: The calibrated encoder.
    """

    name: str
    documents: tuple[Document, ...]
    judged: RetrievalSet
    document_embeddings: NDArray[np.float32]
    query_embeddings: NDArray[np.float32]
    document_vectors: SparseVectors
    query_vectors: SparseVectors
    encoder: TextEncoder

    @property
    def doc_ids(self) -> list[str]:
        """Ids in the order of the rows."""
        return [document.doc_id for document in self.documents]

    def run_of(self, hits: Sequence[list[Hit]]) -> Run:
        """Return hits by query id."""
        return dict(zip([query.query_id for query in self.judged.queries], hits, strict=True))


Embed = Callable[[list[str], Task], NDArray[np.float32]]
"""Embeds texts with the prompt of their task, with a cache."""


def cached_embed(encoder: TextEncoder, folder: Path | None, report: Callable[[str, float], None]) -> Embed:
    """Return a function that embeds with the encoder's dense model and caches the result in a folder."""
    cache = EmbeddingCache(encoder.dense_model(), encoder.fingerprint.base_model, folder)
    return lambda texts, task: cache.embed(texts, task=task, progress=partial(report, f"encoding {len(texts):,} texts"))


def cached_vectors(encoder: TextEncoder, texts: list[str], task: Task, folder: Path) -> SparseVectors:
    """Encode texts, or read their cached vectors.

    Args:
        encoder: An encoder without a head, e.g. a SPLADE, which is slow.
        texts: Texts of documents or queries.
        task: Kind of texts.
        folder: Cache folder.
    """
    digest = hashlib.sha256(f"{encoder.fingerprint.digest} {encoder.k} {encoder.k_query} {task}".encode())
    for text in texts:
        digest.update(hashlib.sha256(text.encode(errors="surrogatepass")).digest())
    path = folder / f"{digest.hexdigest()[:32]}.npz"
    if path.is_file():
        with np.load(path) as kept:
            return SparseVectors(kept["features"], kept["weights"])
    vectors = encoder.encode_document(texts) if task == "document" else encoder.encode_query(texts)
    with written_whole(path) as file:
        np.savez(file, features=vectors.features, weights=vectors.weights)
    return vectors


def encode_by(
    encoder: TextEncoder, data: EncodedSet, folder: Path, *, idf: bool = False
) -> tuple[TextEncoder, SparseVectors, SparseVectors]:
    """Encode a set with an encoder without a head, with a cache.

    Args:
        encoder: The encoder, e.g. a SPLADE.
        data: The set.
        folder: Cache folder.
        idf: Weight query features by IDF, even if the encoder does not.

    Returns:
        The encoder, calibrated if it uses IDF; vectors of documents; vectors of queries.
    """
    documents = cached_vectors(encoder, [document.content for document in data.documents], "document", folder)
    if idf:
        encoder = encoder.with_idf()
    if encoder.statistics is not None:
        encoder = encoder.with_statistics(CorpusStatistics.measure_features(documents, encoder.num_latents))
    return encoder, documents, cached_vectors(encoder, [query.text for query in data.judged.queries], "query", folder)


def check_sets(folders: Iterable[Path], split: str = "test") -> None:
    """Check that sets can be read, before slower steps.

    Raises:
        CorpusError: A set has no corpus or no queries, or its judgements lack the split.
    """
    for folder in folders:
        load_queries(folder, split)
        if not any(isinstance(record, Document) for record in read_corpus(folder)):
            raise CorpusError(f"{folder} contains no document to search.")


def load_queries(folder: Path, split: str = "test") -> RetrievalSet:
    """Load the queries of a set, with the judgements of a split if there are any."""
    return load_retrieval_set(folder, split) if has_judgements(folder) else _unjudged(folder)


def has_judgements(folder: Path) -> bool:
    """Whether a set has judgements; otherwise exact dense search is the truth."""
    return any(folder.glob("qrels/*"))


def _unjudged(folder: Path) -> RetrievalSet:
    """The queries of a set without judgements."""
    queries = tuple(
        Query(record.doc_id, record.text)
        for path in sorted(folder.glob("queries.jsonl*"))[:1]
        for record in read_corpus(path)
        if isinstance(record, Document)
    )
    if not queries:
        raise CorpusError(f"{folder} has neither judgements (qrels/) nor queries.jsonl; add one of them.")
    return RetrievalSet(folder.resolve().name, queries, {query.query_id: {} for query in queries})


def encode_set(
    folder: Path,
    encoder: TextEncoder,
    embed: Embed,
    *,
    split: str = "test",
    max_queries: int = 1_000,
    max_documents: int | None = None,
    k_doc: int | None = None,
    k_query: int = 64,
    calibrate: bool = True,
    features: bool = True,
) -> EncodedSet:
    """Read a BEIR folder and encode it.

    In a set without judgements, the relevant documents of a query are the top ten of exact dense search, so NDCG
    measures agreement with it.

    Args:
        folder: Folder with corpus, queries and judgements.
        encoder: A dense model with a head.
        embed: The dense model.
        split: Split whose judgements are used.
        max_queries: Maximum number of queries, the first ones.
        max_documents: Maximum number of documents, the first ones, of a set without judgements.
        k_doc: Features kept per document; None uses the encoder's number.
        k_query: Maximum features per query.
        calibrate: Calibrate the encoder with the statistics of the corpus, as `ksparse ingest` does.
        features: Encode with the encoder's head; otherwise the vectors are empty, for systems with their own head.
    """
    judgements = has_judgements(folder)
    records = (record for record in read_corpus(folder) if isinstance(record, Document))
    documents = tuple(records if judgements else islice(records, max_documents))
    judged = load_queries(folder, split).first(max_queries)
    texts, questions = [document.content for document in documents], [query.text for query in judged.queries]
    document_embeddings, query_embeddings = embed(texts, "document"), embed(questions, "query")
    if calibrate and features:
        encoder = encoder.with_statistics(encoder.measure_statistics(texts, document_embeddings))
    data = EncodedSet(
        name=folder.resolve().name,
        documents=documents,
        judged=judged,
        document_embeddings=document_embeddings,
        query_embeddings=query_embeddings,
        document_vectors=encoder.sparsify_embeddings(document_embeddings, texts, k=k_doc)
        if features
        else _empty_vectors(len(texts)),
        query_vectors=encoder.sparsify_embeddings(query_embeddings, questions, task="query", k=k_query)
        if features
        else _empty_vectors(len(questions)),
        encoder=encoder,
    )
    return data if judgements else with_exact_truth(data)


def with_exact_truth(data: EncodedSet) -> EncodedSet:
    """Return a set with the top ten of exact dense search as the relevant documents of each query."""
    nearest = exact_search(data.document_embeddings, data.query_embeddings, data.doc_ids, 10)
    qrels = {query: {hit.doc_id: 1 for hit in hits} for query, hits in data.run_of(nearest).items()}
    return replace(data, judged=replace(data.judged, qrels=qrels))


def _empty_vectors(count: int) -> SparseVectors:
    return SparseVectors(np.zeros((count, 1), dtype=np.int32), np.zeros((count, 1), dtype=np.float32))
