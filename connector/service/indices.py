"""The indices of a service, opened on demand."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from opensearchpy import OpenSearch

from connector.errors import IndexMappingError
from connector.index.names import broken_rule
from connector.service.batcher import OverloadedError
from connector.service.metrics import Metrics
from connector.service.served import ServedIndex
from connector.service.settings import ServiceSettings


class Indices:
    """Opens each index once, even if the client that first requested it disconnects. Belongs to one event loop.

    Args:
        client: A connected client.
        settings: Which indices are served, and how many.
        metrics: Metrics of the service.
    """

    def __init__(self, client: OpenSearch, settings: ServiceSettings, metrics: Metrics) -> None:
        self._client = client
        self._settings = settings
        self._metrics = metrics
        self._executors = ThreadPoolExecutor(1, "encode-queries"), ThreadPoolExecutor(1, "encode-documents")
        self._open: dict[str, ServedIndex] = {}
        self._opening: dict[str, asyncio.Task[ServedIndex]] = {}
        self._lock = asyncio.Lock()
        self._checking = asyncio.Lock()
        self.ready = False

    @property
    def names(self) -> list[str]:
        """Names of the open indices."""
        return sorted(self._open)

    async def open_named(self) -> None:
        """Open the indices that the settings name; errors as in `ServedIndex`."""
        for name in self._settings.indices:
            await self.get(name)
        self.ready = True

    async def get(self, name: str | None) -> ServedIndex:
        """Return an index; None means the only one that is served.

        Raises:
            IndexMappingError: The index is not served, does not exist, or was not created by ksparse.
            OverloadedError: The maximum number of indices is open.
            ValueError: No name is given, but several indices are served.
            ClusterError, EncoderError: As in `ServedIndex`.
        """
        named = self._settings.indices
        if name is None:
            if len(named) != 1:
                raise ValueError(f'this service serves {", ".join(named) or "any index"}; choose one with "index".')
            name = named[0]
        if name in self._open:
            return self._open[name]
        if named and name not in named:
            raise IndexMappingError(f"Index {name!r} is not served here; start `ksparse serve` with its name as well.")
        if broken_rule(name) is not None:
            raise IndexMappingError(f"Invalid index name {name!r}: it {broken_rule(name)}.")
        if name not in self._opening:
            await self._forget_deleted()
        if name in self._open:  # another client opened it meanwhile
            return self._open[name]
        if name not in self._opening:
            if self._is_full:
                limit = self._settings.max_indices
                raise OverloadedError(
                    f"{limit} indices are open, which is the limit; start another service for {name!r}."
                )
            self._opening[name] = asyncio.create_task(self._load(name))
            # If all clients have left when it fails, nobody else asks for its exception, which asyncio would report.
            self._opening[name].add_done_callback(lambda task: task.cancelled() or task.exception())
        # A client that leaves ends its own wait only: the others wait on, and the next one finds the index open.
        return await asyncio.shield(self._opening[name])

    def close(self) -> None:
        """Shut the threads down after their running work."""
        self.ready = False
        for executor in self._executors:
            executor.shutdown()

    @property
    def _is_full(self) -> bool:
        """Whether no other index can be opened; those that the settings name always can."""
        return not self._settings.indices and len(self._open) + len(self._opening) >= self._settings.max_indices

    async def _forget_deleted(self) -> None:
        """At the limit, close indices that were deleted; until then they keep their encoders."""
        async with self._checking:  # one client at a time, and the next one finds the room that was made
            for name, served in [*self._open.items()] if self._is_full else ():
                if not await served.exists():
                    del self._open[name]

    async def _load(self, name: str) -> ServedIndex:
        try:
            async with self._lock:
                self._open[name] = await asyncio.to_thread(self._opened, name)
            return self._open[name]
        finally:
            del self._opening[name]

    def _opened(self, name: str) -> ServedIndex:
        return ServedIndex(
            self._client, name, settings=self._settings, metrics=self._metrics, executors=self._executors
        )
