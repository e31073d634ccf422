"""Queries weighed by how rare their features are in the corpus that is searched."""

from __future__ import annotations

from typing import Any

import torch
from sentence_transformers import SparseEncoder
from sentence_transformers.sparse_encoder.modules import SpladePooling
from torch import Tensor, nn

from connector.encoders.lexical import Task
from connector.encoders.module import WeightedModule
from connector.vectors.statistics import CorpusStatistics


class QueryIdf(WeightedModule):
    """Multiplies the weights of a query's `sentence_embedding` (n, width) by the idf of their features.

    IDF is divided by its maximum; without statistics, weights are unchanged.

    A SPLADE learns how much a feature tells from the texts that it was trained on. In another corpus other features are
    common: each of them is read for a large share of the documents and tells little. The idf of features, measured on a
    sample of the documents as the model encodes them (`CorpusStatistics.measure_features`), says which. Documents stay
    as they are.

    Args:
        width: Features of the model's output.
    """

    config_keys = ["width"]
    forward_kwargs = {"task"}

    token_weights: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.width = width
        self.register_buffer("token_weights", torch.ones(width))

    @property
    def statistics(self) -> CorpusStatistics:
        """The roots of idf; until anything is known, all features are as rare as each other."""
        return CorpusStatistics.of_features(self.token_weights.cpu().numpy().copy())

    @torch.no_grad()
    def use_statistics(self, statistics: CorpusStatistics) -> None:
        """Take the statistics of another corpus.

        Raises:
            ValueError: They are not of so many features.
        """
        if statistics.token_weights.shape != (self.width,):
            raise ValueError(
                f"statistics of {statistics.token_weights.shape} features do not fit {self.width} of them."
            )
        self.token_weights.copy_(torch.from_numpy(statistics.token_weights))

    def forward(
        self, features: dict[str, Tensor | Any], task: Task | None = None, **kwargs: Any
    ) -> dict[str, Tensor | Any]:
        """Weigh the embeddings of queries; `kwargs` are meant for other modules."""
        if task == "query":
            idf = self.token_weights.square()
            features["sentence_embedding"] = features["sentence_embedding"] * (idf / idf.max().clamp_min(1e-6))
        return features


def with_query_idf(splade: SparseEncoder) -> list[nn.Module]:
    """The modules of a SPLADE with one that weighs queries by idf behind its pooling, before any threshold.

    Raises:
        ValueError: The model is not a SPLADE, or has such a module already.
    """
    modules: list[nn.Module] = list(splade)
    places = [place for place, module in enumerate(modules) if isinstance(module, SpladePooling)]
    if len(places) != 1 or any(isinstance(module, QueryIdf) for module in modules):
        names = ", ".join(type(module).__name__ for module in modules)
        raise ValueError(f"the queries of a SPLADE can be weighted by IDF once; this model has {names}.")
    # A SPLADE that was never saved does not know how wide it is.
    width = int(splade.encode_document(["width"]).shape[1])
    return [*modules[: places[0] + 1], QueryIdf(width).to(splade.device), *modules[places[0] + 1 :]]
