"""Any system, asked with query embeddings that no transformer made."""

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
    """Shares the index of the system that it asks.

    Attributes:
        system: What is asked.
        asked: The set, with the queries as the query model has them.
    """

    asked: EncodedSet

    @property
    def name(self) -> str:
        """The system's, and how it is asked."""
        return f"{self.system.name}, static queries"

    @property
    def encoding(self) -> Encoding | None:
        """By the query model instead of the dense one."""
        return _STATIC.get(self.system.encoding)

    def prepare(self, data: EncodedSet) -> list[Request]:  # noqa: ARG002
        """Build the system's requests of the other queries."""
        return self.system.prepare(self.asked)
