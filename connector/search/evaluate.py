"""Measure the quality of sparse search on a live index beside exact dense search with the same base model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import nan
from typing import Any

import numpy as np
from numpy.typing import NDArray
from opensearchpy import OpenSearch

from connector.encoders.text import TextEncoder
from connector.errors import BulkWriteError, SearchError
from connector.evaluation.datasets import RetrievalSet
from connector.evaluation.exact import exact_search
from connector.evaluation.metrics import evaluate_run, share
from connector.evaluation.runs import DEPTH, Run, without_own
from connector.index.hits import read_hits
from connector.index.schema import IndexSchema
from connector.index.sizes import all_of, count_matching
from connector.index.writer import BulkWriter
from connector.ingest.preparation import to_sparse_documents
from connector.query.settings import DEFAULT_SETTINGS, SearchSettings
from connector.search.retriever import Retriever
from connector.types import Document, Hit

Clauses = Sequence[Mapping[str, Any]]
Search = Callable[[Retriever, Sequence[str], Clauses, int], list[list[Hit]]]
"""Takes a retriever, queries, filters and the number of hits per query; returns the hits."""

_BLOCK = 512


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The measured quality.

    Attributes:
        figures: Values by system (`k-sparse`, `exact dense`, `share of dense`) and metric. Encoders without a dense
            model (SPLADE) have only the first system.
        sparse_run: The hits behind the `k-sparse` figures.
        judged: The queries and judgements behind all figures.
        documents: Number of documents that exact dense search ranked, or would have.
    """

    figures: Mapping[str, Mapping[str, float]]
    sparse_run: Run
    judged: RetrievalSet
    documents: int


def evaluate(
    corpus: Sequence[Document],
    judged: RetrievalSet,
    encoder: TextEncoder,
    client: OpenSearch,
    index: str,
    *,
    write: bool,
    embeddings: NDArray[np.float32] | None = None,
    settings: SearchSettings = DEFAULT_SETTINGS,
    filters: Callable[[IndexSchema], Clauses] | None = None,
    search: Search | None = None,
    progress: Callable[[int], None] | None = None,
) -> Evaluation:
    """Run the judged queries and compute NDCG@10, MRR@10 and Recall@100 (ir-measures).

    A document with the id of the query is not a hit (`without_own`).

    Args:
        corpus: All documents of the set; if empty, exact dense search is skipped.
        judged: The queries and relevance judgements.
        encoder: The encoder of the index.
        client: A connected client.
        index: An existing index of this encoder.
        write: Write the corpus into the index first.
        embeddings: (n, dim), embeddings of the corpus if they are already known.
        settings: Search settings.
        filters: Called once the index has the documents; returns query clauses that they must match. Exact dense
            search and the judgements are then restricted to matching documents as well.
        search: Search function to use instead of `search_many` with `settings`.
        progress: Called with the number of encoded documents.

    Raises:
        BulkWriteError: A document was refused, so the figures would describe another corpus.
        SearchError: No document that matches the filters is relevant to a query.
    """
    retriever = Retriever(client, index, encoder, source=False)
    encoder = retriever.encoder
    writer = BulkWriter(client, index) if write else None
    has_dense = encoder.head is not None and len(corpus) > 0
    embedded = []
    for start in range(0, len(corpus) if write or has_dense else 0, _BLOCK):
        block = corpus[start : start + _BLOCK]
        texts = [document.content for document in block]
        if has_dense:
            known = embeddings[start : start + _BLOCK] if embeddings is not None else None
            embedded.append(encoder.embed(texts) if known is None else known)
        if writer is not None:
            vectors = encoder.encode_embedded(embedded[-1], texts) if has_dense else encoder.encode_document(texts)
            if refused := writer.write(to_sparse_documents(block, vectors)).refused:
                first = refused[0]
                raise BulkWriteError(
                    f"Document {first.document.doc_id!r} was refused: {first.reason}. Correct the corpus."
                )
        if progress is not None:
            progress(start + len(block))
    if writer is not None:
        writer.refresh()

    rows: NDArray[np.bool_] = np.ones(len(corpus), dtype=bool)
    clauses = [] if filters is None else list(filters(retriever.schema))
    if clauses:
        kept = _matching(client, index, clauses)
        judged = _judged_among(judged, kept)
        rows = np.array([document.doc_id in kept for document in corpus], dtype=bool)
    texts = [query.text for query in judged.queries]
    ids = [document.doc_id for document in corpus]
    top_k = DEPTH if ids and judged.qrels.keys().isdisjoint(ids) else DEPTH + 1
    if search is None:
        found = retriever.search_many(texts, top_k=top_k, settings=settings, filters=clauses)
    else:
        found = search(retriever, texts, clauses, top_k)
    sparse_run = _run_of(judged, found)
    name = "k-sparse" if encoder.head is not None else "sparse"
    figures = {name: evaluate_run(sparse_run, judged.qrels)}
    if has_dense:
        truth = _exact(np.concatenate(embedded), encoder.embed(texts, task="query"), ids, rows)
        dense = evaluate_run(_run_of(judged, truth), judged.qrels)
        sparse = figures["k-sparse"]
        figures["exact dense"] = dense
        figures["share of dense"] = {name: share(sparse[name], dense[name]) if dense[name] else nan for name in dense}
    return Evaluation(figures, sparse_run, judged, int(rows.sum()))


def _run_of(judged: RetrievalSet, found: Sequence[list[Hit]]) -> Run:
    return without_own({q.query_id: hits for q, hits in zip(judged.queries, found, strict=True)}, judged.qrels)


def _exact(
    embeddings: NDArray[np.float32], queries: NDArray[np.float32], doc_ids: Sequence[str], rows: NDArray[np.bool_]
) -> list[list[Hit]]:
    """The nearest documents among some rows, one more than are scored."""
    if rows.all():
        return exact_search(embeddings, queries, doc_ids, DEPTH + 1)
    return exact_search(embeddings[rows], queries, [doc_ids[row] for row in np.flatnonzero(rows).tolist()], DEPTH + 1)


def _matching(client: OpenSearch, index: str, clauses: Clauses) -> frozenset[str]:
    """Ids of the documents that match all filters."""
    count_matching(client, index, clauses)  # reports errors of the filters
    return frozenset(hit["_id"] for hit in read_hits(client, index, all_of(clauses) | {"_source": False}))


def _judged_among(judged: RetrievalSet, doc_ids: frozenset[str]) -> RetrievalSet:
    found = judged.among(doc_ids)
    if not found.queries:
        raise SearchError(
            f"The filters match {len(doc_ids):,} documents, none of which is relevant to a query of {judged.name}; "
            "there is nothing to measure. Choose other filters."
        )
    return found
