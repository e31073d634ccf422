"""The neural-search plugin's query on the same `rank_features` field, with or without its two-phase processor."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.datasets import EncodedSet
from benchmarks.systems.base import Request
from benchmarks.systems.passed_on import PassedOn
from benchmarks.systems.rank_features import RankFeatures
from connector.query.body import FEATURES_FIELD
from connector.vectors.top_k import prune


@dataclass(frozen=True, slots=True)
class NeuralSparse(PassedOn[RankFeatures]):
    """Searches the index of `RankFeatures` with `neural_sparse`.

    Attributes:
        system: System whose index it searches.
        two_phase: Search strong tokens first and the others in a rescoring window, with the processor's defaults.
    """

    two_phase: bool = False

    @property
    def name(self) -> str:
        """Name in tables."""
        return "neural_sparse, two phases" if self.two_phase else "neural_sparse"

    @property
    def knob(self) -> str:
        """Setting that trades quality for latency."""
        return f"k_query={self.system.k_query}"

    def prepare(self, data: EncodedSet) -> list[Request]:
        """Build one query each, with its pipeline."""
        requests: list[Request] = []
        for features in prune(data.query_vectors, self.system.k_query).as_mappings():
            boost = 2.0**-self.system.weight_exponent
            query = {"neural_sparse": {FEATURES_FIELD: {"query_tokens": features, "boost": boost}}}
            request: Request = {"size": self.system.top_k, "query": query}
            if self.two_phase:
                request["search_pipeline"] = {
                    "request_processors": [{"neural_sparse_two_phase_processor": {"enabled": True}}]
                }
            requests.append(request)
        return requests
