"""Maximal marginal relevance: hits that are relevant but differ from each other (Carbonell and Goldstein 1998)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from opensearchpy import OpenSearch

from connector.encoders.text import TextEncoder
from connector.index.schema import IndexSchema
from connector.limits import MAX_HITS
from connector.query.rescore import CODE_FIELD, code_of
from connector.search.retriever import Retriever
from connector.types import Hit, SparseVectors, content_of

Codes = Mapping[tuple[str, str, str | None], NDArray[np.uint8]]
"""Code by `Hit.place`."""


def diversify(
    client: OpenSearch, retriever: Retriever, query: str, hits: Sequence[Hit], *, top_k: int, relevance: float
) -> list[Hit]:
    """Select hits greedily: each is similar to the query and dissimilar to those selected before.

    Documents are compared by the codes stored in the index; documents without a code are encoded again.

    Args:
        client: Used to read the codes.
        retriever: The retriever that found the hits.
        query: The query that found them.
        hits: The candidates, with title and text.
        top_k: Number of hits to return.
        relevance: Weight of similarity to the query, 0 to 1; the remainder weighs diversity.

    Returns:
        The selected hits in the order of selection, with their original scores.

    Raises:
        ValueError: `top_k` is below 1, or `relevance` is not between 0 and 1.
        opensearchpy.TransportError: The server rejected the request.
    """
    if top_k < 1:
        raise ValueError(f"the number of hits must be at least 1, got {top_k}.")
    if not 0 <= relevance <= 1:
        raise ValueError(f"the weight of relevance must be 0 to 1, got {relevance}.")
    encoder = retriever.encoder
    if encoder.head is None:
        found, documents = _sparse(encoder, query, hits)
    else:
        codes = _read_codes(client, retriever.schema, hits) if encoder.code is not None else {}
        found, documents = encoder.embed([query], task="query")[0], _dense(encoder, hits, codes)
    return [hits[row] for row in choose(found, documents, count=top_k, relevance=relevance)]


def choose(query: NDArray[np.float32], documents: NDArray[np.float32], *, count: int, relevance: float) -> list[int]:
    """Select rows by maximal marginal relevance with cosine similarity.

    Args:
        query: (dim,).
        documents: (n, dim).
        count: Number of rows to select.
        relevance: As for `diversify`.
    """
    units = _units(documents)
    near = units @ _units(query[None])[0]
    nearest_chosen = np.full(len(units), -np.inf, dtype=np.float32)
    chosen: list[int] = []
    for _ in range(min(count, len(units))):
        scores = relevance * near - (1 - relevance) * nearest_chosen if chosen else near.copy()
        scores[chosen] = -np.inf
        best = int(np.argmax(scores))
        chosen.append(best)
        nearest_chosen = np.maximum(nearest_chosen, units @ units[best])
    return chosen


def _units(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0), dtype=np.float32)


def _content(hit: Hit) -> str:
    return content_of(hit.source)


def _dense(encoder: TextEncoder, hits: Sequence[Hit], codes: Codes) -> NDArray[np.float32]:
    """Embeddings of hits: decoded from their codes, or else encoded from their texts."""
    missing = [row for row, hit in enumerate(hits) if hit.place not in codes]
    coded = [row for row, hit in enumerate(hits) if hit.place in codes]
    embeddings: dict[int, NDArray[np.float32]] = {}
    if missing:
        embeddings |= zip(missing, encoder.embed([_content(hits[row]) for row in missing]), strict=True)
    if coded and encoder.code is not None:
        packed = np.stack([codes[hits[row].place] for row in coded])
        embeddings |= zip(coded, encoder.code.decode(packed), strict=True)
    return np.stack([embeddings[row] for row in range(len(hits))])


def _sparse(encoder: TextEncoder, query: str, hits: Sequence[Hit]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Feature vectors of a query and of hits, for encoders without embeddings."""
    asked, found = encoder.encode_query([query]), encoder.encode_document([_content(hit) for hit in hits])
    names = np.unique(np.concatenate([asked.features.ravel(), found.features.ravel()]))
    return _spread(asked, names)[0], _spread(found, names)


def _spread(vectors: SparseVectors, names: NDArray[np.int32]) -> NDArray[np.float32]:
    rows = np.zeros((len(vectors.weights), len(names)), dtype=np.float32)
    # Unused slots have weight 0, whatever feature they name.
    np.maximum.at(rows, (np.arange(len(rows))[:, None], np.searchsorted(names, vectors.features)), vectors.weights)
    return rows


def _read_codes(client: OpenSearch, schema: IndexSchema, hits: Sequence[Hit]) -> Codes:
    body: dict[str, Any] = {
        "query": {"ids": {"values": [hit.doc_id for hit in hits]}},
        "docvalue_fields": [CODE_FIELD],
        "_source": False,
        "size": min(len(hits) * len(schema.names), MAX_HITS),
    }
    found = client.search(index=schema.index, body=body)["hits"]["hits"]
    codes = {(hit["_index"], hit["_id"], hit.get("_routing")): code_of(hit) for hit in found}
    return {place: code for place, code in codes.items() if code is not None}
