"""BM25 collects candidates, and learned features rescore them, in place of 2GTI."""

from __future__ import annotations

from dataclasses import dataclass

from opensearchpy import OpenSearch

from benchmarks.datasets import EncodedSet
from benchmarks.guided import build_guided_search
from benchmarks.systems.base import INDEX_SETTINGS, OneRequest, Request, without_source
from benchmarks.systems.passed_on import PassedOn
from benchmarks.systems.rank_features import RankFeatures, stored_features, write_features
from connector.index.meta import IndexMeta
from connector.index.new_index import NewIndex
from connector.index.schema import index_body
from connector.query.body import FEATURES_FIELD
from connector.vectors.top_k import prune

_TEXT_FIELD = "text"


@dataclass(frozen=True, slots=True)
class Guided(OneRequest, PassedOn[RankFeatures]):
    """Guided search on an index of words and features (`benchmarks.guided` describes the differences to 2GTI).

    Attributes:
        system: System with the features, depth and name; the index is separate.
        window: Number of BM25 candidates.
    """

    window: int

    @property
    def name(self) -> str:
        """Name in tables."""
        return f"{self.system.name}, guided"

    @property
    def index(self) -> str:
        """Name of the index, derived from that of `system`."""
        return f"{self.system.index}-text"

    @property
    def knob(self) -> str:
        """Setting that trades quality for latency."""
        return f"window={self.window}"

    def configure(self, client: OpenSearch) -> None:
        """Create an index of words and features without `_source`."""
        exponent = self.system.weight_exponent
        body = index_body(
            IndexMeta(self.system.fingerprint, weight_exponent=exponent), NewIndex(settings=INDEX_SETTINGS)
        )
        body["mappings"]["_source"] = without_source(FEATURES_FIELD, _TEXT_FIELD)
        client.indices.create(index=self.index, body=body)

    def upload(self, client: OpenSearch, data: EncodedSet) -> None:
        """Write title and text as one field, and the features."""
        stored = stored_features(self.system.vectors_of(data)[0], self.system.k_doc)
        sources = ({_TEXT_FIELD: document.content} for document in data.documents)
        write_features(client, self.index, data.doc_ids, stored, sources)

    def prepare(self, data: EncodedSet) -> list[Request]:
        """Build one body each."""
        queries = prune(self.system.vectors_of(data)[1], self.system.k_query).as_mappings()
        return [
            build_guided_search(
                query.text,
                features,
                top_k=self.system.top_k,
                window=max(self.window, self.system.top_k),
                source=False,
                weight_exponent=self.system.weight_exponent,
            )
            for query, features in zip(data.judged.queries, queries, strict=True)
        ]
