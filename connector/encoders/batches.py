"""Truncate texts and group them into batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from threading import Lock
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Task = Literal["query", "document"]

_CHARACTERS_PER_TOKEN = 100

TOKENS_PER_TEXT = 128
"""Text length in tokens for which the batch size applies; batches of shorter texts are larger, in the same memory."""

TOKENS_ON_GPU = 16 * TOKENS_PER_TEXT
"""The same on a GPU, which smaller batches leave idle: 65,536 tokens by default."""

_CHARACTERS = 4
"""Characters per token of English text, for texts that are not tokenized yet."""

_SPECIAL = 2
"""Special tokens around each text."""

TOKENIZED_TOGETHER = 8
"""Number of batches whose texts are tokenized together, and then sorted by number of tokens."""

TOKENIZING = Lock()
"""Held while a tokenizer of transformers runs: each call first sets truncation and padding, for all threads."""

_SMALLEST = 4
"""A batch is not split below this many times `tokens_per_text` tokens."""

_NO_LIMIT = 10**9
"""Maximum lengths above this one mean that there is none: transformers states 10^30."""


def length_limit(stated: int | None) -> int | None:
    """Return the number of tokens after which texts are truncated; None for no limit.

    Args:
        stated: `max_seq_length` of a model.
    """
    return None if stated is None or stated > _NO_LIMIT else stated


def rows_by_length(
    texts: Sequence[str],
    batch_size: int,
    longest: int | None,
    tokens_per_text: int = TOKENS_PER_TEXT,
    *,
    batches: int = 1,
) -> Iterator[NDArray[np.int64]]:
    """Yield the row numbers of texts that are tokenized together, longest texts first.

    Args:
        texts: A sequence even for one text.
        batch_size: Texts per batch, at least 1; batches of shorter texts than `tokens_per_text` are larger.
        longest: Tokens after which texts are truncated; None for no limit.
        tokens_per_text: A batch has at most `batch_size` times as many tokens, if it has more than `batch_size` texts.
        batches: Number of batches that are tokenized together.

    Raises:
        ValueError: `batch_size` is below 1, or `texts` is a single string.
    """
    if isinstance(texts, str):
        raise ValueError("texts must be a sequence of strings, got a single string; put it in a list.")
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}.")
    lengths = np.array([len(text) for text in texts], dtype=np.int64)
    order = np.argsort(-lengths, kind="stable")
    tokens = np.minimum(lengths // _CHARACTERS + _SPECIAL, longest or TOKENS_PER_TEXT)
    budget = batch_size * tokens_per_text
    start = 0
    while start < len(order):
        # The first text of a batch is the longest.
        size = batches * max(batch_size, budget // int(tokens[order[start]]))
        yield order[start : start + size]
        start += size


def rows_by_tokens(
    counts: NDArray[np.int64], batch_size: int, tokens_per_text: int = TOKENS_PER_TEXT
) -> Iterator[NDArray[np.int64]]:
    """Yield the row numbers of each batch of tokenized texts, longest texts first, to minimize padding.

    Texts with equally many characters may have very different numbers of tokens: of 10,000 package summaries in batches
    by characters, 63 % of the tokens were padding.

    Args:
        counts: Number of tokens of each text.
        batch_size: As for `rows_by_length`.
        tokens_per_text: As for `rows_by_length`. Texts with less than half of a batch's longest text are left to the
            next batch, unless this one would be too small to keep the processor busy.
    """
    order = np.argsort(-counts, kind="stable")
    start = 0
    while start < len(order):
        longest = max(int(counts[order[start]]), 1)
        similar = int((2 * counts > longest).sum()) - start
        size = min(
            max(batch_size, batch_size * tokens_per_text // longest),
            max(similar, _SMALLEST * tokens_per_text // longest, 1),
        )
        yield order[start : start + size]
        start += size


def readable(text: str, max_length: int | None, side: str = "right") -> str:
    """Return the part of a text that a tokenizer needs, since it reads the whole text before truncating.

    100 MB of text would take minutes and 15 GB. BERT's tokenizers split only words of up to 100 characters, so this
    part suffices for any text whose tokens are not longer on average.

    Args:
        text: The text. Unpaired surrogates, which tokenizers refuse, become question marks.
        max_length: Tokens after which the text is truncated; None for no limit.
        side: Side at which the tokenizer truncates: right, or left for one that keeps the end of a text.
    """
    if max_length is not None:
        most = _CHARACTERS_PER_TOKEN * max_length
        text = text[-most:] if side == "left" else text[:most]
    return text.encode("utf-8", "replace").decode()


def check_k(k: int | None) -> None:
    """Refuse a number of features below 1; None means the encoder's own.

    Raises:
        ValueError: `k` is below 1.
    """
    if k is not None and k < 1:
        raise ValueError(f"k must be at least 1, got {k}.")


def check_embedded(embeddings: NDArray[np.float32], texts: Sequence[str] | None, *, dim: int, lexical: bool) -> None:
    """Check the input of a head.

    Args:
        embeddings: Must be (n, dim).
        texts: The n texts; needed if `lexical`.
        dim: Width of the dense embedding.
        lexical: Whether the head has lexical features.

    Raises:
        ValueError: The shapes do not match, or a head with lexical features gets no texts.
    """
    if embeddings.ndim != 2 or embeddings.shape[1] != dim:
        raise ValueError(f"embeddings must have shape (n, {dim}), got {embeddings.shape}.")
    if lexical and (texts is None or len(texts) != len(embeddings)):
        raise ValueError(
            f"this head has lexical features: it needs the texts of all {len(embeddings)} embeddings, "
            f"got {'none' if texts is None else len(texts)}."
        )
