"""Run searches in threads, up to a limit."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from threading import BoundedSemaphore
from typing import TypeVar

from connector.service.batcher import OverloadedError

T = TypeVar("T")


class Searches:
    """Runs searches in threads, and refuses those above the limit.

    A thread cannot be interrupted, so a search whose client has disconnected counts until the server has answered:
    otherwise the searches of impatient clients would pile up in front of a slow server.

    Args:
        limit: Maximum number of searches at a time.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._executor = ThreadPoolExecutor(limit, "search")
        self._permits = BoundedSemaphore(limit)

    async def run(self, prepare: Callable[[], Awaitable[object]], search: Callable[[], T]) -> T:
        """Prepare a search in the event loop, run it in a thread and return its result.

        Raises:
            OverloadedError: The limit is reached.
            Exception: The error of either step.
        """
        if not self._permits.acquire(blocking=False):
            raise OverloadedError(f"{self._limit} searches are running, which is the limit; try again later.")
        try:
            await prepare()
            running = self._executor.submit(search)
        except BaseException:
            self._permits.release()
            raise
        running.add_done_callback(lambda _: self._permits.release())
        return await asyncio.wrap_future(running)

    def close(self) -> None:
        """Wait for the running searches."""
        self._executor.shutdown()
