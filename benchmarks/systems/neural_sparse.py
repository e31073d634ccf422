"""The neural-search plugin's query on the same `rank_features` field, with its two-phase processor or without."""

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
    """The index of `RankFeatures`, asked by `neural_sparse`.

    Attributes:
        storage: Whose index it searches.
        two_phase: Let the processor search strong tokens first and the others in a window, at its defaults.
    """

    storage: RankFeatures
    two_phase: bool = False

    @property
    def name(self) -> str:
        """What it is called in tables."""
        return "neural_sparse, two phases" if self.two_phase else "neural_sparse"

    @property
    def index(self) -> str:
        """The index of `storage`."""
        return self.storage.index

    @property
    def knob(self) -> str:
        """The setting that trades quality for latency."""
        return f"k_query={self.storage.k_query}"

    @property
    def encoding(self) -> Encoding | None:
        """As `storage` has it."""
        return self.storage.encoding

    def configure(self, client: OpenSearch) -> None:
        """As `storage` does."""
        self.storage.configure(client)

    def upload(self, client: OpenSearch, data: EncodedSet) -> None:
        """As `storage` does."""
        self.storage.upload(client, data)

    def prepare(self, data: EncodedSet) -> list[Request]:
        """One query each, its pipeline with it."""
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
        """As `storage` has them."""
        return self.storage.probes(data, rows)

    def search(self, client: OpenSearch, request: Request) -> list[Hit]:
        """Answer one request."""
        return to_hits(send(client, self.index, request))
