"""Time encoding, dictionaries and training on one device, compared with sentence-transformers; needs no server."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer

from benchmarks.encoder_backends import equal_features, seconds_in_turns
from benchmarks.growth import with_noise
from benchmarks.progress import Report
from connector.encoders.load import load_encoder
from connector.encoders.precision import Precision
from connector.encoders.text import TextEncoder
from connector.ingest.own_dictionary import KnownEmbeddings, dictionary_encoder
from connector.ingest.sample import MAX_SAMPLED
from connector.training.dictionary.build import cells_for
from connector.training.dictionary.settings import MIN_DOCUMENTS
from connector.training.heads.fit import fit_head
from connector.types import SparseVectors
from connector.vectors.codes import Bits

Row = dict[str, Any]

_CODE_BITS: Bits = 4
_BLOCK = 65_536
"""Documents encoded in one call."""

_THEIR_BATCHES = (32, 256, 1_024)
"""Batch sizes of sentence-transformers: its default, and two for GPUs."""

_COMPARED = 2_000
"""Texts whose vectors in half precision are compared with those in float32."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """Amounts of work.

    Attributes:
        documents: Maximum number of documents encoded end to end.
        texts: Maximum number of texts encoded in each turn.
        cells: Cells of the large dictionary.
        training_s: Seconds of training, including embedding.
        rounds: Turns of each encoder.
    """

    documents: int
    texts: int
    cells: int
    training_s: float
    rounds: int


ON_GPU = Sizes(documents=1_000_000, texts=50_000, cells=1_048_576, training_s=120, rounds=3)
ON_CPU = Sizes(documents=2_000, texts=200, cells=4_096, training_s=10, rounds=2)


def end_to_end(
    encoder: TextEncoder, texts: Sequence[str], report: Report
) -> tuple[TextEncoder, NDArray[np.float32], Row]:
    """Turn a corpus into features and codes as `ksparse ingest` does for a new index, including its dictionary.

    Returns:
        The encoder with the dictionary, the embeddings it was built from, and the times.
    """
    seconds: dict[str, float] = {}
    coarse, fine = cells_for(len(texts))
    sample = texts[: max(coarse * fine, min(len(texts), MAX_SAMPLED))]
    encoder.embed(sample[:256])  # so that start-up costs are in no phase
    _reset_peak(encoder.device)
    with _timed(seconds, "embed_s"):
        embeddings = encoder.embed(sample, progress=lambda share: report("embedding the sample", share))
    with _timed(seconds, "build_s"):
        own = dictionary_encoder(
            encoder,
            sample,
            embeddings,
            documents=len(texts),
            progress=lambda share: report("building the dictionary", share),
        )
        own = own.with_code(own.make_code(_CODE_BITS))
    with _timed(seconds, "encode_s"):
        known = KnownEmbeddings(own, sample, embeddings)
        for start in range(0, len(texts), _BLOCK):
            known.encode_document(texts[start : start + _BLOCK])
            report("encoding all documents", min(1.0, (start + _BLOCK) / len(texts)))
    total = sum(seconds.values())
    row = {
        "part": "end to end",
        "documents": len(texts),
        "cells": coarse * fine,
        "sample": len(sample),
        **seconds,
        "total_s": total,
        "documents_per_s": len(texts) / total,
        "peak_bytes": _peak(encoder.device),
    }
    return own, embeddings, row


def large_dictionary(
    encoder: TextEncoder, texts: Sequence[str], embeddings: NDArray[np.float32], cells: int, report: Report
) -> tuple[TextEncoder, Row]:
    """Build a dictionary of any size; missing embeddings are copies of real ones with noise.

    Returns:
        The encoder with the dictionary, and the time.
    """
    documents = _documents_for(cells)
    coarse, fine = cells_for(documents)
    enlarged = _enlarged(embeddings, coarse * fine)
    seconds: dict[str, float] = {}
    with _timed(seconds, "build_s"):
        large = dictionary_encoder(
            encoder,
            texts[: len(embeddings)],
            enlarged,
            documents=documents,
            progress=lambda share: report("building the large dictionary", share),
        )
        large = large.with_code(large.make_code(_CODE_BITS))
    row = {
        "part": "dictionary",
        "cells": coarse * fine,
        "embeddings": len(enlarged),
        "real": len(embeddings),
        **seconds,
    }
    return large, row


def encoding(
    dictionaries: Sequence[TextEncoder], texts: Sequence[str], precision: Precision, rounds: int, report: Report
) -> list[Row]:
    """Measure documents per second with each dictionary and of sentence-transformers, in turns and equal precision.

    Sentence-transformers only computes embeddings. Its fastest batch size is the reference.
    """
    device = dictionaries[0].device
    exact = [_compared(_in_precision(encoder, "float32"), texts) for encoder in dictionaries]
    ours = [_in_precision(encoder, precision) for encoder in dictionaries]
    theirs = _their_model(dictionaries[0], precision)
    prompt = theirs.prompts.get("document") or None
    tasks: dict[str, Callable[[], object]] = {}
    facts: dict[str, Row] = {}
    for encoder, compared in zip(ours, exact, strict=True):
        assert encoder.head is not None
        name = f"ksparse, {encoder.head.num_latents:,} cells"
        tasks[name] = lambda encoder=encoder: encoder.encode_document(texts)  # type: ignore[misc]
        facts[name] = {"cells": encoder.head.num_latents, **_agreement(_compared(encoder, texts), compared)}
    for size in _THEIR_BATCHES:
        name = f"sentence-transformers, batches of {size:,}"
        tasks[name] = partial(theirs.encode, texts, prompt=prompt, batch_size=size, show_progress_bar=False)
        facts[name] = {"batch_size": size}
    peaks: dict[str, int | None] = {}

    def with_peak(name: str, encode: Callable[[], object]) -> None:
        _reset_peak(device)
        encode()
        peaks[name] = _peak(device)

    medians = seconds_in_turns(
        {name: partial(with_peak, name, encode) for name, encode in tasks.items()},
        rounds,
        progress=lambda share: report(f"encoding in {precision}", share),
    )
    speeds = {name: len(texts) / seconds for name, seconds in medians.items()}
    reference = max(speed for name, speed in speeds.items() if "batch_size" in facts[name])
    return [
        {
            "part": "encoding",
            "way": name,
            "precision": precision,
            "documents": len(texts),
            "documents_per_s": speed,
            "ratio": speed / reference,
            "peak_bytes": peaks[name],
            **facts[name],
        }
        for name, speed in speeds.items()
    ]


def training(encoder: TextEncoder, texts: Sequence[str], seconds: float, report: Report) -> Row:
    """Train a head with as many latents as the shipped one, within a time that includes embedding."""
    assert encoder.head is not None
    _reset_peak(encoder.device)
    fitted = fit_head(
        encoder, texts, num_latents=encoder.head.num_latents, seconds=seconds, progress=lambda *done: report(*done)
    )
    trained = fitted.trained
    return {
        "part": "training",
        "latents": encoder.head.num_latents,
        "documents": fitted.documents,
        "queries": fitted.queries,
        "steps": trained.steps,
        "training_s": trained.elapsed_s,
        "batch_size": fitted.settings.batch_size,
        "peak_bytes": _peak(encoder.device),
    }


def run_all(
    encoder_name: str,
    texts: Sequence[str],
    sizes: Sizes,
    *,
    device: str,
    precisions: Sequence[Precision],
    report: Report,
) -> Iterator[list[Row]]:
    """Yield the rows of each part of the suite.

    Args:
        encoder_name: A dense model with a K-sparse head.
        texts: Documents of one corpus, at least 1,000.
        sizes: Amounts of work.
        device: The device.
        precisions: Precisions of the dense model; the first is used for dictionaries and training.
        report: Called with the current task and its completed fraction.
    """
    encoder = load_encoder(encoder_name, device=device, backend="torch", precision=precisions[0])
    some = texts[: sizes.documents]
    own, embeddings, row = end_to_end(encoder, some, report)
    yield [row]
    large, row = large_dictionary(encoder, some, embeddings, sizes.cells, report)
    yield [row]
    for precision in precisions:
        yield encoding((own, large), some[: sizes.texts], precision, sizes.rounds, report)
    yield [training(encoder, some, sizes.training_s, report)]


@contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - started


def _documents_for(cells: int) -> int:
    """Return the number of documents whose dictionary has about this number of cells."""
    counts = [max(MIN_DOCUMENTS, 5 * cells // 3), max(MIN_DOCUMENTS, 4 * cells)]
    return min(counts, key=lambda documents: abs(math.prod(cells_for(documents)) - cells))


def _enlarged(embeddings: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    missing = max(0, count - len(embeddings))
    random = np.random.default_rng(0)
    noise = random.standard_normal((missing, embeddings.shape[1]), dtype=np.float32)
    return np.concatenate([embeddings, with_noise(embeddings[random.integers(len(embeddings), size=missing)], noise)])


def _in_precision(encoder: TextEncoder, precision: Precision) -> TextEncoder:
    assert encoder.head is not None
    made = TextEncoder(encoder.model, code=encoder.code, backend="torch", precision=precision)
    assert made.fingerprint.digest == encoder.fingerprint.digest
    return made


def _their_model(encoder: TextEncoder, precision: Precision) -> SentenceTransformer:
    return copy.deepcopy(encoder.dense_model()).to(getattr(torch, precision)).eval()


def _compared(encoder: TextEncoder, texts: Sequence[str]) -> tuple[NDArray[np.float32], SparseVectors]:
    return encoder.embed(texts[:_COMPARED]), encoder.encode_document(texts[:_COMPARED])


def _agreement(
    found: tuple[NDArray[np.float32], SparseVectors], exact: tuple[NDArray[np.float32], SparseVectors]
) -> Row:
    """Agreement of vectors with those in float32."""
    return {
        "cosine": float((found[0] * exact[0]).sum(axis=1).mean()),
        "equal_features": equal_features(found[1], exact[1]),
    }


def _reset_peak(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(torch.device(device))


def _peak(device: str) -> int | None:
    """Maximum bytes of GPU memory in use since `_reset_peak`."""
    return torch.cuda.max_memory_allocated(torch.device(device)) if device.startswith("cuda") else None
