"""Texts on their way to a model: what is read of them, and which go through it together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Task = Literal["query", "document"]

_CHARACTERS_PER_TOKEN = 100

_TOKENS = 128
"""Of a text by which the size of a batch counts; of shorter texts as many go together as take the same memory."""

_CHARACTERS = 4
"""Per token, of English text. Where tokens are shorter, batches are larger than meant, by what memory easily holds."""

_SPECIAL = 2
"""Tokens in front of and behind each text."""


def rows_by_length(texts: Sequence[str], batch_size: int, longest: int | None) -> Iterator[NDArray[np.int64]]:
    """Yield the row numbers of each batch, longest texts first, so that a batch holds little padding.

    Args:
        texts: A sequence even for one text.
        batch_size: Texts in a batch, at least 1; of texts below 128 tokens a batch holds more.
        longest: Tokens after which a text is cut; None where there is no limit.

    Raises:
        ValueError: `batch_size` is below 1, or `texts` is a single string.
    """
    if isinstance(texts, str):
        raise ValueError("texts must be a sequence of strings, got a single string; put it in a list.")
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}.")
    lengths = np.array([len(text) for text in texts], dtype=np.int64)
    order = np.argsort(-lengths, kind="stable")
    tokens = np.minimum(lengths // _CHARACTERS + _SPECIAL, longest or _TOKENS)
    start = 0
    while start < len(order):
        # No text is longer than the first of its batch.
        size = max(batch_size, batch_size * _TOKENS // int(tokens[order[start]]))
        yield order[start : start + size]
        start += size


def readable(text: str, max_length: int | None) -> str:
    """The beginning of a text that a tokenizer needs: it reads a text whole, then cuts it.

    100 MB of text would take it minutes and 15 GB. No word that BERT's tokenizers take apart is longer than
    100 characters, so this keeps enough for any text whose tokens are not, on average, longer.

    Args:
        text: Half of a surrogate pair, which no tokenizer takes, becomes a question mark.
        max_length: Tokens after which a text is cut; None keeps all of it.
    """
    cut = text if max_length is None else text[: _CHARACTERS_PER_TOKEN * max_length]
    return cut.encode("utf-8", "replace").decode()
