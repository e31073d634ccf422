"""Measure the recall of an index against a scan of its codes, without queries and without running a model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from opensearchpy import OpenSearch

from connector.connection.client import explained
from connector.errors import SearchError
from connector.index.sizes import count_matching
from connector.query.body import without_features
from connector.query.clauses import at_random
from connector.query.rescore import CODE_FIELD, build_rescore, build_scan, code_of
from connector.search.opened import cells_of
from connector.search.retriever import Retriever
from connector.types import content_of

_TOP_K = 10


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The condition of an index.

    Attributes:
        documents: Number of documents in the index.
        cells: Number of cells of its dictionary; None for other encoders.
        sampled: Number of randomly drawn documents that served as queries.
        recall: Fraction of the top 10 of a scan of all codes that the index's default settings find.
        without_features: Number of documents that searches do not find, because the server wrote them by itself.
    """

    documents: int
    cells: int | None
    sampled: int
    recall: float
    without_features: int


def diagnose(client: OpenSearch, retriever: Retriever, *, sample: int = 50, seed: int = 0) -> Diagnosis:
    """Search with random documents as queries and compare the hits with a scan of all codes.

    Their embeddings are decoded from the codes, so no model runs.

    Args:
        client: A connected client.
        retriever: Retriever of an index with codes.
        sample: Number of documents to draw. Each scan takes about a second per million documents.
        seed: Random seed of the sample.

    Raises:
        SearchError: The index has no codes, or no documents.
    """
    code, index, encoder = retriever.encoder.code, retriever.schema.index, retriever.encoder
    if code is None:
        raise SearchError(
            f"Index {index!r} stores no codes to compare hits with; re-encode it into an index with codes."
        )
    drawn = at_random({"exists": {"field": CODE_FIELD}}, seed=seed)
    body = {"size": sample, "query": drawn, "docvalue_fields": [CODE_FIELD], "_source": ["title", "text"]}
    with explained(client):
        hits = client.search(index=index, body=body)["hits"]["hits"]
    coded = [(packed, hit["_source"]) for hit in hits if (packed := code_of(hit)) is not None]
    if not coded:
        raise SearchError(f"Index {index!r} has no document with a code.")
    embeddings = code.decode(np.stack([packed for packed, _ in coded]))
    texts = [content_of(source) for _, source in coded]
    setting = retriever.defaults(_TOP_K)
    vectors = encoder.sparsify_embeddings(embeddings, texts, task="query", k=setting.k_query, candidates=True)
    shares = []
    pruned = retriever.opened.prune(vectors.as_mappings(), setting.pruning)
    for features, embedding in zip(pruned, embeddings, strict=True):
        nearest = retriever.opened.searcher.scan(build_scan(code, embedding), top_k=_TOP_K)
        found = retriever.opened.searcher.search(
            features, top_k=_TOP_K, rescore=build_rescore(code, embedding, setting.window or 10 * _TOP_K)
        )
        shares.append(len({hit.id for hit in nearest} & {hit.id for hit in found}) / len(nearest))
    documents, lost = count_matching(client, index), count_matching(client, index, [without_features()])
    return Diagnosis(documents, cells_of(encoder), len(coded), float(np.mean(shares)), lost)
