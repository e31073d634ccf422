"""Weight query features by their IDF in the searched corpus."""

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

    A SPLADE learns feature weights on its training texts. In another corpus, other features are common: they have long
    posting lists and little information. The IDF of features is measured on a sample of encoded documents
    (`CorpusStatistics.measure_features`). Documents are not changed.

    Args:
        width: Width of the model's output.
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
        """Square roots of the IDF; equal for all features until measured."""
        return CorpusStatistics.of_features(self.token_weights.cpu().numpy().copy())

    @torch.no_grad()
    def use_statistics(self, statistics: CorpusStatistics) -> None:
        """Use the statistics of another corpus.

        Raises:
            ValueError: The number of features differs.
        """
        if statistics.token_weights.shape != (self.width,):
            raise ValueError(
                f"statistics of {statistics.token_weights.shape} features do not fit {self.width} of them."
            )
        self.token_weights.copy_(torch.from_numpy(statistics.token_weights))

    def forward(
        self, features: dict[str, Tensor | Any], task: Task | None = None, **kwargs: Any
    ) -> dict[str, Tensor | Any]:
        """Weight the embeddings of queries; `kwargs` are ignored."""
        if task == "query":
            idf = self.token_weights.square()
            features["sentence_embedding"] = features["sentence_embedding"] * (idf / idf.max().clamp_min(1e-6))
        return features


def with_query_idf(splade: SparseEncoder) -> list[nn.Module]:
    """Insert `QueryIdf` after the pooling of a SPLADE, before thresholds; return the modules.

    Raises:
        ValueError: The model is not a SPLADE, or already has `QueryIdf`.
    """
    modules: list[nn.Module] = list(splade)
    places = [place for place, module in enumerate(modules) if isinstance(module, SpladePooling)]
    if len(places) != 1 or any(isinstance(module, QueryIdf) for module in modules):
        names = ", ".join(type(module).__name__ for module in modules)
        raise ValueError(f"the queries of a SPLADE can be weighted by IDF once; this model has {names}.")
    # A SPLADE that was never saved does not know its width.
    width = int(splade.encode_document(["width"]).shape[1])
    return [*modules[: places[0] + 1], QueryIdf(width).to(splade.device), *modules[places[0] + 1 :]]
