"""The training loop: steps, learning rate schedule, validations, checkpoints."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from connector.encoders.thresholds import Thresholding
from connector.errors import EncoderError
from connector.training.checkpoint import Checkpoint, Objective, Result, TrainingState

Progress = Callable[[str, float], None]
"""Called with the current task and its completed fraction, 0 to 1."""

_WARM_UP = 0.01
SAVE_EVERY_S = 60.0


class Plan(Protocol):
    """Length of a run and frequency of validations."""

    @property
    def steps(self) -> int:
        """Maximum number of steps."""
        ...

    @property
    def max_seconds(self) -> float | None:
        """Maximum duration."""
        ...

    @property
    def validations(self) -> int:
        """Number of validations, evenly spaced."""
        ...

    @property
    def patience(self) -> int | None:
        """Validations without improvement before the run stops; None runs to the end and keeps the last weights."""
        ...


def parameter_groups(model: nn.Module, *, learning_rate: float, threshold_learning_rate: float) -> list[dict[str, Any]]:
    """Group parameters for an optimizer, with a separate learning rate for thresholds.

    Adam changes a parameter by about its learning rate per step, and thresholds have to move further than weights.

    Args:
        model: The model; its frozen parameters are excluded.
        learning_rate: Learning rate of all parameters except thresholds.
        threshold_learning_rate: Learning rate of the parameters of `Thresholding` modules.
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
    run: TrainingState[Result],
    *,
    checkpoint: Checkpoint[Result],
    loss_at: Callable[[float], Tensor],
    validate: Callable[[int], Result],
    report: Progress,
    save_every_s: float = SAVE_EVERY_S,
) -> None:
    """Train until the run is complete, and update `run`.

    Args:
        objective: The objective to train.
        optimizer: Optimizer of its parameters. Learning rates rise over the first hundredth of the run, then fall
            linearly to 0.
        plan: Length and validations of the run.
        run: State of the run; `best` becomes the weights of the validation with the highest score, or of the last one.
        checkpoint: Stores the state.
        loss_at: Draws a batch and returns its loss, given the completed fraction of the run.
        validate: Validates the objective after this number of steps.
        report: Called with the task and its completed fraction.
        save_every_s: Seconds between two checkpoints.

    Raises:
        EncoderError: The loss is not finite.
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
            if best_validation(run.validations, plan) is run.validations[-1]:
                run.best = snapshot(objective)
            run.elapsed_s = time.monotonic() - started
        if time.monotonic() - saved > save_every_s:
            checkpoint.save(run, objective, optimizer)
            saved = time.monotonic()


def best_validation(validations: Sequence[Result], plan: Plan) -> Result:
    """The validation whose weights are kept: the best one (the last of ties), or without `patience` the last one."""
    return validations[-1] if plan.patience is None else max(reversed(validations), key=lambda result: result.score)


def snapshot(module: torch.nn.Module) -> dict[str, Tensor]:
    """Copy the tensors of a module."""
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}


def _done(run: TrainingState[Result], plan: Plan) -> float:
    """Completed fraction of the run, by steps or by time."""
    return min(1.0, max(run.steps / plan.steps, run.elapsed_s / (plan.max_seconds or float("inf"))))


def _stalled(run: TrainingState[Result], plan: Plan) -> bool:
    scores = [result.score for result in run.validations]
    return bool(scores) and plan.patience is not None and len(scores) - 1 - int(np.argmax(scores)) >= plan.patience
