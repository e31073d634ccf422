"""`SparseIndex` for asyncio programs."""

from __future__ import annotations

from connector.search.sparse_index import SparseIndex
from connector.search.threads import InThreads, awaited


class AsyncSparseIndex(InThreads[SparseIndex]):
    """A `SparseIndex` whose methods are awaited and run in threads, so they do not block the event loop.

    Args:
        index: The wrapped index; it may also be used directly.
    """

    def __init__(self, index: SparseIndex) -> None:
        super().__init__(index)
        self.index = index

    prepare = awaited(SparseIndex.prepare)
    add = awaited(SparseIndex.add)
    update = awaited(SparseIndex.update)
    delete = awaited(SparseIndex.delete)
    get = awaited(SparseIndex.get)
    count = awaited(SparseIndex.count)
    search = awaited(SparseIndex.search)
    explain = awaited(SparseIndex.explain)
    tune = awaited(SparseIndex.tune)
    exists = awaited(SparseIndex.exists)
    close = awaited(SparseIndex.close)
