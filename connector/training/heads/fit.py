"""Fit a head to a corpus in a given time, from its documents alone."""

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
"""Fractions of the time; the rest is for neighbours and validations."""

_MAX_LATENTS = 32_768
"""Comparing a query with this number of latents takes 3 ms on one core."""

_DOCUMENTS_PER_LATENT = 16
"""Maximum number of documents per latent."""


@dataclass(frozen=True, slots=True)
class FittedHead:
    """A head fitted to a corpus.

    Attributes:
        trained: The head and its held-out results, with those of the initial head in `baseline`.
        settings: Settings of the run.
        documents: Number of training documents.
        queries: Number of sentences that served as queries.
    """

    trained: TrainedHead
    settings: TrainingSettings
    documents: int
    queries: int

    def save(self, folder: Path, name: str) -> None:
        """Write head, card and plot to a folder, created if missing.

        Args:
            folder: The folder.
            name: Name of the corpus, for the card.
        """
        save_head(
            self.trained, folder, self.settings, data={name: {"documents": self.documents, "queries": self.queries}}
        )


def latents_for(documents: int, embedded: int) -> int:
    """Return the number of latents for a corpus. More latents find more neighbours of a query with fewer postings.

    Args:
        documents: Number of documents of the corpus.
        embedded: Number of embedded documents, with which latents can be initialized.
    """
    return min(_MAX_LATENTS, max(embedded, documents // _DOCUMENTS_PER_LATENT))


def fit_head(
    encoder: TextEncoder,
    texts: Sequence[str],
    *,
    documents: int | None = None,
    k: int | None = None,
    num_latents: int | None = None,
    seconds: float = 600.0,
    steps: int = 1_000_000,
    seed: int = 0,
    progress: Callable[[str, float], None] | None = None,
) -> FittedHead:
    """Fit a head to a corpus, with sentences of the documents as queries and their documents as positives.

    Half of the time is for embedding as many texts as possible, in random order. Latents are initialized with them
    (`init_latents_from_documents`).

    Args:
        encoder: A dense model, with a head as the baseline or without one.
        texts: A sample of the documents: at least 200, better tens of thousands.
        documents: Number of documents of the corpus; None means the number of `texts`.
        k: Features kept per document; None uses the encoder's number, or 64 without a head.
        num_latents: Number of latents, at least that of the features of a text; None depends on the corpus.
        seconds: Total time.
        steps: Maximum number of steps.
        seed: Seed of the sample, the sentences and the batches.
        progress: Called with the current task and its completed fraction.

    Raises:
        CorpusError: There are too few texts.
        EncoderError: The encoder is not a dense model, or has a head with thresholds.
    """
    if encoder.head is None:
        raise EncoderError("only a dense model can be fitted; this encoder has none.")
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
    baseline = None if encoder.needs_dictionary else encoder.head
    length, lexical = encoder.max_seq_length, baseline is None or baseline.lexical is not None
    prompts = {task: model.prompts.get(task) or "" for task in ("document", "query")}
    data = TrainingData(
        documents=embeddings,
        queries=queries,
        positives=np.asarray(source.positives, dtype=np.int64)[order[: len(queries)]],
        corpus_starts=np.zeros(1, dtype=np.int64),
        document_tokens=count_texts(model.tokenizer, [prompts["document"] + text for text in source.documents], length)
        if lexical
        else None,
        query_tokens=count_texts(model.tokenizer, [prompts["query"] + text for text in asked[: len(queries)]], length)
        if lexical
        else None,
    )
    left = seconds - (time.monotonic() - started)
    if baseline is None:
        k, k_query = k or TrainingSettings().k, TrainingSettings().k_query
    else:
        k, k_query = k or encoder.k or baseline.k, encoder.k_query or baseline.k_query
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
        baseline=baseline,
        progress=report,
    )
    return FittedHead(trained, settings, len(embeddings), len(queries))


def _embed_within(
    embed: Callable[[Sequence[str]], NDArray[np.float32]],
    texts: Sequence[str],
    seconds: float,
    progress: Callable[[float], None],
) -> NDArray[np.float32]:
    """Embed texts in order until the time is over, at least one block: float32 (number of embedded texts, dim)."""
    started = time.monotonic()
    blocks: list[NDArray[np.float32]] = []
    for start in range(0, len(texts), _BLOCK):
        blocks.append(embed(texts[start : start + _BLOCK]))
        spent = (time.monotonic() - started) / seconds
        progress(min(1.0, max(spent, (start + _BLOCK) / len(texts))))
        if spent >= 1.0:
            break
    return np.concatenate(blocks)
