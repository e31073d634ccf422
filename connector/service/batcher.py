"""Batch concurrent requests into one forward pass."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from typing import Generic, NamedTuple, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class OverloadedError(Exception):
    """The queue is full; the request can be repeated later."""


class _Waiting(NamedTuple, Generic[Item, Result]):
    item: Item
    answer: asyncio.Future[Result]


class Batcher(Generic[Item, Result]):
    """Runs a function on batches of items that arrive one by one.

    An item that arrives while idle starts immediately; items that arrive meanwhile form the next batch. So an item
    waits at most for one batch, a few milliseconds for queries.

    Belongs to one event loop. Cancelling a caller removes its items from the queue; results of a running batch are
    dropped. Other items of the batch are not affected.

    Args:
        work: Maps a batch to one result or exception per item; runs in the executor. If it raises, every item of the
            batch fails.
        executor: Executor of `work`.
        max_batch: Maximum items per batch.
        max_waiting: Maximum items in the queue.
        on_batch: Called with the size of each batch.
    """

    def __init__(
        self,
        work: Callable[[list[Item]], Sequence[Result | Exception]],
        executor: Executor,
        *,
        max_batch: int,
        max_waiting: int,
        on_batch: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._work = work
        self._executor = executor
        self._max_batch = max_batch
        self._max_waiting = max_waiting
        self._on_batch = on_batch
        self._waiting: deque[_Waiting[Item, Result]] = deque()
        self._runner: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """Number of items in the queue."""
        return len(self._waiting)

    async def submit(self, items: Sequence[Item]) -> list[Result]:
        """Queue all items or none, and return their results.

        Raises:
            OverloadedError: The queue is full.
            Exception: The error of the first failed item.
        """
        if len(self._waiting) + len(items) > self._max_waiting:
            raise OverloadedError(
                f"{len(self._waiting)} texts are queued for the encoder and {len(items)} more would exceed the limit "
                f"of {self._max_waiting}; send them again later."
            )
        loop = asyncio.get_running_loop()
        entries = [_Waiting(item, loop.create_future()) for item in items]
        self._waiting.extend(entries)
        if self._runner is None:
            self._runner = loop.create_task(self._run())
        try:
            # Retrieve all exceptions, even if one is raised.
            answers = await asyncio.gather(*(entry.answer for entry in entries), return_exceptions=True)
        except asyncio.CancelledError:
            for entry in entries:
                with suppress(ValueError):
                    self._waiting.remove(entry)
            raise
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        return [answer for answer in answers if not isinstance(answer, BaseException)]

    async def _run(self) -> None:
        try:
            while self._waiting:
                size = min(self._max_batch, len(self._waiting))
                batch = [self._waiting.popleft() for _ in range(size)]
                self._on_batch(size)
                await self._answer(batch)
        finally:
            self._runner = None

    async def _answer(self, batch: list[_Waiting[Item, Result]]) -> None:
        loop = asyncio.get_running_loop()
        results: Sequence[Result | Exception]
        try:
            results = await loop.run_in_executor(self._executor, self._work, [entry.item for entry in batch])
        except Exception as error:
            results = [error] * len(batch)
        for entry, result in zip(batch, results, strict=True):
            if entry.answer.done():  # its caller was cancelled
                continue
            if isinstance(result, Exception):
                entry.answer.set_exception(result)
            else:
                entry.answer.set_result(result)
