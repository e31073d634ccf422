"""The TopK autoencoder of the K-sparse paper, as a sentence-transformers module behind a dense model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from connector.encoders.lexical import LexicalFeatures, Task, TokenCounts, count_tokens
from connector.encoders.light_heads import MIN_VALUE as MIN_VALUE
from connector.encoders.module import WeightedModule
from connector.encoders.thresholds import Thresholding
from connector.vectors.statistics import CorpusStatistics


class KSparseAutoEncoder(WeightedModule):
    """Maps `sentence_embedding` (n, dim) to k-sparse activations (n, num_features).

    activations = ReLU(TopK(W (x - mean) + b)), and, with a decoder, reconstruction = activations @ D + c
    (K-sparse encoder, Dobrynin 2025, Fig. 2 and 3; TopK after Makhzani and Frey, arXiv:1312.5663). The number of
    non-zero values is fixed at training time, so nothing needs to be zeroed afterwards. ReLU comes last because
    `rank_features` stores only positive weights.

    Beyond the paper: the mean embedding of the documents can be subtracted first, which distributes them over more
    latents and does not change the ranking; and the text's tokens can compete with the latents for the k places, as
    features `num_latents` + token id. With learned thresholds, a text keeps at most k features, and values below the
    threshold are 0.

    Args:
        dim: Width of the dense embedding.
        num_latents: Width of the latent space.
        k: Features kept per document, at most `num_latents`.
        k_query: Features kept per query; `k` if None. Fewer query features cost fewer clauses.
        with_decoder: Keep a decoder, needed for reconstruction (eq. 3) but not for search.
        base_model: Name of the dense model that the head was trained for.
        lexical_config: Arguments of `LexicalFeatures`; None for latents only.
        thresholds_config: Arguments of `Thresholding`; None keeps k features of every text.
        normalize: Scale the kept values to unit length. The distance loss (eq. 2) is invariant to lengths, but a dot
            product is not.

    Raises:
        ValueError: A size is below 1, or `k` is above `num_latents`.
    """

    config_keys = [
        "dim", "num_latents", "k", "k_query", "with_decoder", "base_model", "lexical_config", "thresholds_config",
        "normalize",
    ]  # fmt: skip
    forward_kwargs = {"task", "max_active_dims"}
    mean: Tensor
    encoder: Any

    def __init__(
        self,
        dim: int,
        num_latents: int,
        k: int,
        k_query: int | None = None,
        with_decoder: bool = False,
        base_model: str = "",
        lexical_config: Mapping[str, Any] | None = None,
        thresholds_config: Mapping[str, Any] | None = None,
        normalize: bool = False,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        k_query = k if k_query is None else k_query
        if min(dim, num_latents, k, k_query) < 1:
            raise ValueError(f"dim {dim}, num_latents {num_latents}, k {k} and k_query {k_query} must be at least 1.")
        if max(k, k_query) > num_latents:
            raise ValueError(f"k {k} and k_query {k_query} cannot exceed num_latents {num_latents}.")
        self.dim = dim
        self.num_latents = num_latents
        self.k = k
        self.k_query = k_query
        self.with_decoder = with_decoder
        self.base_model = base_model
        self.normalize = normalize
        self.encoder = self.build_encoder()
        self.register_buffer("mean", torch.zeros(dim))
        self.lexical = LexicalFeatures(**lexical_config) if lexical_config is not None else None
        self.thresholds = Thresholding(**thresholds_config) if thresholds_config is not None else None
        self.decoder = nn.Linear(num_latents, dim) if with_decoder else None

    def build_encoder(self) -> nn.Module:
        """The layer from embeddings to latents; subclasses override it."""
        return nn.Linear(self.dim, self.num_latents)

    @property
    def lexical_config(self) -> dict[str, Any] | None:
        """The arguments that recreate `lexical`."""
        return self.lexical.config if self.lexical is not None else None

    @property
    def thresholds_config(self) -> dict[str, Any] | None:
        """The arguments that recreate `thresholds`."""
        return self.thresholds.get_config_dict() if self.thresholds is not None else None

    @property
    def statistics(self) -> CorpusStatistics:
        """The statistics that the head takes from a corpus rather than from training."""
        mean, lexical = self.mean.cpu().numpy().copy(), self.lexical
        if lexical is None:
            return CorpusStatistics(mean, np.empty(0, np.float32))
        return CorpusStatistics(mean, lexical.token_weights.cpu().numpy().copy(), float(lexical.average_length))

    def use_statistics(self, statistics: CorpusStatistics) -> None:
        """Use the statistics of another corpus.

        Raises:
            ValueError: Their sizes differ.
        """
        num_tokens = self.lexical.num_tokens if self.lexical is not None else 0
        if statistics.mean.shape != (self.dim,) or statistics.token_weights.shape != (num_tokens,):
            raise ValueError(
                f"statistics of {statistics.mean.shape} dimensions and {statistics.token_weights.shape} tokens do not "
                f"fit a head of {self.dim} dimensions and {num_tokens} tokens."
            )
        self.mean.copy_(torch.from_numpy(statistics.mean))
        if self.lexical is not None:
            self.lexical.token_weights.copy_(torch.from_numpy(statistics.token_weights))
            self.lexical.average_length.fill_(statistics.average_length)

    @property
    def num_features(self) -> int:
        """Width of the output: latents, then tokens."""
        return self.num_latents + (self.lexical.num_tokens if self.lexical is not None else 0)

    def activations(
        self, embeddings: Tensor, k: int, *, task: Task | None = None, tokens: TokenCounts | None = None
    ) -> Tensor:
        """Dense activations (n, num_features) with all but the k strongest set to 0. See `strongest`."""
        features, values = self.strongest(embeddings, k, task=task, tokens=tokens)
        # Scatter-add, since unused token slots repeat a feature with the value 0.
        return values.new_zeros(len(values), self.num_features).scatter_add(-1, features, values)

    def strongest(
        self,
        embeddings: Tensor,
        k: int,
        *,
        task: Task | None = None,
        tokens: TokenCounts | None = None,
        candidates: bool = False,  # noqa: ARG002
    ) -> tuple[Tensor, Tensor]:
        """Keep the k strongest features of each text.

        Args:
            embeddings: (n, dim).
            k: Features kept, at most `num_latents`.
            task: "query" uses the query weights of tokens.
            tokens: Tokens of the same texts; None keeps latents only.
            candidates: Whether hits are rescored by codes; affects only dictionaries.

        Returns:
            Features int64 (n, k) and values (n, k), strongest first; negative values are set to 0. A feature may repeat
            with the value 0. Gradients flow through the kept values. Outside of training, a text without positive
            values keeps its strongest feature with the value `MIN_VALUE`.
        """
        centred = embeddings - self.mean
        values, latents = _StrongestLatents.apply(centred, self.encoder.weight, self.encoder.bias, k)
        if self.lexical is not None and tokens is not None:
            features = torch.cat([latents, self.num_latents + tokens.ids], dim=1)
            values, slots = torch.cat([values, self.lexical(tokens, task).to(values.dtype)], dim=1).topk(k, dim=-1)
            latents = features.gather(1, slots)
        values = values.relu()
        if self.thresholds is not None:
            values = self.thresholds.threshold(values, task)
        values = torch.nn.functional.normalize(values, dim=-1) if self.normalize else values
        return latents, values if self.training else _with_a_feature(values)

    def forward(
        self,
        features: dict[str, Tensor | Any],
        task: Task | None = None,
        max_active_dims: int | None = None,
        **kwargs: Any,
    ) -> dict[str, Tensor | Any]:
        """Replace `sentence_embedding` by the activations; keep the dense one as `dense_embedding`.

        Args:
            features: `sentence_embedding` (n, dim) and, for tokens, `input_ids` and `attention_mask`.
            task: "query" keeps `k_query` features, anything else `k`.
            max_active_dims: Overrides this number.
            **kwargs: Ignored; for other modules.
        """
        embeddings = features["sentence_embedding"]
        k = max_active_dims or (self.k_query if task == "query" else self.k)
        tokens = self.tokens_of(features)
        activations = self.activations(embeddings, min(k, self.num_latents), task=task, tokens=tokens)
        features["dense_embedding"] = embeddings
        features["sentence_embedding"] = activations
        if self.decoder is not None and self.training:
            features["decoded_embedding"] = self.decoder(activations[:, : self.num_latents])
        return features

    def tokens_of(self, features: Mapping[str, Any]) -> TokenCounts | None:
        """Count the tokens, if tokens are features."""
        return count_tokens(features["input_ids"], features["attention_mask"]) if self.lexical is not None else None

    def get_embedding_dimension(self) -> int:
        """Width of the output, of which at most `k` values are nonzero."""
        return self.num_features


def _with_a_feature(values: Tensor) -> Tensor:
    """Give every text at least one feature: otherwise it could not be indexed or found."""
    empty = (values <= 0).all(dim=-1, keepdim=True)
    first = torch.where(empty, MIN_VALUE, values[:, :1])
    return torch.cat([first, values[:, 1:]], dim=1)


class _StrongestLatents(torch.autograd.Function):
    """TopK(x W^T + b) without a dense (n, num_latents) gradient, which halves the step time."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401
        embeddings: Tensor,
        weight: Tensor,
        bias: Tensor,
        k: int,
    ) -> tuple[Tensor, Tensor]:
        values, latents = nn.functional.linear(embeddings, weight, bias).topk(k, dim=-1)
        ctx.save_for_backward(embeddings, weight, latents)
        ctx.mark_non_differentiable(latents)
        return values, latents

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        embeddings, weight, latents = ctx.saved_tensors
        of_values, of_embeddings = gradients[0], None
        rows = torch.arange(len(latents), device=latents.device).unsqueeze(1).expand_as(latents)
        places = torch.stack([rows.flatten(), latents.flatten()])
        sparse = torch.sparse_coo_tensor(
            places, of_values.flatten(), (len(latents), len(weight)), check_invariants=False
        )
        if sparse.device.type == "mps":  # has no sparse product
            sparse = sparse.to_dense()
        if ctx.needs_input_grad[0]:
            of_embeddings = sparse @ weight
        of_bias = of_values.new_zeros(len(weight)).index_add(0, latents.flatten(), of_values.flatten())
        return of_embeddings, sparse.t() @ embeddings, of_bias, None
