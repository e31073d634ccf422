"""The loop of every training run: steps, a learning rate that falls, validations, checkpoints."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from connector.encoders.thresholds import Thresholding
from connector.errors import EncoderError
from connector.training.checkpoint import Checkpoint, Progressed, Result

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Progress = Callable[[str, float], None]
"""Called with what is being done and the share of it that is done, 0 to 1."""

_WARM_UP = 0.01
SAVE_EVERY_S = 60.0


class Objective(torch.nn.Module):
    """Owns what is trained, and draws its own batches."""

    @property
    def generators(self) -> list[np.random.Generator]:
        """What batches are drawn by: part of where a run stands."""
        raise NotImplementedError


class Plan(Protocol):
    """How long a run takes, and how often it looks up."""

    @property
    def steps(self) -> int:
        """Updates of the weights, at most."""
        ...

    @property
    def max_seconds(self) -> float | None:
        """Time for them, at most."""
        ...

    @property
    def validations(self) -> int:
        """Validations, evenly spread."""
        ...

    @property
    def patience(self) -> int | None:
        """Validations without a gain after which the run stops; None goes on to the end and keeps the last weights."""
        ...


def take_up(
    path: Path | None,
    settings: DataclassInstance,
    result_type: type[Result],
    objective: Objective,
    optimizer: torch.optim.Optimizer,
) -> tuple[Checkpoint[Result] | None, Progressed[Result]]:
    """Return the checkpoint of a run, None where it keeps none, and where it stands: at its beginning, or as kept.

    Args:
        path: The checkpoint's file, which need not be there.
        settings: Of the run.
        result_type: Of its validations.
        objective: Takes up its weights.
        optimizer: Takes up its state.

    Raises:
        EncoderError: The file is of a run with other settings, or cannot be read.
    """
    if path is None:
        return None, Progressed()
    kept = Checkpoint(path, settings, result_type)
    return kept, kept.load(objective, optimizer, objective.generators)


def parameter_groups(model: nn.Module, *, learning_rate: float, threshold_learning_rate: float) -> list[dict[str, Any]]:
    """What an optimizer takes, thresholds apart from all else: Adam moves a parameter by about its rate each step.

    Args:
        model: Its frozen parameters are left out.
        learning_rate: Of everything but thresholds.
        threshold_learning_rate: Of all parameters of its `Thresholding` modules.
    """
    own = [parameter for each in model.modules() if isinstance(each, Thresholding) for parameter in each.parameters()]
    others = [
        parameter
        for parameter in model.parameters()
        if parameter.requires_grad and not any(parameter is each for each in own)
    ]
    groups: list[dict[str, Any]] = [{"params": others, "lr": learning_rate}]
    return [*groups, {"params": own, "lr": threshold_learning_rate}] if own else groups


def train_loop(
    objective: Objective,
    optimizer: torch.optim.Optimizer,
    plan: Plan,
    run: Progressed[Result],
    *,
    kept: Checkpoint[Result] | None,
    loss_at: Callable[[float], Tensor],
    validate: Callable[[int], Result],
    report: Progress,
    save_every_s: float = SAVE_EVERY_S,
) -> None:
    """Take steps until the run is over; `run` holds where it stands.

    Args:
        objective: Owns what is trained.
        optimizer: Of its parameters. Learning rates rise over the first hundredth of the run, then fall linearly to 0.
        plan: How long, and how often to validate.
        run: Where it stands; `best` is the state of the validation with the highest score, or of the last one.
        kept: The state is saved there, None keeps nothing.
        loss_at: Draws a batch and returns its loss, when that share of the run is over.
        validate: Measures the objective after so many steps.
        report: Called with the current state.
        save_every_s: Seconds between two times that the state is saved.

    Raises:
        EncoderError: The loss is no longer finite.
    """
    rates = [group.setdefault("initial_lr", group["lr"]) for group in optimizer.param_groups]
    started = saved = time.monotonic() - run.elapsed_s
    while (done := _done(run, plan)) < 1.0 and not _stalled(run, plan):
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * min(1.0, (done + 1e-3) / _WARM_UP) * (1.0 - done)
        loss = loss_at(done)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        run.steps += 1
        run.recent.append(loss.item())
        if not np.isfinite(run.recent[-1]):
            raise EncoderError(
                f"The loss became {run.recent[-1]} at step {run.steps}; lower learning_rate and train again."
            )
        run.elapsed_s = time.monotonic() - started
        report("training", _done(run, plan))
        if _done(run, plan) * plan.validations >= len(run.losses) + 1:
            run.losses.append(float(np.mean(run.recent)))
            run.recent.clear()
            run.validations.append(validate(run.steps))
            if chosen_of(run.validations, plan) is run.validations[-1]:
                run.best = copy_state(objective)
            run.elapsed_s = time.monotonic() - started
        if kept is not None and time.monotonic() - saved > save_every_s:
            kept.save(run, objective, optimizer, objective.generators)
            saved = time.monotonic()


def chosen_of(validations: Sequence[Result], plan: Plan) -> Result:
    """The validation whose weights a run keeps: the best, the later one of equals, or the last where none is chosen."""
    return validations[-1] if plan.patience is None else max(reversed(validations), key=lambda result: result.score)


def copy_state(module: torch.nn.Module) -> dict[str, Tensor]:
    """The module's tensors as they are now."""
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}


def _done(run: Progressed[Result], plan: Plan) -> float:
    """The share of the run that is over, by steps or by time."""
    return min(1.0, max(run.steps / plan.steps, run.elapsed_s / (plan.max_seconds or float("inf"))))


def _stalled(run: Progressed[Result], plan: Plan) -> bool:
    scores = [result.score for result in run.validations]
    return bool(scores) and plan.patience is not None and len(scores) - 1 - int(np.argmax(scores)) >= plan.patience
