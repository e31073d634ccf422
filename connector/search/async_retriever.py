"""The retriever for programs that run an event loop: the same methods, awaited."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import update_wrapper
from typing import Any, Concatenate, ParamSpec, TypeVar

from connector.search.retriever import Retriever

P = ParamSpec("P")
R = TypeVar("R")


def _awaited(
    method: Callable[Concatenate[Retriever, P], R],
) -> Callable[Concatenate[AsyncRetriever, P], Coroutine[Any, Any, R]]:
    """The same method, run in a thread of asyncio's pool."""

    async def run(self: AsyncRetriever, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return await asyncio.to_thread(method, self.retriever, *args, **kwargs)

    update_wrapper(run, method)
    return run


class AsyncRetriever:
    """Searches as a `Retriever` does, without holding up the event loop.

    A search encodes its query, which keeps a processor busy, and then waits for the server; both happen in a thread.
    Clients of opensearch-py may be shared by threads: give theirs a `pool_maxsize` of as many searches as run at once.

    Args:
        retriever: Does the work; it may be used directly as well.
    """

    def __init__(self, retriever: Retriever) -> None:
        self.retriever = retriever

    search = _awaited(Retriever.search)
    search_many = _awaited(Retriever.search_many)
    search_hybrid = _awaited(Retriever.search_hybrid)
    explain = _awaited(Retriever.explain)
