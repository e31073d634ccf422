"""Train a SPLADE model, with thresholds or without, from a checkpoint that is one already."""

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
from sentence_transformers.sparse_encoder.modules import SpladePooling
from sentence_transformers.util import batch_to_device
from torch import Tensor, nn

from connector.encoders.idf import QueryIdf, with_query_idf
from connector.encoders.lexical import Task
from connector.encoders.splade_pooling import with_max_logit_pooling
from connector.encoders.text import TextEncoder
from connector.encoders.thresholds import Thresholding, TopKMasking
from connector.errors import EncoderError
from connector.training.distillation import TaughtCorpus, hold_out
from connector.training.loop import SAVE_EVERY_S, Objective, Progress, parameter_groups, take_up, train_loop
from connector.training.sources import check_queries
from connector.training.splade.batches import TaughtBatches
from connector.training.splade.loss import HybridThresholdingLoss
from connector.training.splade.settings import FEWEST_QUERIES, SpladeSettings
from connector.training.splade.validation import SpladeResult, validate
from connector.vectors.statistics import CorpusStatistics

_OF_A_METHOD = (QueryIdf, Thresholding, TopKMasking)
_WIDEST = 1_024
"""Weights that Top-k masking begins with."""


@dataclass(frozen=True, slots=True)
class TrainedSplade:
    """What a run yields.

    Attributes:
        model: In evaluation mode, with its thresholds.
        losses: Mean loss before each validation.
        validations: The held-out results; first that of the model before any step.
        teacher_scale: What the teacher's scores were multiplied by.
        steps: Steps taken.
        elapsed_s: Time of the whole run, validations included.
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
        loss: Of the model in training.
        corpora: To draw from.
        settings: Of the run.
    """

    token_weights: Tensor

    def __init__(self, loss: HybridThresholdingLoss, corpora: Sequence[TaughtCorpus], settings: SpladeSettings) -> None:
        super().__init__()
        self.criterion = loss
        self._settings = settings
        self._idf = next((module for module in loss.model if isinstance(module, QueryIdf)), None)
        self._names = [corpus.source.name for corpus in corpora]
        # As it is now, and no part of what is trained: hidden from the module's weights in a tuple.
        self._start = (_frozen(loss.model),) if settings.self_taught else ()
        # sqrt(idf) of features in each corpus: the last validation's, so part of where a run stands.
        width = self._idf.width if self._idf is not None else 0
        self.register_buffer("token_weights", torch.ones(len(corpora), width))
        self._batches = TaughtBatches(
            corpora,
            batch_size=settings.batch_size,
            negatives=settings.negatives,
            depth=settings.negative_depth,
            seed=settings.seed,
        )

    @property
    def generators(self) -> list[np.random.Generator]:
        """What batches are drawn by."""
        return [self._batches.random]

    def loss(self, done: float) -> Tensor:
        """Draw a batch and return its loss, when that share of the run is over."""
        self._mask(done)
        self.criterion.model.train()
        features, dense = self.draw()
        return torch.stack(list(self.criterion(features, self.targets(features, dense)).values())).sum()

    def use_statistics(self, found: Mapping[str, CorpusStatistics]) -> None:
        """Weigh queries by these from now on; a corpus of which nothing is known takes the mean of the others."""
        if self._idf is None or not found:
            return
        mean = CorpusStatistics.average(list(found.values()))
        for row, name in enumerate(self._names):
            self.token_weights[row] = torch.from_numpy(found.get(name, mean).token_weights)

    def calibrate(self, batches: int = 8) -> None:
        """Bring the teacher's scores onto the scale of the model's: the paper's teacher is on it by itself."""
        self.criterion.model.eval()
        ratios = [self.criterion.margin_ratio(*self.draw()) for _ in range(batches)]
        self.criterion.teacher_scale.fill_(float(np.mean(ratios)))

    def finish(self) -> None:
        """Leave the mask, if there is one, at its final limit, and idf at what all corpora have in common."""
        self._mask(1.0)
        if self._idf is not None:
            known = [CorpusStatistics.of_features(row.numpy()) for row in self.token_weights.cpu()]
            self._idf.use_statistics(CorpusStatistics.average(known))

    def draw(self) -> tuple[list[dict[str, Any]], Tensor]:
        """Tokens of a batch and the dense teacher's scores; queries are weighed by its corpus from now on."""
        batch = self._batches.draw()
        if self._idf is not None:
            self._idf.token_weights.copy_(self.token_weights[batch.corpus])
        features = [self._tokens(batch.queries, "query"), self._tokens(batch.documents, "document")]
        return features, torch.from_numpy(batch.scores).to(self.criterion.model.device)

    @torch.no_grad()
    def targets(self, features: Sequence[dict[str, Any]], dense: Tensor) -> Tensor:
        """What the batch is taught, on the scale of the dense scores: these, and those of the start."""
        if not self._start:
            return dense
        [start] = self._start
        query, document = (
            start(dict(tokens), task=task)["sentence_embedding"]
            for tokens, task in zip(features, ("query", "document"), strict=True)
        )
        share = self._settings.self_taught
        taught: Tensor = (1 - share) * dense + share / self.criterion.teacher_scale * (query @ document.T)
        return taught

    def _tokens(self, texts: list[str], task: Task) -> dict[str, Any]:
        model = self.criterion.model
        return batch_to_device(model.preprocess(texts, prompt=model.prompts.get(task) or None, task=task), model.device)

    def _mask(self, done: float) -> None:
        """Top-k masking: the limit falls to k over the first half of the run, by the same share each step."""
        for module in self.criterion.model:
            if isinstance(module, TopKMasking):
                k = self._settings.k
                module.k = max(k, round(k * (_WIDEST / k) ** max(0.0, 1.0 - 2.0 * done)))


