"""Checkpoints, from which a stopped training run resumes."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import numpy as np
import torch

from connector.errors import EncoderError
from connector.files import written_whole

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    class Scored(DataclassInstance, Protocol):
        """A validation result with a score."""

        @property
        def score(self) -> float:
            """Higher is better."""
            ...


Result = TypeVar("Result", bound="Scored")
"""Type of a validation result."""


@dataclass(slots=True)
class TrainingState(Generic[Result]):
    """State of a training run, except for its objective and optimizer.

    Attributes:
        steps: Number of steps.
        elapsed_s: Duration, including validations.
        recent: Losses since the last validation.
        losses: Mean loss before each validation.
        validations: Results on held-out queries.
        best: Weights of the best validation, or without `patience` of the last one.
    """

    steps: int = 0
    elapsed_s: float = 0.0
    recent: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    validations: list[Result] = field(default_factory=list)
    best: dict[str, torch.Tensor] = field(default_factory=dict)


class Objective(torch.nn.Module):
    """A model in training with its batches and loss."""

    @property
    def generators(self) -> list[np.random.Generator]:
        """Random generators of the batches, whose state is part of a checkpoint."""
        raise NotImplementedError


class Checkpoint(Generic[Result]):
    """File with the state of a run.

    Args:
        path: The file, which need not exist; writes are atomic. None disables checkpoints.
        settings: Settings of the run; a file with other settings is refused.
        result_type: Type of its validation results.
        **facts: What else identifies the run, by name.
    """

    def __init__(self, path: Path | None, settings: DataclassInstance, result_type: type[Result], **facts: str) -> None:
        self.path = path
        self._result_type = result_type
        self._settings = asdict(settings) | facts

    def save(self, run: TrainingState[Result], objective: Objective, optimizer: torch.optim.Optimizer) -> None:
        """Write all state that the next step depends on."""
        if self.path is None:
            return
        state = {
            "settings": self._settings,
            "steps": run.steps,
            "elapsed_s": run.elapsed_s,
            "recent": run.recent,
            "losses": run.losses,
            "validations": [asdict(result) for result in run.validations],
            "best": run.best,
            "objective": objective.state_dict(),
            "optimizer": optimizer.state_dict(),
            "generators": [generator.bit_generator.state for generator in objective.generators],
            "torch_generators": [torch.get_rng_state(), *torch.cuda.get_rng_state_all()],
        }
        with written_whole(self.path) as file:
            torch.save(state, file)

    def load(self, objective: Objective, optimizer: torch.optim.Optimizer) -> TrainingState[Result]:
        """Restore the state if the file exists, else return a new state.

        Raises:
            EncoderError: The file belongs to a run with other settings, or cannot be read.
        """
        if self.path is None or not self.path.is_file():
            return TrainingState()
        try:
            state: dict[str, Any] = torch.load(self.path, map_location="cpu", weights_only=True)
            recorded = state["settings"]
        except (OSError, RuntimeError, KeyError, ValueError, EOFError, UnpicklingError) as error:
            raise EncoderError(f"{self.path} cannot be read ({error}); delete it to start over.") from error
        other = [name for name, value in self._settings.items() if recorded.get(name) != value]
        if other:
            raise EncoderError(
                f"{self.path} belongs to a run with another {' and '.join(other)}; use the same options to resume, or "
                "delete the file to start over."
            )
        try:
            objective.load_state_dict(state["objective"])
            optimizer.load_state_dict(state["optimizer"])
        except (RuntimeError, ValueError, KeyError) as error:
            raise EncoderError(
                f"{self.path} belongs to a run on another model or other data, or of another version; delete it to "
                "start over."
            ) from error
        for generator, recorded_state in zip(objective.generators, state["generators"], strict=True):
            generator.bit_generator.state = recorded_state
        of_cpu, *of_gpus = state["torch_generators"]
        torch.set_rng_state(of_cpu)
        if len(of_gpus) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all(of_gpus)
        return TrainingState(
            steps=state["steps"],
            elapsed_s=state["elapsed_s"],
            recent=state["recent"],
            losses=state["losses"],
            validations=[self._result_type(**result) for result in state["validations"]],
            best=state["best"],
        )

    def clear(self) -> None:
        """Delete the file after the run is complete."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)
