"""What an index holds, as one hash: the judge of every fault test.

Features are excluded from `_source`, but each can be read back to the last bit: a `rank_feature` clause with `linear`
scores a document by the weight that is stored for it. A query with a named clause for each feature that the encoder
has, answered with the score of each name, gives all postings of every document.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from opensearchpy import OpenSearch

from connector.index.point_in_time import point_in_time
from connector.query.body import FEATURES_FIELD, PRESENCE_FEATURE
from connector.types import SparseDocument
from connector.vectors.storage import round_to_stored

_PAGE = 2_000


@dataclass(frozen=True)
class Contents:
    """What an index holds.

    Attributes:
        documents: How many, one that is held twice counted twice.
        distinct: How many ids.
        digest: SHA-256 over all ids, sources, features and weights.
    """

    documents: int
    distinct: int
    digest: str


def read_contents(client: OpenSearch, index: str, num_latents: int, *, preference: str = "_primary") -> Contents:
    """Read a whole index, features included.

    Args:
        client: A ready client.
        index: Its name.
        num_latents: Of the encoder: features are numbers below it.
        preference: Which copies of the shards are read: `_primary` or `_replica`.
    """
    client.indices.refresh(index=index)
    clauses = [
        {"rank_feature": {"field": f"{FEATURES_FIELD}.{name}", "linear": {}, "_name": name}}
        for name in (PRESENCE_FEATURE, *map(str, range(num_latents)))
    ]
    # Documents without any feature are to be found as well.
    query = {"bool": {"must": {"match_all": {}}, "should": clauses}}
    hits = _all_hits(client, index, query, preference=preference)
    return _contents((hit["_id"], hit["_source"], _stored(hit.get("matched_queries", {}))) for hit in hits)


def contents_of(documents: Iterable[SparseDocument]) -> Contents:
    """What an index should hold that got these documents, with weights as it stores them."""
    return _contents(
        (each.doc_id, each.source, _rounded(each.features) | {PRESENCE_FEATURE: 1.0}) for each in documents
    )


def _all_hits(client: OpenSearch, index: str, query: dict[str, Any], *, preference: str) -> Iterator[dict[str, Any]]:
    # A scroll gives no scores of named clauses from its second page on.
    client.indices.put_settings(index=index, body={"index.max_result_window": 1_000_000})
    place, total = 0, 1
    # A merge between two pages would change the order of the documents.
    with point_in_time(client, index, {"keep_alive": "10m", "preference": preference}) as pit:
        body = {"query": query, "sort": ["_doc"], "size": _PAGE, "track_total_hits": True, "pit": {"id": pit}}
        while place < total:
            params = {"include_named_queries_score": "true"}
            found = client.search(body=body | {"from": place}, params=params)["hits"]
            yield from found["hits"]
            place, total = place + _PAGE, found["total"]["value"]


def _stored(scores: Mapping[str, float]) -> dict[str, float]:
    # JSON holds the shortest decimals that tell a float apart.
    return {name: float(np.float32(score)) for name, score in scores.items()}


def _rounded(features: Mapping[str, float]) -> dict[str, float]:
    weights = round_to_stored(np.array(list(features.values()), np.float32))
    return dict(zip(features, weights.tolist(), strict=True))


def _contents(documents: Iterable[tuple[str, Mapping[str, Any], Mapping[str, float]]]) -> Contents:
    listed = sorted((doc_id, json.dumps([source, features], sort_keys=True)) for doc_id, source, features in documents)
    digest = hashlib.sha256(json.dumps(listed).encode()).hexdigest()
    return Contents(len(listed), len({doc_id for doc_id, _ in listed}), digest)
