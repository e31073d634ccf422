"""Dense quality that an encoder preserves, and postings, per set and number of features; needs no server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.datasets import EncodedSet
from benchmarks.exact import ExactSearches, rescore
from connector.evaluation.metrics import evaluate_run, overlap_at, share
from connector.training.validation import FRONTIER
from connector.vectors.top_k import prune


def encoder_frontier(
    data: EncodedSet,
    num_features: int,
    *,
    num_latents: int | None = None,
    progress: Callable[[float], None] | None = None,
) -> list[dict[str, Any]]:
    """Measure all points of `FRONTIER`.

    Args:
        data: The set, encoded with 128 features per document and 64 per query.
        num_features: Width of the encoder's output.
        num_latents: Number of leading features that are latents and can be dead, unlike tokens; None means all.
        progress: Called with the completed fraction.

    Returns:
        One row per point: NDCG@10 by features alone and after rescoring the first 100 hits by exact dense scores, both
        also relative to exact dense search; recall of the dense top 10 in the first 100; postings read per query,
        relative to the number of documents; highest document frequency and dead latents, as fractions.
    """
    exact = ExactSearches(data)
    rows: list[dict[str, Any]] = []
    for done, (k_doc, k_query) in enumerate(FRONTIER):
        found = exact.search(prune(data.document_vectors, k_doc), prune(data.query_vectors, k_query), num_features)
        ordered = rescore(list(found.run.values()), data, data.document_embeddings)
        rescored = evaluate_run(ordered, data.judged.qrels)["ndcg@10"]
        rows.append(
            {
                "k_doc": k_doc,
                "k_query": k_query,
                "dense_ndcg@10": exact.dense_ndcg,
                **found.figures,
                "rescored_ndcg_share": share(rescored, exact.dense_ndcg),
                "overlap@10": overlap_at(found.run, exact.top_10, 10),
                "highest_document_frequency": float(found.frequencies.max()) / len(data.documents),
                "dead_latents": float((found.frequencies[:num_latents] == 0).mean()),
            }
        )
        if progress is not None:
            progress((done + 1) / len(FRONTIER))
    return rows
