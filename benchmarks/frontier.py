"""What an encoder keeps of dense quality at how many postings: a table per set, computed without a server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.datasets import EncodedSet
from connector.encoders.training.validation import FRONTIER
from connector.evaluation.exact import document_frequencies, exact_search, exact_sparse_search, postings_read
from connector.evaluation.metrics import evaluate_run, overlap_at, share
from connector.sparsify import prune
from connector.types import Hit

_CANDIDATES = 100


def encoder_frontier(
    data: EncodedSet,
    num_features: int,
    *,
    num_latents: int | None = None,
    progress: Callable[[float], None] | None = None,
) -> list[dict[str, Any]]:
    """Measure every point of `FRONTIER`.

    Args:
        data: Encoded with 128 features a document and 64 a query.
        num_features: Width of the encoder's output.
        num_latents: The first so many features may be dead; a word that no document has is not. All, if None.
        progress: Told the share that is done.

    Returns:
        One row per point: NDCG@10 by features alone and after rescoring the first 100 by exact dense scores, both
        also as a share of exact dense; recall of the dense top 10 in the first 100; postings read per query and
        document of the corpus; highest document frequency and dead latents, as shares.
    """
    ids = [query.query_id for query in data.judged.queries]
    dense_hits = exact_search(data.document_embeddings, data.query_embeddings, data.doc_ids, _CANDIDATES)
    dense_run = dict(zip(ids, dense_hits, strict=True))
    dense = evaluate_run(dense_run, data.judged.qrels)["ndcg@10"]
    top_10 = {query_id: hits[:10] for query_id, hits in dense_run.items()}
    rows: list[dict[str, Any]] = []
    for done, (k_doc, k_query) in enumerate(FRONTIER):
        documents, queries = prune(data.document_vectors, k_doc), prune(data.query_vectors, k_query)
        found = exact_sparse_search(documents, queries, data.doc_ids, num_features, _CANDIDATES)
        run = dict(zip(ids, found, strict=True))
        alone = evaluate_run(run, data.judged.qrels)["ndcg@10"]
        rescored = evaluate_run(dict(zip(ids, _rescore(found, data), strict=True)), data.judged.qrels)["ndcg@10"]
        frequencies = document_frequencies(documents, num_features)
        rows.append(
            {
                "k_doc": k_doc,
                "k_query": k_query,
                "dense_ndcg@10": dense,
                "ndcg@10": alone,
                "ndcg_share": share(alone, dense),
                "recall_of_dense_top_10@100": _recall(run, top_10),
                "rescored_ndcg_share": share(rescored, dense),
                "overlap@10": overlap_at(run, top_10, 10),
                "postings_per_document": float(postings_read(queries, frequencies).mean()) / len(data.documents),
                "highest_document_frequency": float(frequencies.max()) / len(data.documents),
                "dead_latents": float((frequencies[:num_latents] == 0).mean()),
            }
        )
        if progress is not None:
            progress((done + 1) / len(FRONTIER))
    return rows


def _rescore(found: list[list[Hit]], data: EncodedSet) -> list[list[Hit]]:
    """Order the candidates of each query by their exact dense score."""
    row_of = {doc_id: row for row, doc_id in enumerate(data.doc_ids)}
    rescored = []
    for hits, query in zip(found, data.query_embeddings, strict=True):
        rows = [row_of[hit.doc_id] for hit in hits]
        scores = data.document_embeddings[rows] @ query if rows else np.empty(0)
        rescored.append(
            sorted(
                (Hit(hit.doc_id, float(score)) for hit, score in zip(hits, scores, strict=True)),
                key=lambda hit: -hit.score,
            )
        )
    return rescored


def _recall(run: dict[str, list[Hit]], top: dict[str, list[Hit]]) -> float:
    """Share of each query's dense top that is anywhere among its hits, mean over queries."""
    shares = []
    for query_id, wanted in top.items():
        found = {hit.doc_id for hit in run[query_id]}
        shares.append(sum(hit.doc_id in found for hit in wanted) / len(wanted))
    return float(np.mean(shares))
