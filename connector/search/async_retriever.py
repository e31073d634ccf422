"""`Retriever` for asyncio programs."""

from __future__ import annotations

from connector.search.retriever import Retriever
from connector.search.threads import InThreads, awaited, iterated


class AsyncRetriever(InThreads[Retriever]):
    """A `Retriever` whose methods are awaited and run in threads, so they do not block the event loop.

    A search encodes its query (CPU work) and then waits for the server; both happen in a thread. opensearch-py clients
    are thread-safe: set the client's `pool_maxsize` to the number of concurrent searches.

    Args:
        retriever: The wrapped retriever; it may also be used directly.
    """

    def __init__(self, retriever: Retriever) -> None:
        super().__init__(retriever)
        self.retriever = retriever

    search = awaited(Retriever.search)
    search_many = awaited(Retriever.search_many)
    pages = iterated(Retriever.pages)
    search_hybrid = awaited(Retriever.search_hybrid)
    explain = awaited(Retriever.explain)
