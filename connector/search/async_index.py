"""`SparseIndex` for asyncio programs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Self

from connector.ingest.ledger import IngestResult
from connector.ingest.update import Change
from connector.search.sparse_index import SparseIndex
from connector.search.threads import InThreads, awaited, interruptible, iterated, stoppable
from connector.search.writable_index import InputRecord


class AsyncSparseIndex(InThreads[SparseIndex]):
    """A `SparseIndex` whose methods are awaited and run in threads, so they do not block the event loop.

    `async with AsyncSparseIndex(SparseIndex("docs")) as index` closes it at the end.

    Args:
        index: The wrapped index; it may also be used directly.

    Raises:
        ValueError: It is no `SparseIndex`.
    """

    def __init__(self, index: SparseIndex) -> None:
        if not isinstance(index, SparseIndex):
            raise ValueError(f"an AsyncSparseIndex wraps a SparseIndex, got {index!r}; pass one.")
        super().__init__(index)
        self.index = index

    prepare = awaited(SparseIndex.prepare)
    delete = awaited(SparseIndex.delete)
    get = awaited(SparseIndex.get)
    count = awaited(SparseIndex.count)
    search = awaited(SparseIndex.search)
    pages = iterated(SparseIndex.pages)
    explain = awaited(SparseIndex.explain)
    tune = awaited(SparseIndex.tune)
    exists = awaited(SparseIndex.exists)

    async def add(
        self,
        documents: Iterable[InputRecord] | AsyncIterable[InputRecord],
        *,
        raise_on_error: bool = True,
        refresh: bool = True,
        progress: Callable[[int], None] | None = None,
    ) -> IngestResult:
        """Encode and write documents, as `SparseIndex.add` does; the iterable may also be asynchronous.

        If it is cancelled, nothing more is sent: documents already written stay indexed.

        Args:
            documents: As for `SparseIndex.add`, or for `SparseIndex.add_async`.
            raise_on_error: As for `SparseIndex.add`.
            refresh: As for `SparseIndex.add`.
            progress: As for `SparseIndex.add`.

        Raises:
            BulkWriteError, ConnectorError: As for `SparseIndex.add`.
        """
        if isinstance(documents, AsyncIterable):
            return await self.index.add_async(
                documents, raise_on_error=raise_on_error, refresh=refresh, progress=progress
            )
        return await stoppable(
            self.index.add, documents, raise_on_error=raise_on_error, refresh=refresh, progress=progress
        )

    async def update(
        self, changes: Iterable[Change | Mapping[str, Any]], *, upsert: bool = False, raise_on_error: bool = True
    ) -> IngestResult:
        """Update documents partially, as `SparseIndex.update` does.

        If it is cancelled, no further changes are read: those of at most one batch are still made.

        Args:
            changes: As for `SparseIndex.update`.
            upsert: As for `SparseIndex.update`.
            raise_on_error: As for `SparseIndex.update`.

        Raises:
            BulkWriteError, ValueError: As for `SparseIndex.update`.
        """
        return await interruptible(self.index.update, changes, upsert=upsert, raise_on_error=raise_on_error)

    async def close(self) -> None:
        """Close the client, unless it was passed in, and release the pages that a loop has left."""
        await self._end_iterators()
        await asyncio.to_thread(self.index.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
