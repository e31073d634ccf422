"""The retriever for programs that run an event loop: the same methods, awaited."""

from __future__ import annotations

from connector.search.retriever import Retriever
from connector.search.threads import InThreads, awaited


class AsyncRetriever(InThreads[Retriever]):
    """Searches as a `Retriever` does, without holding up the event loop.

    A search encodes its query, which keeps a processor busy, and then waits for the server; both happen in a thread.
    Clients of opensearch-py may be shared by threads: give theirs a `pool_maxsize` of as many searches as run at once.

    Args:
        retriever: Does the work; it may be used directly as well.
    """

    def __init__(self, retriever: Retriever) -> None:
        super().__init__(retriever)
        self.retriever = retriever

    search = awaited(Retriever.search)
    search_many = awaited(Retriever.search_many)
    search_hybrid = awaited(Retriever.search_hybrid)
    explain = awaited(Retriever.explain)
