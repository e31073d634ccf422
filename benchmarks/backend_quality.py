"""NDCG@10 of a judged set whose documents or queries are encoded by different runtimes of one encoder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from benchmarks.datasets import load_queries
from connector.corpus.read import read_corpus
from connector.encoders.text import TextEncoder
from connector.evaluation.exact import exact_sparse_search
from connector.evaluation.metrics import evaluate_run
from connector.types import Document


def measure_quality(
    encoders: Mapping[str, TextEncoder], folder: Path, *, report: Callable[[str, float], None]
) -> dict[str, dict[str, float]]:
    """Return NDCG@10 by runtime, for both sides, documents only, and queries only encoded by it.

    Args:
        encoders: Dense models with a head by runtime. The first one is the reference: it encodes the other side, and
            all use its corpus statistics.
        folder: Folder of a set with judgements.
        report: Called with the current task and its completed fraction.
    """
    documents = [record for record in read_corpus(folder) if isinstance(record, Document)]
    texts, ids = [document.content for document in documents], [document.doc_id for document in documents]
    judged = load_queries(folder)
    questions = [query.text for query in judged.queries]
    reference = next(iter(encoders))
    embedded = {
        name: encoder.embed(texts, progress=partial(report, f"{folder.name} by {name}"))
        for name, encoder in encoders.items()
    }
    calibrated = encoders[reference].with_statistics(encoders[reference].measure_statistics(texts, embedded[reference]))
    vectors = {name: calibrated.sparsify_embeddings(each, texts) for name, each in embedded.items()}
    queries = {
        name: calibrated.sparsify_embeddings(encoder.embed(questions, task="query"), questions, task="query")
        for name, encoder in encoders.items()
    }

    def ndcg(of_documents: str, of_queries: str) -> float:
        hits = exact_sparse_search(vectors[of_documents], queries[of_queries], ids, calibrated.num_latents, 10)
        run = {query.query_id: found for query, found in zip(judged.queries, hits, strict=True)}
        return evaluate_run(run, judged.qrels)["ndcg@10"]

    return {
        name: {
            "ndcg@10": ndcg(name, name),
            "ndcg@10_documents": ndcg(name, reference),
            "ndcg@10_queries": ndcg(reference, name),
        }
        for name in encoders
    }
