"""Train heads of all recipes on precomputed embeddings."""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from connector.encoders.autoencoder import MIN_VALUE, KSparseAutoEncoder
from connector.encoders.ivae import HIDDEN_DIM, IdentifiableVAE
from connector.encoders.lexical import Task, pad_counts
from connector.errors import EncoderError
from connector.training.checkpoint import Checkpoint
from connector.training.data import NeighbourBatches, TrainingData
from connector.training.heads.initialization import init_latents_from_documents
from connector.training.heads.ivae import IVAEObjective
from connector.training.heads.neighbours import nearest_neighbours
from connector.training.heads.objectives import PaperObjective, RetrievalObjective
from connector.training.heads.settings import TrainingSettings
from connector.training.loop import (
    SAVE_EVERY_S,
    Progress,
    best_validation,
    parameter_groups,
    snapshot,
    train_loop,
)
from connector.training.validation import FRONTIER, Validation, ValidationResult, hold_out
from connector.vectors.statistics import CorpusStatistics

MIN_QUERIES = 10
"""With fewer, none are held out, and validation uses synthetic queries."""

_THRESHOLD_RATE = 10
"""Learning rate of thresholds relative to that of weights."""

_SAMPLE = 1_024
"""Documents for checking that thresholds leave features."""

_STEEPNESS = 250.0
"""K of eq. 1 of the HT paper. Weights are a tenth of a SPLADE's, so its K = 25 would be too flat."""


@dataclass(frozen=True, slots=True)
class TrainedHead:
    """A trained head and its history.

    Attributes:
        head: The head with the weights of the best validation (without `patience`, of the last one), in float32 but
            rounded to half precision, as it is stored.
        best: The validation of its weights.
        losses: Mean loss before each validation.
        validations: Results on held-out queries: `baseline` if there is one, the result before the first step if
            latents were initialized with documents, then the others.
        frontier: Results at the points of `FRONTIER` for which the head has enough latents.
        document_frequencies: float32 (num_latents,), fraction of the documents in which each latent fires.
        steps: Number of steps.
        elapsed_s: Duration of the run, including neighbours and validations.
        baseline: Result of the head for comparison, if any.
    """

    head: KSparseAutoEncoder
    best: ValidationResult
    losses: list[float]
    validations: list[ValidationResult]
    frontier: list[ValidationResult]
    document_frequencies: NDArray[np.float32]
    steps: int
    elapsed_s: float
    baseline: ValidationResult | None = None


def train_head(
    data: TrainingData,
    settings: TrainingSettings,
    *,
    base_model: str = "",
    teacher: str = "",
    special_ids: Sequence[int] = (),
    device: str | torch.device = "cpu",
    baseline: KSparseAutoEncoder | None = None,
    checkpoint: Path | None = None,
    save_every_s: float = SAVE_EVERY_S,
    progress: Progress | None = None,
) -> TrainedHead:
    """Train a head on embeddings.

    Args:
        data: Embeddings of the dense model. No recipe needs queries, but they improve `retrieval`.
        settings: Settings of the run.
        base_model: Name of the dense model, stored in the head's configuration.
        teacher: Digest of the dense model (`EmbeddingCache.digest`), which a checkpoint records; empty if unknown.
        special_ids: Special tokens of the dense model's tokenizer.
        device: Device for training.
        baseline: A head for comparison, which is returned if training finds no better one.
        checkpoint: File in which the state is saved. If it exists, the run resumes from it; deleted at the end.
        save_every_s: Seconds between two checkpoints.
        progress: Called with the current task and its completed fraction.

    Raises:
        EncoderError: The loss is not finite, thresholds removed all features, or the checkpoint belongs to another run.
    """
    started = time.monotonic()
    report = progress or (lambda _task, _share: None)
    torch.manual_seed(settings.seed)
    if not settings.lexical:
        data = replace(data, document_tokens=None, query_tokens=None)
    statistics = data.statistics(special_ids) if settings.recipe == "retrieval" else None
    head = _new_head(data, settings, base_model).to(device)
    objective, validation = _set_up(head, data, statistics, settings, report)
    rate = settings.learning_rate
    groups = parameter_groups(objective, learning_rate=rate, threshold_learning_rate=_THRESHOLD_RATE * rate)
    optimizer = torch.optim.Adam(groups)
    before = copy.deepcopy(baseline).to(device).eval() if baseline is not None else None
    compared = validation.run(before) if before is not None else None

    dense = f"{base_model} {teacher}".strip()
    store = Checkpoint(checkpoint, settings, ValidationResult, base_model=dense, corpus=data.digest)
    run = store.load(objective, optimizer)

    def validate(steps: int) -> ValidationResult:
        head.eval()
        result = validation.run(head, steps)
        head.train()
        return result

    if statistics is not None and settings.inits_from_documents and not run.steps:
        initializing = partial(report, "initializing latents")
        init_latents_from_documents(head, data, statistics, seed=settings.seed, progress=initializing)
        # With one latent per document, training may not improve the head.
        run.validations.append(validate(0))
        run.best = snapshot(objective)
    train_loop(
        objective,
        optimizer,
        settings,
        run,
        checkpoint=store,
        loss_at=lambda _done: objective.loss(),
        validate=validate,
        report=report,
        save_every_s=save_every_s,
    )
    objective.load_state_dict(run.best)
    objective.finish()
    head.eval()
    average = head.statistics
    best = best_validation(run.validations, settings)
    if head.thresholds is not None and _thresholds_remove_all(head, data):
        store.clear()
        raise EncoderError(
            f"With threshold_weight {settings.threshold_weight:g} no features are left; lower it and train again."
        )
    if before is not None and compared is not None and compared.score >= best.score:
        head, best = before, compared
    frontier = [
        validation.run(head, run.steps, k=k, k_query=k_query)
        for k, k_query in FRONTIER
        if max(k, k_query) <= head.num_latents
    ]
    frequencies = validation.document_frequencies(head)
    head.use_statistics(average)
    store.clear()
    return TrainedHead(
        head=head.cpu().half().float().eval(),
        best=best,
        losses=run.losses,
        validations=run.validations if compared is None else [compared, *run.validations],
        frontier=frontier,
        document_frequencies=frequencies,
        steps=run.steps,
        elapsed_s=time.monotonic() - started,
        baseline=compared,
    )


