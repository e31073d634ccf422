"""Any system, asked with query embeddings that no transformer made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from opensearchpy import OpenSearch

from benchmarks.datasets import EncodedSet
from benchmarks.systems.base import Encoding, Probe, Request, System
from connector.types import Hit

_STATIC: dict[Encoding | None, Literal["static", "static features"]] = {
    "dense": "static",
    "features": "static features",
}


@dataclass(frozen=True, slots=True)
class StaticQueries:
    """Shares the index of the system that it asks.

    Attributes:
        system: What is asked.
        asked: The set, with the queries as the query model has them.
    """

    system: System
    asked: EncodedSet

    @property
    def name(self) -> str:
        """The system's, and how it is asked."""
        return f"{self.system.name}, static queries"

    @property
    def index(self) -> str:
        """The system's."""
        return self.system.index

    @property
    def knob(self) -> str:
        """The system's."""
        return self.system.knob

    @property
    def encoding(self) -> Encoding | None:
        """By the query model instead of the dense one."""
        return _STATIC.get(self.system.encoding)

    def configure(self, client: OpenSearch) -> None:
        """Create the system's index."""
        self.system.configure(client)

    def upload(self, client: OpenSearch, data: EncodedSet) -> None:
        """Write the system's documents."""
        self.system.upload(client, data)

    def prepare(self, data: EncodedSet) -> list[Request]:
        """Build the system's requests of the other queries."""
        return self.system.prepare(self.asked)

    def probes(self, data: EncodedSet, rows: Sequence[int]) -> list[Probe]:
        """The system's."""
        return self.system.probes(data, rows)

    def search(self, client: OpenSearch, request: Request) -> list[Hit]:
        """Answer one request."""
        return self.system.search(client, request)
