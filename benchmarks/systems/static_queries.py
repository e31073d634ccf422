"""Any system with queries of a static query encoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from benchmarks.datasets import EncodedSet
from benchmarks.systems.base import Encoding, Request, System
from benchmarks.systems.passed_on import PassedOn

_STATIC: dict[Encoding | None, Literal["static", "static features"]] = {
    "dense": "static",
    "features": "static features",
}


@dataclass(frozen=True, slots=True)
class StaticQueries(PassedOn[System]):
    """Searches the index of another system.

    Attributes:
        system: The system.
        asked: The set with queries encoded by the query model.
    """

    asked: EncodedSet

    @property
    def name(self) -> str:
        """Name of the system with a suffix."""
        return f"{self.system.name}, static queries"

    @property
    def encoding(self) -> Encoding | None:
        """By the query model instead of the dense model."""
        return _STATIC.get(self.system.encoding)

    def prepare(self, data: EncodedSet) -> list[Request]:  # noqa: ARG002
        """Build the system's requests for the query model's queries."""
        return self.system.prepare(self.asked)
