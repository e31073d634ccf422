"""Predict the size, time and failures of an ingestion by indexing a sample."""

from __future__ import annotations

import math
import random
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from opensearchpy import OpenSearch

from connector.connection.client import explained
from connector.encoders.text import TextEncoder
from connector.index.drop import drop_index
from connector.index.new_index import DEFAULT_INDEX, NewIndex
from connector.index.outcome import Refusal
from connector.index.sizes import file_bytes, merge_index
from connector.index.writer import BulkWriter
from connector.ingest.dead_letters import REASONS_KEPT
from connector.ingest.own_dictionary import OwnDictionary
from connector.ingest.pipeline import typical_write_size
from connector.ingest.preparation import to_sparse_documents
from connector.ingest.prepare import prepare_encoder
from connector.types import Document, MalformedRecord

_DICTIONARY = ("tim", "tip")


@dataclass(frozen=True, slots=True)
class Prediction:
    """The predicted outcome of a run.

    Attributes:
        documents: Number of documents to send.
        malformed: Number of malformed records in the whole input.
        sampled: Number of documents that were encoded and indexed.
        refused: Number of these that the index refused.
        index_bytes: Predicted size of the merged primary shards.
        requests: Number of bulk requests.
        seconds: Encoding time at the speed of the sample.
        reasons: The first few failures.
    """

    documents: int
    malformed: int
    sampled: int
    refused: int
    index_bytes: int
    requests: int
    seconds: float
    reasons: tuple[str, ...]


def predict(
    client: OpenSearch,
    encoder: TextEncoder,
    records: Iterable[Document | MalformedRecord],
    *,
    new: NewIndex = DEFAULT_INDEX,
    chunk_size: int = 1_000,
    batch_size: int = 32,
    sample_size: int = 2_000,
    progress: Callable[[int], None] | None = None,
) -> Prediction:
    """Read all records, index a random sample and extrapolate.

    The temporary index is deleted afterwards; no other index is changed.

    Args:
        client: A connected client.
        encoder: Encoder of the documents.
        records: The complete input.
        new: Properties of the index, of which the temporary one has all but the numbers of shards and replicas; a
            dictionary is built if set.
        chunk_size: Documents per request.
        batch_size: Texts per forward pass.
        sample_size: Maximum size of the sample.
        progress: Called with the number of records read.

    Raises:
        ClusterError: The server is unreachable, or denies creating an index.
    """
    sample, counted, malformed, reasons = _draw(records, sample_size, progress)
    name = f"ksparse-dry-run-{uuid.uuid4().hex[:12]}"
    texts = [document.content for document in sample]
    refused: list[Refusal] = []
    sizes: list[dict[str, int]] = []
    counts: list[int] = []
    encoding_s = 0.0
    own = OwnDictionary(texts, documents=len(texts)) if new.dictionary else None
    try:
        encoder = prepare_encoder(
            client,
            name,
            encoder,
            sample=texts,
            dictionary=own,
            new=replace(new, settings={**new.settings, "number_of_shards": 1, "number_of_replicas": 0}),
        )
        writer = BulkWriter(client, name, chunk_size=chunk_size)
        middle = len(sample) // 2
        for part in (sample[:middle], sample[middle:]):
            started = time.perf_counter()
            vectors = encoder.encode_document([document.content for document in part], batch_size=batch_size)
            encoding_s += time.perf_counter() - started
            refused += writer.write(to_sparse_documents(part, vectors)).refused
            with explained(client):
                merge_index(client, name)
                sizes.append(file_bytes(client, name))
            counts.append(len(part))
    finally:
        drop_index(client, name)
    reasons += [f"document {each.document.doc_id!r}: {each.reason}" for each in refused]
    return Prediction(
        documents=counted,
        malformed=malformed,
        sampled=len(sample),
        refused=len(refused),
        index_bytes=_extrapolate(sizes, (counts[0], len(sample)), counted),
        requests=math.ceil(counted / min(chunk_size, typical_write_size(sum(map(len, texts)) / max(1, len(texts))))),
        seconds=encoding_s / max(1, len(sample)) * counted,
        reasons=tuple(reasons[:REASONS_KEPT]),
    )


def _draw(
    records: Iterable[Document | MalformedRecord], sample_size: int, progress: Callable[[int], None] | None
) -> tuple[list[Document], int, int, list[str]]:
    """Draw a uniform sample (reservoir sampling) and count documents and malformed records."""
    chosen: list[Document] = []
    counted = malformed = 0
    reasons: list[str] = []
    draw = random.Random(0)  # noqa: S311 - a sample, not a secret
    for number, record in enumerate(records, 1):
        if isinstance(record, MalformedRecord):
            malformed += 1
            if len(reasons) < REASONS_KEPT:
                reasons.append(f"{record.location}: {record.reason}")
        else:
            counted += 1
            if len(chosen) < sample_size:
                chosen.append(record)
            elif (place := draw.randrange(counted)) < sample_size:
                chosen[place] = record
        if progress is not None:
            progress(number)
    draw.shuffle(chosen)
    return chosen, counted, malformed, reasons


def _extrapolate(sizes: list[dict[str, int]], counts: tuple[int, int], documents: int) -> int:
    """Extrapolate the bytes of an index from those of half of the sample and of the whole sample.

    The term dictionary grows by a power of the number of documents (Heaps' law), other files linearly as in the second
    half.
    """
    half, whole = counts
    if not whole:
        return 0
    total = 0.0
    for kind, size in sizes[1].items():
        before = sizes[0].get(kind, 0)
        if not before or whole == half:
            total += size * documents / whole
        elif kind in _DICTIONARY:
            power = math.log(size / before) / math.log(whole / half)
            total += size * (documents / whole) ** min(1.0, power)
        else:
            total += size + max(0, size - before) / (whole - half) * (documents - whole)
    return round(total)
