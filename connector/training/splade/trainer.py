"""Train a SPLADE model, with or without thresholds, from an existing SPLADE."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sentence_transformers import SparseEncoder
from sentence_transformers.util import batch_to_device
from torch import Tensor, nn

from connector.encoders.fingerprint import digest_model
from connector.encoders.idf import QueryIdf, with_query_idf
from connector.encoders.lexical import Task
from connector.encoders.splade_pooling import is_splade, with_max_logit_pooling
from connector.encoders.text import TextEncoder
from connector.encoders.thresholds import Thresholding, TopKMasking
from connector.errors import EncoderError
from connector.training.checkpoint import Checkpoint, Objective
from connector.training.distillation import DistillationCorpus, digest_texts, hold_out
from connector.training.loop import SAVE_EVERY_S, Progress, parameter_groups, train_loop
from connector.training.sources import check_queries
from connector.training.splade.batches import DistillationBatches
from connector.training.splade.loss import HybridThresholdingLoss
from connector.training.splade.settings import MIN_QUERIES, SpladeSettings
from connector.training.splade.validation import SpladeResult, validate
from connector.vectors.statistics import CorpusStatistics

_OF_A_METHOD = (QueryIdf, Thresholding, TopKMasking)
_INITIAL_WEIGHTS = 1_024
"""Initial number of weights of top-k masking."""


@dataclass(frozen=True, slots=True)
class TrainedSplade:
    """A trained SPLADE and its history.

    Attributes:
        model: The model in evaluation mode, with its thresholds.
        losses: Mean loss before each validation.
        validations: Results on held-out queries, the first before training.
        teacher_scale: Factor for the teacher's scores.
        steps: Number of steps.
        elapsed_s: Duration of the run, including validations.
    """

    model: SparseEncoder
    losses: list[float]
    validations: list[SpladeResult]
    teacher_scale: float
    steps: int
    elapsed_s: float


class SpladeObjective(Objective):
    """Draws batches of texts and encodes them.

    Args:
        loss: Loss of the model in training.
        corpora: The training corpora.
        settings: Settings of the run.
    """

    token_weights: Tensor

    def __init__(
        self, loss: HybridThresholdingLoss, corpora: Sequence[DistillationCorpus], settings: SpladeSettings
    ) -> None:
        super().__init__()
        self.criterion = loss
        self._settings = settings
        self._idf = next((module for module in loss.model if isinstance(module, QueryIdf)), None)
        self._names = [corpus.source.name for corpus in corpora]
        # A frozen copy; the tuple keeps it out of the module's parameters.
        self._start = (_frozen(loss.model),) if settings.self_distillation else ()
        # sqrt(IDF) of features in each corpus, from the last validation, and therefore part of a checkpoint.
        width = self._idf.width if self._idf is not None else 0
        self.register_buffer("token_weights", torch.ones(len(corpora), width))
        self._batches = DistillationBatches(
            corpora,
            batch_size=settings.batch_size,
            negatives=settings.negatives,
            depth=settings.negative_depth,
            seed=settings.seed,
        )

    @property
    def generators(self) -> list[np.random.Generator]:
        """Random generators of the batches."""
        return [self._batches.random]

    def loss(self, done: float) -> Tensor:
        """Draw a batch and return its loss, given the completed fraction of the run."""
        self._mask(done)
        self.criterion.model.train()
        features, dense = self.draw()
        return torch.stack(list(self.criterion(features, self.targets(features, dense)).values())).sum()

    def use_statistics(self, found: Mapping[str, CorpusStatistics]) -> None:
        """Set the IDF of each corpus; those without statistics get the mean of the others."""
        if self._idf is None or not found:
            return
        mean = CorpusStatistics.average(list(found.values()))
        for row, name in enumerate(self._names):
            self.token_weights[row] = torch.from_numpy(found.get(name, mean).token_weights)

    def calibrate(self, batches: int = 8) -> None:
        """Scale the teacher's scores to the margins of the model; the paper's teacher needs no scaling."""
        self.criterion.model.eval()
        ratios = [self.criterion.margin_ratio(*self.draw()) for _ in range(batches)]
        self.criterion.teacher_scale.fill_(float(np.mean(ratios)))

    def finish(self) -> None:
        """Set the mask, if there is one, to its final limit, and the IDF to the mean of all corpora."""
        self._mask(1.0)
        if self._idf is not None:
            known = [CorpusStatistics.of_features(row.numpy()) for row in self.token_weights.cpu()]
            self._idf.use_statistics(CorpusStatistics.average(known))

    def draw(self) -> tuple[list[dict[str, Any]], Tensor]:
        """Draw a batch: its tokens and the dense teacher's scores. Sets the IDF to that of its corpus."""
        batch = self._batches.draw()
        if self._idf is not None:
            self._idf.token_weights.copy_(self.token_weights[batch.corpus])
        features = [self._tokens(batch.queries, "query"), self._tokens(batch.documents, "document")]
        return features, torch.from_numpy(batch.scores).to(self.criterion.model.device)

    @torch.no_grad()
    def targets(self, features: Sequence[dict[str, Any]], dense: Tensor) -> Tensor:
        """Target scores of a batch on the scale of the dense ones, mixed with those of the initial model."""
        if not self._start:
            return dense
        [start] = self._start
        query, document = (
            start(dict(tokens), task=task)["sentence_embedding"]
            for tokens, task in zip(features, ("query", "document"), strict=True)
        )
        share = self._settings.self_distillation
        mixed: Tensor = (1 - share) * dense + share / self.criterion.teacher_scale * (query @ document.T)
        return mixed

    def _tokens(self, texts: list[str], task: Task) -> dict[str, Any]:
        model = self.criterion.model
        return batch_to_device(model.preprocess(texts, prompt=model.prompts.get(task) or None, task=task), model.device)

    def _mask(self, done: float) -> None:
        """Top-k masking: the limit falls to k over the first half of the run, by the same share each step."""
        for module in self.criterion.model:
            if isinstance(module, TopKMasking):
                k = self._settings.k
                module.k = max(k, round(k * (_INITIAL_WEIGHTS / k) ** max(0.0, 1.0 - 2.0 * done)))


