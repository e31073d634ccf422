"""The parts of an encoder without torch: a dense model and a head, with their fingerprint."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import cached_property
from typing import NoReturn

import numpy as np

from connector.encoders.graph import describe_backend
from connector.encoders.labels import Labels, label_of
from connector.encoders.light_heads import QUERY_ONLY, Head, UnbuiltHead, statistics_of
from connector.encoders.light_model import LightModel
from connector.errors import EncoderError
from connector.types import EncoderFingerprint
from connector.vectors.codes import RotatedCode
from connector.vectors.statistics import CorpusStatistics

_NO_TORCH = frozenset({"model", "dense_model", "on_device"})


class LightParts:
    """A dense model and a head without torch, and what they are.

    Args:
        model: The dense model.
        head: The head.
        base_model: Name for the fingerprint.
        revision: Revision for the fingerprint.
        k: Features kept per document; the head's number if None.
        k_query: Features kept per query; the head's number if None.
        code: As in `TextEncoder`.
        name: As in `TextEncoder`.
        labels: Returns the terms of each latent; called at the first `label`, because a search needs none.
    """

    backend = "openvino"
    device = "cpu"
    is_splade = False
    query_model = None

    def __init__(
        self,
        model: LightModel,
        head: Head,
        *,
        base_model: str,
        revision: str = "",
        k: int | None = None,
        k_query: int | None = None,
        code: RotatedCode | None = None,
        name: str = "",
        labels: Callable[[], Labels] = tuple,
    ) -> None:
        if head.weights["mean"].shape != (model.dim,):
            raise EncoderError(f"The dense model has {model.dim} dimensions, the head {head.weights['mean'].size}.")
        self._dense = model
        self.head = head
        self._base_model = base_model
        self._revision = revision
        self.k = k or int(head.config["k"])
        self.k_query = k_query or int(head.config["k_query"] or head.config["k"])
        self.code = code
        self.name = name
        self._labels = labels
        self.precision = model.precision

    def __getattr__(self, name: str) -> NoReturn:
        if name in _NO_TORCH:
            raise EncoderError(f"an encoder without torch has no {name}; load the whole model for that.")
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    @property
    def runtime(self) -> str:
        """As in `TextEncoder`."""
        return describe_backend(self.backend, self.precision)

    @property
    def needs_dictionary(self) -> bool:
        """As in `TextEncoder`."""
        return isinstance(self.head, UnbuiltHead)

    @property
    def has_dictionary(self) -> bool:
        """As in `TextEncoder`."""
        return self.head.has_cells

    @property
    def k_candidates(self) -> int:
        """As in `TextEncoder`."""
        return self.head.k_candidates or max(1, self.k_query // 2)

    @property
    def statistics(self) -> CorpusStatistics:
        """As in `TextEncoder`."""
        return statistics_of(self.head)

    @property
    def num_latents(self) -> int:
        """Width of the encoder's output."""
        lexical = self.head.config.get("lexical_config")
        return self.head.num_latents + (int(lexical["num_tokens"]) if lexical else 0)

    @property
    def max_seq_length(self) -> int | None:
        """Tokens after which texts are truncated; None for no limit."""
        return self._dense.max_seq_length

    def count_tokens(self, text: str) -> int:
        """Number of tokens of a text, including special tokens."""
        return self._dense.count(text)

    @cached_property
    def fingerprint(self) -> EncoderFingerprint:
        """The fingerprint, hashed from the weights on disk."""
        digest = hashlib.sha256()
        if self.head.config.get("lexical_config"):
            digest.update(json.dumps(self.head.config["lexical_config"], sort_keys=True).encode())
        if self.head.has_cells:
            left_out = ("base_model", *QUERY_ONLY)
            config = {name: value for name, value in self.head.config.items() if name not in left_out}
            digest.update(json.dumps(config, sort_keys=True).encode())
        self._dense.update_digest(digest)
        for name, value in sorted(self.head.weights.items()):
            digest.update(f"{self._dense.num_modules}.{name}:{value.shape}:".encode())
            digest.update(np.ascontiguousarray(value).tobytes())
        return EncoderFingerprint(
            base_model=self._base_model,
            revision=self._revision,
            weights_sha256=digest.hexdigest(),
            k=self.k,
            num_latents=self.num_latents,
            pooling=self._dense.pooling,
            max_seq_length=self.max_seq_length,
            prompts=self._dense.prompts,
        )

    def label(self, feature: str) -> str:
        """As in `TextEncoder`."""
        number = int(feature)
        if number >= self.head.num_latents:
            return f'"{self._dense.whole.id_to_token(number - self.head.num_latents)}"'
        return label_of(number, self._labels())

    @property
    def special_ids(self) -> list[int]:
        """As in `TextEncoder`."""
        return self._dense.special_ids
