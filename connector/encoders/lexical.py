"""Tokens as additional features, which preserve lexical information that pooling loses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, vstack
from torch import Tensor, nn

from connector.encoders.batches import TOKENIZING
from connector.encoders.batches import Task as Task
from connector.encoders.batches import readable as readable
from connector.encoders.light_heads import BM25

_BLOCK = 4_096


class TokenCounts(NamedTuple):
    """The distinct tokens of n texts, each row padded to the longest.

    Attributes:
        ids: int64 (n, length).
        counts: float32 (n, length); 0 marks an unused slot.
    """

    ids: Tensor
    counts: Tensor

    def to(self, device: torch.device) -> TokenCounts:
        """Move to another device."""
        return TokenCounts(self.ids.to(device, non_blocking=True), self.counts.to(device, non_blocking=True))


class LexicalFeatures(nn.Module):
    """BM25 weights of a text's tokens.

    A document's token of weight w weighs document_scale * saturation * w, a query's query_scale * w, where
    w = sqrt(idf), so that their product is BM25 (Robertson and Zaragoza 2009, eq. 3.15) times both scales. Weights and
    the average length come from a corpus (`CorpusStatistics`).

    Args:
        num_tokens: Size of the tokenizer's vocabulary.
        document_scale: Weight of a document's tokens relative to its latents.
        query_scale: Weight of a query's tokens relative to its latents.
        k1: Saturation of BM25.
        b: Normalization by length of BM25.
    """

    token_weights: Tensor
    average_length: Tensor

    def __init__(
        self,
        num_tokens: int,
        document_scale: float,
        query_scale: float,
        k1: float = BM25["k1"],
        b: float = BM25["b"],
    ) -> None:
        super().__init__()
        if num_tokens < 1 or min(document_scale, query_scale) <= 0:
            raise ValueError(
                f"num_tokens {num_tokens}, document_scale {document_scale} and query_scale {query_scale} must be "
                "above 0."
            )
        self.num_tokens = num_tokens
        self.document_scale = document_scale
        self.query_scale = query_scale
        self.k1 = k1
        self.b = b
        self.register_buffer("token_weights", torch.zeros(num_tokens))
        self.register_buffer("average_length", torch.ones(()))

    @property
    def config(self) -> dict[str, Any]:
        """The arguments that recreate the module."""
        names = ("num_tokens", "document_scale", "query_scale", "k1", "b")
        return {name: getattr(self, name) for name in names}

    def forward(self, tokens: TokenCounts, task: Task | None) -> Tensor:
        """Weight tokens: float32 (n, length), 0 in unused slots."""
        weights = self.token_weights[tokens.ids]
        if task == "query":
            return self.query_scale * weights * (tokens.counts > 0)
        lengths = (tokens.counts * (weights > 0)).sum(dim=1, keepdim=True)
        saturation = self.k1 * (1 - self.b + self.b * lengths / self.average_length)
        return self.document_scale * weights * tokens.counts * (self.k1 + 1) / (tokens.counts + saturation)


def count_tokens(input_ids: Tensor, attention_mask: Tensor) -> TokenCounts:
    """Count the distinct tokens of each row of a batch; a token's slot is its first position."""
    same = (input_ids.unsqueeze(2) == input_ids.unsqueeze(1)) & attention_mask.bool().unsqueeze(1)
    places = torch.arange(input_ids.shape[1], device=input_ids.device)
    # Not tril(), which starts all threads even for short queries: 13 ms on a busy machine.
    again = (same & (places < places.unsqueeze(1))).any(dim=2)
    counts = same.sum(dim=2) * (attention_mask.bool() & ~again)
    return TokenCounts(input_ids.long(), counts.float())


def count_texts(tokenizer: Any, texts: Sequence[str], max_length: int | None) -> csr_matrix:  # noqa: ANN401
    """Count the tokens of each text, including special tokens.

    Args:
        tokenizer: The dense model's tokenizer (transformers).
        texts: n texts, each truncated after `max_length` tokens.
        max_length: None for no truncation.

    Returns:
        float32 (n, vocabulary size).
    """
    size = len(tokenizer)
    side = getattr(tokenizer, "truncation_side", "right")
    parts = [csr_matrix((0, size), dtype=np.float32)]
    for start in range(0, len(texts), _BLOCK):
        block = [readable(text, max_length, side) for text in texts[start : start + _BLOCK]]
        with TOKENIZING:
            ids = tokenizer(block, truncation=max_length is not None, max_length=max_length, verbose=False)["input_ids"]
        indices = np.fromiter((token for row in ids for token in row), dtype=np.int64)
        starts = np.cumsum([0, *(len(row) for row in ids)])
        counted = csr_matrix((np.ones(len(indices), np.float32), indices, starts), shape=(len(block), size))
        counted.sum_duplicates()
        parts.append(counted)
    return vstack(parts, format="csr")


def pad_counts(counts: csr_matrix) -> TokenCounts:
    """Convert rows of counts to padded tensors."""
    lengths = np.diff(counts.indptr)
    width = int(lengths.max(initial=1))
    ids: NDArray[np.int64] = np.zeros((counts.shape[0], width), dtype=np.int64)
    values: NDArray[np.float32] = np.zeros((counts.shape[0], width), dtype=np.float32)
    rows = np.repeat(np.arange(counts.shape[0]), lengths)
    slots = np.arange(len(counts.indices)) - np.repeat(counts.indptr[:-1], lengths)
    ids[rows, slots] = counts.indices
    values[rows, slots] = counts.data
    return TokenCounts(torch.from_numpy(ids), torch.from_numpy(values))
