"""A run's state on disk, so that one that was stopped goes on where it was."""

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
        """A dataclass of numbers, one of them to choose by."""

        @property
        def score(self) -> float:
            """The higher, the better."""
            ...


Result = TypeVar("Result", bound="Scored")
"""What a validation yields."""


@dataclass(slots=True)
class Progressed(Generic[Result]):
    """How far a run has come.

    Attributes:
        steps: Steps taken.
        elapsed_s: Time of these steps, validations included.
        recent: Losses since the last validation.
        losses: Mean loss before each validation.
        validations: The held-out results.
        best: The objective's weights at the best of them, or at the last where none is chosen.
    """

    steps: int = 0
    elapsed_s: float = 0.0
    recent: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    validations: list[Result] = field(default_factory=list)
    best: dict[str, torch.Tensor] = field(default_factory=dict)


class Checkpoint(Generic[Result]):
    """One file that holds the state of one run.

    Args:
        path: Written to a neighbour first and then renamed: whole at any moment.
        settings: Of the run; another run's file is refused.
        result_type: Of its validations.
    """

    def __init__(self, path: Path, settings: DataclassInstance, result_type: type[Result]) -> None:
        self.path = path
        self._result_type = result_type
        self._settings = asdict(settings)

    def save(
        self,
        progressed: Progressed[Result],
        objective: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        generators: list[np.random.Generator],
    ) -> None:
        """Write everything that the next step depends on."""
        state = {
            "settings": self._settings,
            "steps": progressed.steps,
            "elapsed_s": progressed.elapsed_s,
            "recent": progressed.recent,
            "losses": progressed.losses,
            "validations": [asdict(result) for result in progressed.validations],
            "best": progressed.best,
            "objective": objective.state_dict(),
            "optimizer": optimizer.state_dict(),
            "generators": [generator.bit_generator.state for generator in generators],
            "torch_generators": [torch.get_rng_state(), *torch.cuda.get_rng_state_all()],
        }
        with written_whole(self.path) as file:
            torch.save(state, file)

    def load(
        self, objective: torch.nn.Module, optimizer: torch.optim.Optimizer, generators: list[np.random.Generator]
    ) -> Progressed[Result]:
        """Take up the state where there is one; else start from nothing.

        Raises:
            EncoderError: The file is of a run with other settings, or cannot be read.
        """
        if not self.path.is_file():
            return Progressed()
        try:
            state: dict[str, Any] = torch.load(self.path, map_location="cpu", weights_only=True)
            kept = state["settings"]
        except (OSError, RuntimeError, KeyError, ValueError, EOFError, UnpicklingError) as error:
            raise EncoderError(f"{self.path} cannot be read ({error}); delete it to start over.") from error
        other = [name for name, value in self._settings.items() if kept.get(name) != value]
        if other:
            raise EncoderError(
                f"{self.path} is of a run with another {' and '.join(other)}; give the same options to go on, or "
                "delete the file to train from the start."
            )
        try:
            objective.load_state_dict(state["objective"])
            optimizer.load_state_dict(state["optimizer"])
        except (RuntimeError, ValueError, KeyError) as error:
            raise EncoderError(
                f"{self.path} is of a run on another model or other data, or by another version; delete it to train "
                "from the start."
            ) from error
        for generator, kept_state in zip(generators, state["generators"], strict=True):
            generator.bit_generator.state = kept_state
        of_cpu, *of_gpus = state["torch_generators"]
        torch.set_rng_state(of_cpu)
        if len(of_gpus) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all(of_gpus)
        return Progressed(
            steps=state["steps"],
            elapsed_s=state["elapsed_s"],
            recent=state["recent"],
            losses=state["losses"],
            validations=[self._result_type(**result) for result in state["validations"]],
            best=state["best"],
        )

    def clear(self) -> None:
        """Delete the file: the run is over."""
        self.path.unlink(missing_ok=True)