def check_is_splade(model: SparseEncoder) -> None:
    """Refuse a model that cannot be trained as a SPLADE.

    Raises:
        EncoderError: The model has no `SpladePooling`.
    """
    if not is_splade(model):
        raise EncoderError(
            "the model is not a SPLADE: it has no SpladePooling. Use a SPLADE or a masked language model."
        )


def train_splade(
    start: SparseEncoder,
    corpora: Sequence[DistillationCorpus],
    settings: SpladeSettings,
    *,
    teacher: str = "",
    checkpoint: Path | None = None,
    save_every_s: float = SAVE_EVERY_S,
    progress: Progress | None = None,
) -> TrainedSplade:
    """Train a SPLADE model in place.

    Args:
        start: The initial SPLADE, whose modules are modified. Its thresholds, IDF and mask are removed.
        corpora: Texts with a teacher's embeddings.
        settings: Settings of the run.
        teacher: Digest of the teacher (`EmbeddingCache.digest`), which a checkpoint records.
        checkpoint: File in which the state is saved. If it exists, the run resumes from it; deleted at the end.
        save_every_s: Seconds between two checkpoints.
        progress: Called with the current task and its completed fraction.

    Raises:
        EncoderError: The model is not a SPLADE, there are too few queries, the loss is not finite, or the checkpoint
            belongs to another run.
    """
    check_is_splade(start)
    check_queries([corpus.source for corpus in corpora], MIN_QUERIES)
    started = time.monotonic()
    torch.manual_seed(settings.seed)
    facts = {"start": digest_model(start), "teacher": teacher, "corpus": digest_texts(corpora)}
    model = with_method(start, settings)
    trained = with_max_logit_pooling(model)  # shares the weights, with a fraction of the time and memory
    left, held = hold_out(corpora, settings.validation_queries, settings.validation_documents, settings.seed)
    criterion = HybridThresholdingLoss(
        trained, lambda_q=settings.lambda_q, lambda_d=settings.lambda_d, lambda_t=settings.lambda_t
    )
    objective = SpladeObjective(criterion, left, settings)
    with _prepared(trained, settings):
        encoder = TextEncoder(trained)
        groups = parameter_groups(
            trained,
            learning_rate=settings.learning_rate,
            threshold_learning_rate=settings.threshold_learning_rate,
        )
        optimizer = torch.optim.Adam(groups)
        store = Checkpoint(checkpoint, settings, SpladeResult, **facts)
        run = store.load(objective, optimizer)

        def measure(steps: int) -> SpladeResult:
            trained.eval()
            result, statistics = validate(encoder, held, steps)
            objective.use_statistics(statistics)
            return result

        if not run.validations:
            run.validations.append(measure(0))
            objective.calibrate()

        train_loop(
            objective,
            optimizer,
            settings,
            run,
            checkpoint=store,
            loss_at=objective.loss,
            validate=measure,
            report=progress or (lambda _task, _share: None),
            save_every_s=save_every_s,
        )
    objective.finish()
    store.clear()
    return TrainedSplade(
        model=model.eval(),
        losses=run.losses,
        validations=run.validations,
        teacher_scale=float(criterion.teacher_scale),
        steps=run.steps,
        elapsed_s=time.monotonic() - started,
    )


def _frozen(model: SparseEncoder) -> SparseEncoder:
    """A frozen copy without thresholds, which shares the IDF module."""
    modules = [
        module if isinstance(module, QueryIdf) else copy.deepcopy(module)
        for module in model
        if not isinstance(module, (Thresholding, TopKMasking))
    ]
    return SparseEncoder(modules=modules, device=str(model.device)).eval().requires_grad_(False)


def with_method(start: SparseEncoder, settings: SpladeSettings) -> SparseEncoder:
    """The model with the untrained module of the method."""
    modules: list[nn.Module] = [module for module in start if not isinstance(module, _OF_A_METHOD)]
    if settings.idf:
        modules = with_query_idf(SparseEncoder(modules=modules, device=str(start.device)))
    if settings.rules is not None:
        modules.append(Thresholding(*settings.rules, settings.steepness))
    elif settings.method == "topk":
        modules.append(TopKMasking(settings.k))
    prompts = {task: prompt for task, prompt in start.prompts.items() if prompt}
    return SparseEncoder(modules=modules, device=str(start.device), prompts=prompts, similarity_fn_name="dot")


@contextmanager
def _prepared(model: SparseEncoder, settings: SpladeSettings) -> Iterator[None]:
    """Context in which texts are truncated for training, and token embeddings are frozen if the settings say so."""
    longest, transformer = model.max_seq_length, model.transformers_model
    frozen = transformer.get_input_embeddings().weight if transformer and settings.freeze_embeddings else None
    model.max_seq_length = min(longest or settings.max_length, settings.max_length)
    try:
        if frozen is not None:
            frozen.requires_grad_(False)
        yield
    finally:
        model.max_seq_length = longest
        if frozen is not None:
            frozen.requires_grad_(True)
