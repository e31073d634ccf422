"""Measure the quality of sparse search on a live index beside exact dense search with the same base model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import nan

import numpy as np
from numpy.typing import NDArray
from opensearchpy import OpenSearch

from connector.encoders.text import TextEncoder
from connector.errors import BulkWriteError
from connector.evaluation.datasets import RetrievalSet
from connector.evaluation.exact import exact_search
from connector.evaluation.metrics import evaluate_run, share
from connector.evaluation.runs import DEPTH, Run
from connector.index.writer import BulkWriter
from connector.ingest.preparation import to_sparse_documents
from connector.query.settings import DEFAULT_SETTINGS, SearchSettings
from connector.search.retriever import Retriever
from connector.types import Document, Hit

Search = Callable[[Retriever, Sequence[str], int], list[list[Hit]]]
"""Takes a retriever, queries and the number of hits per query; returns the hits."""

_BLOCK = 512


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The measured quality.

    Attributes:
        figures: Values by system (`k-sparse`, `exact dense`, `share of dense`) and metric. Encoders without a dense
            model (SPLADE) have only the first system.
        sparse_run: The hits behind the `k-sparse` figures.
    """

    figures: Mapping[str, Mapping[str, float]]
    sparse_run: Run


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
    search: Search | None = None,
    progress: Callable[[int], None] | None = None,
) -> Evaluation:
    """Run the judged queries and compute NDCG@10, MRR@10 and Recall@100 (ir-measures).

    Args:
        corpus: All documents of the set; if empty, exact dense search is skipped.
        judged: The queries and relevance judgements.
        encoder: The encoder of the index.
        client: A connected client.
        index: An existing index of this encoder.
        write: Write the corpus into the index first.
        embeddings: (n, dim), embeddings of the corpus if they are already known.
        settings: Search settings.
        search: Search function to use instead of `search_many` with `settings`.
        progress: Called with the number of encoded documents.

    Raises:
        BulkWriteError: A document was refused, so the figures would describe another corpus.
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

    texts = [query.text for query in judged.queries]
    if search is None:
        found = retriever.search_many(texts, top_k=DEPTH, settings=settings)
    else:
        found = search(retriever, texts, DEPTH)
    sparse_run: Run = {query.query_id: hits for query, hits in zip(judged.queries, found, strict=True)}
    name = "k-sparse" if encoder.head is not None else "sparse"
    figures = {name: evaluate_run(sparse_run, judged.qrels)}
    if has_dense:
        queries = encoder.embed(texts, task="query")
        truth = exact_search(np.concatenate(embedded), queries, [each.doc_id for each in corpus], DEPTH)
        dense = evaluate_run({q.query_id: hits for q, hits in zip(judged.queries, truth, strict=True)}, judged.qrels)
        sparse = figures["k-sparse"]
        figures["exact dense"] = dense
        figures["share of dense"] = {name: share(sparse[name], dense[name]) if dense[name] else nan for name in dense}
    return Evaluation(figures, sparse_run)
