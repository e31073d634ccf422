"""Whether the encoder of an index still finds what its codes say is nearest, without any query and any model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from opensearchpy import OpenSearch

from connector.connection.client import explained
from connector.encoders.dictionary import TwoLevelDictionary
from connector.errors import SearchError
from connector.index.sizes import count_matching
from connector.query.clauses import at_random
from connector.query.rescore import CODE_FIELD, build_rescore, build_scan, code_of
from connector.search.retriever import Retriever
from connector.types import Document

_TOP_K = 10


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """How an index does.

    Attributes:
        documents: That it holds.
        cells: Of its dictionary; None where its encoder is of another kind.
        sampled: Documents drawn at random, each in the place of a query.
        recall: Share found, by the index's default settings, of the 10 documents that a scan of all codes puts first.
    """

    documents: int
    cells: int | None
    sampled: int
    recall: float


def diagnose(client: OpenSearch, retriever: Retriever, *, sample: int = 50, seed: int = 0) -> Diagnosis:
    """Search with random documents, and compare what is found with a scan of all codes.

    Their embeddings are read from the codes, so that no model runs.

    Args:
        client: A ready client.
        retriever: Of an index with codes.
        sample: Documents to be drawn. A scan takes about a second for a million documents.
        seed: Of the draw.

    Raises:
        SearchError: The index has no codes, or no documents.
    """
    code, index, encoder = retriever.encoder.code, retriever.schema.index, retriever.encoder
    if code is None:
        raise SearchError(
            f"Index {index!r} has no codes to compare hits with; a copy of it with codes can be examined."
        )
    drawn = at_random({"exists": {"field": CODE_FIELD}}, seed=seed)
    body = {"size": sample, "query": drawn, "docvalue_fields": [CODE_FIELD], "_source": ["title", "text"]}
    with explained(client):
        hits = client.search(index=index, body=body)["hits"]["hits"]
    coded = [(packed, hit["_source"]) for hit in hits if (packed := code_of(hit)) is not None]
    if not coded:
        raise SearchError(f"Index {index!r} holds no document with a code.")
    embeddings = code.decode(np.stack([packed for packed, _ in coded]))
    texts = [Document("", source.get("text", ""), source.get("title", "")).content for _, source in coded]
    setting = retriever.defaults(_TOP_K)
    vectors = encoder.sparsify_embeddings(embeddings, texts, task="query", k=setting.k_query, candidates=True)
    shares = []
    for features, embedding in zip(vectors.as_mappings(), embeddings, strict=True):
        nearest = retriever.searcher.scan(build_scan(code, embedding), top_k=_TOP_K)
        found = retriever.searcher.search(
            features, top_k=_TOP_K, rescore=build_rescore(code, embedding, setting.window or 10 * _TOP_K)
        )
        shares.append(len({hit.id for hit in nearest} & {hit.id for hit in found}) / len(nearest))
    cells = encoder.head.num_latents if isinstance(encoder.head, TwoLevelDictionary) else None
    return Diagnosis(count_matching(client, index), cells, len(coded), float(np.mean(shares)))
