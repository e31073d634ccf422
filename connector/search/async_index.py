"""A sparse index for programs that run an event loop: the same methods, awaited."""

from __future__ import annotations

from connector.search.sparse_index import SparseIndex
from connector.search.threads import InThreads, awaited


class AsyncSparseIndex(InThreads[SparseIndex]):
    """Does as a `SparseIndex` does, without holding up the event loop.

    Args:
        index: Does the work; it may be used directly as well.
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
