"""Delegate to another system, for systems that modify part of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from opensearchpy import OpenSearch

from benchmarks.datasets import EncodedSet
from benchmarks.systems.base import Encoding, Probe, Request, System
from connector.types import Hit

S_co = TypeVar("S_co", bound=System, covariant=True)


@dataclass(frozen=True, slots=True)
class PassedOn(Generic[S_co]):
    """A system that delegates everything.

    Attributes:
        system: The system to delegate to.
    """

    system: S_co

    @property
    def name(self) -> str:
        """The system's."""
        return self.system.name

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
        """The system's."""
        return self.system.encoding

    def configure(self, client: OpenSearch) -> None:
        """Create the system's index."""
        self.system.configure(client)

    def upload(self, client: OpenSearch, data: EncodedSet) -> None:
        """Write the system's documents."""
        self.system.upload(client, data)

    def prepare(self, data: EncodedSet) -> list[Request]:
        """Build the system's requests."""
        return self.system.prepare(data)

    def probes(self, data: EncodedSet, rows: Sequence[int]) -> list[Probe]:
        """The system's."""
        return self.system.probes(data, rows)

    def search(self, client: OpenSearch, request: Request) -> list[Hit]:
        """Answer one request."""
        return self.system.search(client, request)
