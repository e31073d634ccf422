"""The neural-search plugin's query on the same `rank_features` field, with or without its two-phase processor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from opensearchpy import OpenSearch

from benchmarks.datasets import EncodedSet
from benchmarks.systems.base import Encoding, Probe, Request, send, to_hits
from benchmarks.systems.rank_features import RankFeatures
from connector.query.body import FEATURES_FIELD
from connector.types import Hit
from connector.vectors.top_k import prune


@dataclass(frozen=True, slots=True)
class NeuralSparse:
    """Searches the index of `RankFeatures` with `neural_sparse`.

    Attributes:
        storage: System whose index it searches.
        two_phase: Search strong tokens first and the others in a rescoring window, with the processor's defaults.
    """

    storage: RankFeatures
    two_phase: bool = False

    @property
    def name(self) -> str:
        """Name in tables."""
        return "neural_sparse, two phases" if self.two_phase else "neural_sparse"

    @property
    def index(self) -> str:
        """As in `storage`."""
        return self.storage.index

    @property
    def knob(self) -> str:
        """Setting that trades quality for latency."""
        return f"k_query={self.storage.k_query}"

    @property
    def encoding(self) -> Encoding | None:
        """As in `storage`."""
        return self.storage.encoding

    def configure(self, client: OpenSearch) -> None:
        """As in `storage`."""
        self.storage.configure(client)

    def upload(self, client: OpenSearch, data: EncodedSet) -> None:
        """As in `storage`."""
        self.storage.upload(client, data)

    def prepare(self, data: EncodedSet) -> list[Request]:
        """Build one query each, with its pipeline."""
        requests: list[Request] = []
        for features in prune(data.query_vectors, self.storage.k_query).as_mappings():
            boost = 2.0**-self.storage.weight_exponent
            query = {"neural_sparse": {FEATURES_FIELD: {"query_tokens": features, "boost": boost}}}
            request: Request = {"size": self.storage.top_k, "query": query}
            if self.two_phase:
                request["search_pipeline"] = {
                    "request_processors": [{"neural_sparse_two_phase_processor": {"enabled": True}}]
                }
            requests.append(request)
        return requests

    def probes(self, data: EncodedSet, rows: Sequence[int]) -> list[Probe]:
        """As in `storage`."""
        return self.storage.probes(data, rows)

    def search(self, client: OpenSearch, request: Request) -> list[Hit]:
        """Answer one request."""
        return to_hits(send(client, self.index, request))
