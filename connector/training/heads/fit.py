"""Fit an encoder's head to a corpus within a stated time, from its documents alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from connector.encoders.lexical import count_texts
from connector.encoders.text import TextEncoder
from connector.errors import EncoderError
from connector.training.data import TrainingData
from connector.training.heads.card import save_head
from connector.training.heads.settings import TrainingSettings, check_documents
from connector.training.heads.trainer import TrainedHead, train_head
from connector.training.sources import TextSource

_BLOCK = 256
_SHARE_DOCUMENTS, _SHARE_QUERIES = 0.4, 0.1
_SHARE_TRAINING = 0.35
"""Of the time, the rest being left for neighbours and validations."""

_MOST_LATENTS = 32_768
"""A query is compared with each: 3 ms on one core."""

_DOCUMENTS_PER_LATENT = 16
"""At most, of the corpus."""


@dataclass(frozen=True, slots=True)
class FittedHead:
    """What `fit_head` yields.

    Attributes:
        trained: The head, its held-out results, and in `baseline` those of the head before.
        settings: What it was trained with.
        documents: Documents that were learned from.
        queries: Sentences of these that stood for queries.
    """

    trained: TrainedHead
    settings: TrainingSettings
    documents: int
    queries: int

    def save(self, folder: Path, name: str) -> None:
        """Write head, card and plot into a folder.

        Args:
            folder: Made if it is not there.
            name: Of the corpus, for the card.
        """
        save_head(
            self.trained, folder, self.settings, data={name: {"documents": self.documents, "queries": self.queries}}
        )


def latents_for(documents: int, embedded: int) -> int:
    """How many latents a corpus deserves: the more, the more of a query's neighbours are found, and by fewer postings.

    Args:
        documents: Of the corpus.
        embedded: Of these, the ones that latents can begin as.
    """
    return min(_MOST_LATENTS, max(embedded, documents // _DOCUMENTS_PER_LATENT))


def fit_head(
    encoder: TextEncoder,
    texts: Sequence[str],
    *,
    documents: int | None = None,
    num_latents: int | None = None,
    seconds: float = 600.0,
    steps: int = 1_000_000,
    seed: int = 0,
    progress: Callable[[str, float], None] | None = None,
) -> FittedHead:
    """Fit a head to a corpus: sentences of the documents stand for queries, and ask for their documents.

    Half of the time goes to embedding as many of the texts as it allows, in random order. Each is what a latent begins
    as (`begin_at_documents`).

    Args:
        encoder: A dense model with a head, to compare with.
        texts: A sample of the documents, 200 at least; tens of thousands are good.
        documents: How many documents the corpus has; as many as `texts` if None.
        num_latents: Of the head, but never fewer than the features of a text; as many as the corpus deserves if None.
        seconds: Time for everything.
        steps: Updates of the head, at most.
        seed: Of the sample, the sentences and the batches.
        progress: Called with the current task and the share of it done.

    Raises:
        CorpusError: There are too few texts.
        EncoderError: The encoder has no head, or one with thresholds.
    """
    if encoder.head is None:
        raise EncoderError("only a dense model with a K-sparse head can be fitted; this encoder is of another kind.")
    if encoder.head.thresholds is not None:
        raise EncoderError(
            "a head with learned thresholds cannot be fitted; train one with `ksparse train --thresholds`."
        )
    check_documents(len(texts))
    report = progress or (lambda _task, _share: None)
    started = time.monotonic()
    model, random = encoder.dense_model(), np.random.default_rng(seed)
    shuffled = [texts[row] for row in random.permutation(len(texts))]
    embeddings = _embed_within(
        encoder.embed, shuffled, _SHARE_DOCUMENTS * seconds, lambda share: report("embedding documents", share)
    )
    source = TextSource("", tuple(shuffled[: len(embeddings)]), (), (), 0).with_queries(seed=seed)
    order = random.permutation(len(source.queries))
    asked = [source.queries[row] for row in order]
    queries = _embed_within(
        partial(encoder.embed, task="query"),
        asked,
        _SHARE_QUERIES * seconds,
        lambda share: report("embedding sentences", share),
    )
    length = model.max_seq_length
    lexical = encoder.head.lexical is not None
    data = TrainingData(
        documents=embeddings,
        queries=queries,
        positives=np.asarray(source.positives, dtype=np.int64)[order[: len(queries)]],
        corpus_starts=np.zeros(1, dtype=np.int64),
        document_tokens=count_texts(model.tokenizer, source.documents, length) if lexical else None,
        query_tokens=count_texts(model.tokenizer, asked[: len(queries)], length) if lexical else None,
    )
    left = seconds - (time.monotonic() - started)
    k, k_query = encoder.k or encoder.head.k, encoder.k_query or encoder.head.k_query
    settings = TrainingSettings(
        num_latents=max(k, k_query, num_latents or latents_for(documents or len(texts), len(embeddings))),
        k=k,
        k_query=k_query,
        steps=steps,
        max_seconds=max(1.0, min(_SHARE_TRAINING * seconds, 0.8 * left)),
        validations=4,
        validation_queries=500,
        document_lexical_scale=0.07 if lexical else 0.0,
        seed=seed,
    )
    trained = train_head(
        data,
        settings,
        base_model=encoder.head.base_model,
        special_ids=model.tokenizer.all_special_ids if lexical else (),
        device=encoder.model.device,
        baseline=encoder.head,
        progress=report,
    )
    return FittedHead(trained, settings, len(embeddings), len(queries))


def _embed_within(
    embed: Callable[[Sequence[str]], NDArray[np.float32]],
    texts: Sequence[str],
    seconds: float,
    progress: Callable[[float], None],
) -> NDArray[np.float32]:
    """Embed texts, the first ones first, until the time is over: float32 (those done, dim), one block at least."""
    started = time.monotonic()
    blocks: list[NDArray[np.float32]] = []
    for start in range(0, len(texts), _BLOCK):
        blocks.append(embed(texts[start : start + _BLOCK]))
        spent = (time.monotonic() - started) / seconds
        progress(min(1.0, max(spent, (start + _BLOCK) / len(texts))))
        if spent >= 1.0:
            break
    return np.concatenate(blocks)
