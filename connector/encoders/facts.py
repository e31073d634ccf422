"""Properties of an encoder."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from sentence_transformers import SparseEncoder

from connector.encoders.autoencoder import KSparseAutoEncoder
from connector.encoders.batches import TOKENIZING, length_limit
from connector.encoders.dictionary import TwoLevelDictionary
from connector.encoders.fingerprint import hash_weights, name_of, pooling_of
from connector.encoders.idf import QueryIdf
from connector.encoders.labels import Labels, label_of
from connector.encoders.splade_pooling import is_splade, with_max_logit_pooling
from connector.encoders.unbuilt import UnbuiltDictionary
from connector.types import EncoderFingerprint
from connector.vectors.statistics import CorpusStatistics


class ModelFacts:
    """A `SparseEncoder` with the number and meaning of its features.

    Args:
        model: Any `SparseEncoder` of sentence-transformers.
        k: Features kept per document; None as in `TextEncoder`.
        k_query: Features kept per query; None as in `TextEncoder`.
        base_model: Name for the fingerprint; None uses the model's name.
        revision: Revision for the fingerprint.
        labels: Terms of each latent.

    Raises:
        ValueError: `k` or `k_query` is below 1.
    """

    def __init__(
        self,
        model: SparseEncoder,
        k: int | None,
        k_query: int | None,
        base_model: str | None,
        revision: str,
        labels: Labels,
    ) -> None:
        for setting, value in (("k", k), ("k_query", k_query)):
            if value is not None and value < 1:
                raise ValueError(f"{setting} must be at least 1, got {value}.")
        self.model = model.eval()
        head = next((module for module in model if isinstance(module, KSparseAutoEncoder)), None)
        self._head = head
        self._calibrated = head or next((module for module in model if isinstance(module, QueryIdf)), None)
        self.k = k or (head.k if head is not None else model.max_active_dims)
        self.k_query = k_query or (head.k_query if head is not None else model.max_active_dims)
        self._base_model = base_model or (head.base_model if head is not None else "") or name_of(model)
        self._revision = revision
        self.labels = labels

    @property
    def head(self) -> KSparseAutoEncoder | None:
        """The TopK autoencoder; None for other models (SPLADE, CSR)."""
        return self._head

    @property
    def device(self) -> str:
        """Where it computes: cuda, mps or cpu."""
        return str(self.model.device)

    @property
    def has_dictionary(self) -> bool:
        """Whether the head is a dictionary, which belongs to one index."""
        return isinstance(self._head, TwoLevelDictionary)

    @property
    def needs_dictionary(self) -> bool:
        """Whether it is a dense model without a head, for which a new index builds a dictionary."""
        return isinstance(self._head, UnbuiltDictionary)

    @property
    def k_candidates(self) -> int | None:
        """Features per query if hits are rescored by codes; they only find candidates.

        Cells of a dictionary and a few rare tokens, or half of a query's features; None if the model has no fixed
        number.
        """
        if isinstance(self._head, TwoLevelDictionary):
            return self._head.k_candidates
        return max(1, self.k_query // 2) if self.k_query is not None else None

    @property
    def is_splade(self) -> bool:
        """Whether it is a SPLADE model, whose features are tokens."""
        return is_splade(self.model)

    @property
    def statistics(self) -> CorpusStatistics | None:
        """The corpus statistics of the model; None if it has neither a head nor `QueryIdf`."""
        return self._calibrated.statistics if self._calibrated is not None else None

    @property
    def num_latents(self) -> int:
        """Width of the encoder's output."""
        # A SPLADE does not know its width before it has encoded anything.
        return int(self._max_logit_model.get_embedding_dimension() or 0)

    @property
    def max_seq_length(self) -> int | None:
        """Tokens after which texts are truncated; None for no limit."""
        return length_limit(self.model.max_seq_length)

    def count_tokens(self, text: str) -> int:
        """Number of tokens of a text, including special tokens."""
        with TOKENIZING:
            return len(self.model.tokenizer(text, truncation=False, verbose=False)["input_ids"])

    @cached_property
    def fingerprint(self) -> EncoderFingerprint:
        """The fingerprint; cached, since hashing all tensors takes 0.1 s for 90 MB."""
        return EncoderFingerprint(
            base_model=self._base_model,
            revision=self._revision,
            weights_sha256=hash_weights(self.model, self._head),
            k=self.k,
            num_latents=self.num_latents,
            pooling=pooling_of(self.model),
            max_seq_length=self.max_seq_length,
            prompts=self._prompts,
        )

    def label(self, feature: str) -> str:
        """Return the label of a feature: a quoted token or the terms of a latent; empty without a label.

        Args:
            feature: Name of the feature in the index.
        """
        number, latents = int(feature), self._head.num_latents if self._head is not None else 0
        if number < latents:
            return label_of(number, self.labels)
        tokens = len(self.model.tokenizer)
        if self.num_latents != latents + tokens:
            return ""
        return f'"{self.model.tokenizer.convert_ids_to_tokens(number - latents)}"' if number < latents + tokens else ""

    @cached_property
    def _max_logit_model(self) -> SparseEncoder:
        """The model, with cheaper pooling if it is a SPLADE."""
        return with_max_logit_pooling(self.model)

    @property
    def _prompts(self) -> dict[str, str]:
        return {task: prompt for task, prompt in sorted(self.model.prompts.items()) if prompt}

    def _dense_modules(self) -> list[Any]:
        """The modules before the head."""
        head = self._require_head()
        return [module for module in self.model if module is not head]

    def _require_head(self) -> KSparseAutoEncoder:
        if self._head is None:
            raise ValueError(
                f"{self._base_model} has no dense embedding: it is not a dense model with a K-sparse head."
            )
        return self._head
