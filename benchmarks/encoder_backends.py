"""Compare an encoder's backends in turns: documents per second, query latency, agreement of their vectors."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from opensearchpy import OpenSearch
from scipy.sparse import csr_matrix

from benchmarks.encoding import QueryEncoding
from benchmarks.measure import measure, timed
from benchmarks.results import Rows
from connector.encoders.load import load_encoder
from connector.encoders.text import TextEncoder
from connector.errors import EncoderError
from connector.types import SparseVectors


def load_runtimes(name: str, runtimes: Sequence[str]) -> dict[str, TextEncoder]:
    """Load an encoder with each runtime; a precision other than float32 only if it has a head.

    Args:
        name: Name of the encoder.
        runtimes: Backends, with a precision other than float32 after ` in `: `openvino in int8`.

    Raises:
        EncoderError: OpenVINO does not run this encoder.
    """
    encoders: dict[str, TextEncoder] = {}
    for runtime in runtimes:
        backend, _, precision = runtime.partition(" in ")
        if precision and next(iter(encoders.values())).head is None:
            continue
        encoder = load_encoder(name, device="cpu", backend=backend, precision=precision or "float32")
        # Convert the model before timing.
        if encoder.runtime != runtime:
            raise EncoderError(f"OpenVINO does not run {name}; the log says why.")
        encoders[runtime] = encoder
    return encoders


def compare_encoders(
    name: str,
    encoders: Mapping[str, TextEncoder],
    texts: Sequence[str],
    queries: Sequence[str],
    *,
    rounds: int,
    report: Callable[[str, float], None],
) -> Rows:
    """Encode documents, and queries one by one, with each backend in turns.

    Args:
        name: Name of the encoder.
        encoders: The encoder with each backend; the first is the reference.
        texts: Texts of documents.
        queries: Query texts.
        rounds: Timed rounds of both, after a warm-up.
        report: Called with the current task and its completed fraction.
    """
    vectors: dict[str, SparseVectors] = {}

    def encode(backend: str) -> None:
        vectors[backend] = encoders[backend].encode_document(texts)

    medians = seconds_in_turns(
        {backend: partial(encode, backend) for backend in encoders},
        rounds,
        progress=lambda share: report(f"{name}: documents", share),
    )
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
        row["documents_per_s"] = len(texts) / medians[backend]
        row |= timed(latency, measured[0]) | _agreement(encoder, vectors[backend], vectors[reference])
        if encoder.head is not None and backend != reference:
            cosines = (encoder.embed(texts) * encoders[reference].embed(texts)).sum(axis=1)
            row |= {"dense_cosine": float(cosines.mean()), "least_dense_cosine": float(cosines.min())}
        rows.append(row)
    return rows


def seconds_in_turns(
    tasks: Mapping[str, Callable[[], object]], rounds: int, *, progress: Callable[[float], None]
) -> dict[str, float]:
    """Return the median seconds of each task.

    Args:
        tasks: The timed functions by name.
        rounds: Timed turns of each task, after a warm-up.
        progress: Called with the completed fraction after each turn.
    """
    taken: dict[str, list[float]] = {name: [] for name in tasks}
    turns = [(turn, name) for turn in range(rounds + 1) for name in tasks]
    for done, (turn, name) in enumerate(turns, start=1):
        started = time.perf_counter()
        tasks[name]()
        elapsed = time.perf_counter() - started
        if turn:
            taken[name].append(elapsed)
        progress(done / len(turns))
    return {name: statistics.median(seconds) for name, seconds in taken.items()}


def equal_features(found: SparseVectors, expected: SparseVectors) -> float:
    """Return the fraction of the expected features that were found, mean over texts."""
    pairs = zip(found.as_mappings(), expected.as_mappings(), strict=True)
    return float(np.mean([len(one.keys() & other.keys()) / max(1, len(other)) for one, other in pairs]))


def _agreement(encoder: TextEncoder, found: SparseVectors, expected: SparseVectors) -> dict[str, float]:
    """Mean and minimum cosine of two sets of sparse vectors of the same texts, and the fraction of equal features."""
    one, other = (_matrix(vectors, encoder.num_latents) for vectors in (found, expected))
    lengths = [np.sqrt(np.asarray(each.multiply(each).sum(axis=1)).ravel()) for each in (one, other)]
    cosines = np.asarray(one.multiply(other).sum(axis=1)).ravel() / (lengths[0] * lengths[1])
    return {
        "cosine": float(cosines.mean()),
        "least_cosine": float(cosines.min()),
        "equal_features": equal_features(found, expected),
    }


def _matrix(vectors: SparseVectors, width: int) -> csr_matrix:
    rows = np.repeat(np.arange(len(vectors.weights)), vectors.weights.shape[1])
    return csr_matrix(
        (vectors.weights.ravel().astype(np.float64), (rows, vectors.features.ravel())),
        shape=(len(vectors.weights), width),
    )
