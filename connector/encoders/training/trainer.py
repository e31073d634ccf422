"""The training loop of both recipes, on embeddings that were computed before."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from connector.encoders.autoencoder import KSparseAutoEncoder
from connector.encoders.training.data import NeighbourBatches, TrainingData
from connector.encoders.training.neighbours import nearest_neighbours
from connector.encoders.training.objectives import PaperObjective, RetrievalObjective
from connector.encoders.training.settings import TrainingSettings
from connector.encoders.training.validation import Validation, ValidationResult, hold_out
from connector.errors import EncoderError
from connector.statistics import CorpusStatistics

Progress = Callable[[str, float], None]
"""Called with what is being done and the share of it that is done, 0 to 1."""

FEWEST_QUERIES = 10
"""With fewer, none is held out: validation then asks made-up queries."""

_WARM_UP = 0.01


@dataclass(frozen=True, slots=True)
class TrainedHead:
    """What a run yields.

    Attributes:
        head: The weights of the best validation, rounded to half precision (as they are stored), in float32.
        losses: Mean loss since the validation before, one per validation.
        validations: The held-out results, in the order of the steps.
        steps: Steps taken.
        elapsed_s: Time of the whole run, neighbours and validations included.
    """

    head: KSparseAutoEncoder
    losses: list[float]
    validations: list[ValidationResult]
    steps: int
    elapsed_s: float

    @property
    def best(self) -> ValidationResult:
        """The validation that the head's weights come from."""
        return max(self.validations, key=lambda result: result.score)


def train_head(
    data: TrainingData,
    settings: TrainingSettings,
    *,
    base_model: str = "",
    special_ids: Sequence[int] = (),
    device: str | torch.device = "cpu",
    progress: Progress | None = None,
) -> TrainedHead:
    """Train a head on embeddings.

    Args:
        data: Embeddings of the dense model. Neither recipe needs queries; `retrieval` gains by them.
        settings: The recipe and all that decides the result.
        base_model: Name of the dense model, kept in the head's configuration.
        special_ids: Tokens that the dense model's tokenizer adds by itself.
        device: Where to train.
        progress: Told how far it is.

    Raises:
        EncoderError: The loss is no longer finite.
    """
    started = time.monotonic()
    report = progress or (lambda _task, _share: None)
    torch.manual_seed(settings.seed)
    if not settings.lexical:
        data = replace(data, document_tokens=None, query_tokens=None)
    statistics = data.statistics(special_ids) if settings.recipe == "retrieval" else None
    head = _new_head(data, settings, base_model).to(device)
    objective, validation = _set_up(head, data, statistics, settings, report)
    optimizer = torch.optim.Adam(objective.parameters(), lr=settings.learning_rate)

    losses: list[float] = []
    validations: list[ValidationResult] = []
    best: dict[str, Tensor] = {}
    recent: list[float] = []
    steps, done, loop_started = 0, 0.0, time.monotonic()
    while done < 1.0:
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * min(1.0, (done + 1e-3) / _WARM_UP) * (1.0 - done)
        loss = objective.loss()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        steps += 1
        recent.append(loss.item())
        if not np.isfinite(recent[-1]):
            raise EncoderError(f"The loss became {recent[-1]} at step {steps}; lower learning_rate and train again.")
        elapsed_s = time.monotonic() - loop_started
        done = min(1.0, max(steps / settings.steps, elapsed_s / (settings.max_seconds or float("inf"))))
        report("training", done)
        if done * settings.validations < len(validations) + 1:
            continue
        losses.append(float(np.mean(recent)))
        recent.clear()
        validations.append(validation.run(head, steps))
        scores = [result.score for result in validations]
        if scores[-1] == max(scores):
            best = {name: tensor.detach().clone() for name, tensor in objective.state_dict().items()}
        elif len(scores) - 1 - int(np.argmax(scores)) >= settings.patience:
            break
    objective.load_state_dict(best)
    objective.finish()
    head = head.cpu().half().float().eval()
    return TrainedHead(head, losses, validations, steps, time.monotonic() - started)


def _set_up(
    head: KSparseAutoEncoder,
    data: TrainingData,
    statistics: Sequence[CorpusStatistics] | None,
    settings: TrainingSettings,
    report: Progress,
) -> tuple[PaperObjective | RetrievalObjective, Validation]:
    device = head.encoder.weight.device
    known = statistics or [head.statistics] * len(data.corpora)
    neighbours = nearest_neighbours(
        data, settings.num_neighbours, device, progress=lambda share: report("finding neighbours", share)
    )
    if len(data.queries) < FEWEST_QUERIES:
        maker = NeighbourBatches(data, neighbours, batch_size=8, neighbours_per_seed=8, seed=settings.seed + 1)
        rows = np.random.default_rng(settings.seed).permutation(len(data.documents))[: settings.validation_queries]
        made_up = TrainingData(data.documents, maker.make_queries(rows), rows, data.corpus_starts)
        _, validation = hold_out(made_up, known, settings.validation_queries, settings.seed, share=1.0)
    else:
        data, validation = hold_out(data, known, settings.validation_queries, settings.seed)
    if statistics is None:
        return PaperObjective(head, data, settings), validation
    return RetrievalObjective(head, data, neighbours, statistics, settings), validation


def _new_head(data: TrainingData, settings: TrainingSettings, base_model: str) -> KSparseAutoEncoder:
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
    )
    with torch.no_grad():
        # Directions of equal length: no latent starts with an advantage.
        head.encoder.weight.copy_(torch.nn.functional.normalize(torch.randn_like(head.encoder.weight), dim=1))
        head.encoder.bias.zero_()
    return head