def train_splade(
    start: SparseEncoder,
    corpora: Sequence[TaughtCorpus],
    settings: SpladeSettings,
    *,
    checkpoint: Path | None = None,
    save_every_s: float = SAVE_EVERY_S,
    progress: Progress | None = None,
) -> TrainedSplade:
    """Train a SPLADE model; its own modules are trained, and stay trained.

    Args:
        start: A SPLADE. Thresholds, idf or a mask that it has already are left out.
        corpora: Texts with a teacher's embeddings.
        settings: The method and all that decides the result.
        checkpoint: A file that keeps the state every `save_every_s`. Where there is one, the run goes on from it; it is
            deleted at the end.
        save_every_s: Seconds between two times that the checkpoint is written.
        progress: Called with the current state.

    Raises:
        EncoderError: The model is not a SPLADE, there are too few queries, the loss is no longer finite, or the
            checkpoint is of another run.
    """
    if not any(isinstance(module, SpladePooling) for module in start):
        raise EncoderError("the model is not a SPLADE: it has no SpladePooling. Give one, or a masked-language model.")
    check_queries([corpus.source for corpus in corpora], FEWEST_QUERIES)
    started = time.monotonic()
    torch.manual_seed(settings.seed)
    model = with_method(start, settings)
    trained = with_max_logit_pooling(model)  # the same weights, at a fraction of the time and memory
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
        kept, run = take_up(checkpoint, settings, SpladeResult, objective, optimizer)

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
            kept=kept,
            loss_at=objective.loss,
            validate=measure,
            report=progress or (lambda _task, _share: None),
            save_every_s=save_every_s,
        )
    objective.finish()
    if kept is not None:
        kept.clear()
    return TrainedSplade(
        model=model.eval(),
        losses=run.losses,
        validations=run.validations,
        teacher_scale=float(criterion.teacher_scale),
        steps=run.steps,
        elapsed_s=time.monotonic() - started,
    )


def _frozen(model: SparseEncoder) -> SparseEncoder:
    """A copy without thresholds that learns nothing; the idf of the corpus at hand is the same for both."""
    modules = [
        module if isinstance(module, QueryIdf) else copy.deepcopy(module)
        for module in model
        if not isinstance(module, (Thresholding, TopKMasking))
    ]
    return SparseEncoder(modules=modules, device=str(model.device)).eval().requires_grad_(False)


def with_method(start: SparseEncoder, settings: SpladeSettings) -> SparseEncoder:
    """The same model with the module that the method learns by, untrained."""
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
    """Inside, texts are cut for training, and embeddings are frozen if they shall be."""
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
