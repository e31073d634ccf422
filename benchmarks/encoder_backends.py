"""Encoders by each backend, in turns: documents per second, latency of a query, and how well their vectors agree."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from opensearchpy import OpenSearch
from scipy.sparse import csr_matrix

from benchmarks.encoding import QueryEncoding
from benchmarks.measure import measure, timed
from benchmarks.results import Rows
from connector.encoders.text import TextEncoder
from connector.types import SparseVectors


def compare_encoders(
    name: str,
    encoders: Mapping[str, TextEncoder],
    texts: Sequence[str],
    queries: Sequence[str],
    *,
    rounds: int,
    report: Callable[[str, float], None],
) -> Rows:
    """Encode documents, and queries one by one, by each backend in turns.

    Args:
        name: Of the encoder.
        encoders: By backend; the first one is the reference.
        texts: Of documents.
        queries: Texts.
        rounds: Of both; one more warms up.
        report: Called with the current task and its completed share.
    """
    taken: dict[str, list[float]] = {backend: [] for backend in encoders}
    vectors: dict[str, SparseVectors] = {}
    for turn in range(rounds + 1):
        for place, (backend, encoder) in enumerate(encoders.items()):
            report(f"{name}: documents", (turn * len(encoders) + place) / ((rounds + 1) * len(encoders)))
            started = time.perf_counter()
            vectors[backend] = encoder.encode_document(texts)
            if turn:
                taken[backend].append(time.perf_counter() - started)
    report(f"{name}: documents", 1.0)
    kinds = [
        QueryEncoding("features", lambda text, encoder=encoder: encoder.encode_query([text], batch_size=1))  # type: ignore[misc]
        for encoder in encoders.values()
    ]
    asked = [[{"text": query} for query in queries] for _ in kinds]
    measured = measure(
        OpenSearch(), kinds, asked, rounds=rounds, progress=lambda share: report(f"{name}: queries", share)
    )
    reference = next(iter(encoders))
    rows: Rows = []
    for (backend, encoder), latency in zip(encoders.items(), measured, strict=True):
        row: dict[str, Any] = {"way": name, "backend": backend, "documents": len(texts), "queries": len(queries)}
        row["documents_per_s"] = len(texts) / statistics.median(taken[backend])
        row |= timed(latency, measured[0]) | _agreement(encoder, vectors[backend], vectors[reference])
        if encoder.head is not None and backend != reference:
            cosines = (encoder.embed(texts) * encoders[reference].embed(texts)).sum(axis=1)
            row |= {"dense_cosine": float(cosines.mean()), "least_dense_cosine": float(cosines.min())}
        rows.append(row)
    return rows


def _agreement(encoder: TextEncoder, found: SparseVectors, expected: SparseVectors) -> dict[str, float]:
    """Of the sparse vectors of the same texts: mean and least cosine, and the share of equal features."""
    one, other = (_matrix(vectors, encoder.num_latents) for vectors in (found, expected))
    lengths = [np.sqrt(np.asarray(each.multiply(each).sum(axis=1)).ravel()) for each in (one, other)]
    cosines = np.asarray(one.multiply(other).sum(axis=1)).ravel() / (lengths[0] * lengths[1])
    pairs = zip(found.as_mappings(), expected.as_mappings(), strict=True)
    return {
        "cosine": float(cosines.mean()),
        "least_cosine": float(cosines.min()),
        "equal_features": float(np.mean([len(mine.keys() & theirs.keys()) / len(theirs) for mine, theirs in pairs])),
    }


def _matrix(vectors: SparseVectors, width: int) -> csr_matrix:
    rows = np.repeat(np.arange(len(vectors.weights)), vectors.weights.shape[1])
    return csr_matrix(
        (vectors.weights.ravel().astype(np.float64), (rows, vectors.features.ravel())),
        shape=(len(vectors.weights), width),
    )