def _thresholds_remove_all(head: KSparseAutoEncoder, data: TrainingData) -> bool:
    """Whether thresholds leave all texts, as documents or as queries, only the feature that is always kept."""
    rows = slice(0, _SAMPLE)
    tokens = None if data.document_tokens is None else pad_counts(data.document_tokens[rows]).to(head.mean.device)
    documents = torch.from_numpy(data.documents[rows]).to(head.mean.device)
    tasks: tuple[Task, ...] = ("document", "query")
    with torch.inference_mode():
        kept = [head.strongest(documents, head.k, task=task, tokens=tokens)[1] for task in tasks]
    return any(bool(values.max() <= MIN_VALUE) for values in kept)


def _set_up(
    head: KSparseAutoEncoder,
    data: TrainingData,
    statistics: Sequence[CorpusStatistics] | None,
    settings: TrainingSettings,
    report: Progress,
) -> tuple[PaperObjective | RetrievalObjective | IVAEObjective, Validation]:
    device = head.mean.device
    known = statistics or [head.statistics] * len(data.corpora)
    neighbours = np.empty((0, 0), np.int32)
    if statistics is not None or len(data.queries) < MIN_QUERIES:
        neighbours = nearest_neighbours(
            data, settings.num_neighbours, device, progress=lambda share: report("finding neighbours", share)
        )
    if len(data.queries) < MIN_QUERIES:
        maker = NeighbourBatches(data, neighbours, batch_size=8, neighbours_per_seed=8, seed=settings.seed + 1)
        rows = np.random.default_rng(settings.seed).permutation(len(data.documents))[: settings.validation_queries]
        synthetic = TrainingData(data.documents, maker.make_queries(rows), rows, data.corpus_starts)
        _, validation = hold_out(synthetic, known, settings.validation_queries, settings.seed, share=1.0)
    else:
        data, validation = hold_out(data, known, settings.validation_queries, settings.seed)
    if isinstance(head, IdentifiableVAE):
        return IVAEObjective(head, data, settings), validation
    if statistics is None:
        return PaperObjective(head, data, settings), validation
    return RetrievalObjective(head, data, neighbours, statistics, settings), validation


def _new_head(data: TrainingData, settings: TrainingSettings, base_model: str) -> KSparseAutoEncoder:
    if settings.recipe == "ivae":
        return IdentifiableVAE(
            data.documents.shape[1],
            settings.num_latents,
            settings.k,
            settings.k_query,
            base_model=base_model,
            hidden_dim=HIDDEN_DIM,
        )
    lexical = None
    if data.document_tokens is not None:
        lexical = {
            "num_tokens": data.document_tokens.shape[1],
            "document_scale": settings.document_lexical_scale,
            "query_scale": settings.query_lexical_scale,
        }
    head = KSparseAutoEncoder(
        dim=data.documents.shape[1],
        num_latents=settings.num_latents,
        k=settings.k,
        k_query=settings.k_query,
        with_decoder=settings.recipe == "paper",
        base_model=base_model,
        lexical_config=lexical,
        thresholds_config={"steepness": _STEEPNESS} if settings.threshold_weight else None,
        normalize=settings.recipe == "paper",
    )
    with torch.no_grad():
        # Equal norms, so that no latent has an initial advantage.
        head.encoder.weight.copy_(torch.nn.functional.normalize(torch.randn_like(head.encoder.weight), dim=1))
        head.encoder.bias.zero_()
    return head
