"""Join what arrives at the same time into one pass of the encoder."""

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
    """More waits than may wait; the same may be sent again a little later."""


class _Waiting(NamedTuple, Generic[Item, Result]):
    item: Item
    answer: asyncio.Future[Result]


class Batcher(Generic[Item, Result]):
    """Runs a function on items that arrive one by one, several at once where several wait.

    An item that arrives while nothing runs starts at once; those that arrive meanwhile are the next batch. So nobody
    waits longer than one batch takes, a few milliseconds for queries.

    Belongs to one event loop. A caller that is cancelled takes its items out of the queue; those of a running batch are
    computed, and their results dropped. The other items of that batch notice nothing.

    Args:
        work: From a batch to one result each, or an exception in a result's place. Runs in the executor. An exception
            that it raises is that of every item of the batch.
        executor: Where it runs.
        max_batch: Items of a batch.
        max_waiting: Items that wait beside the running ones.
        on_batch: Is told the size of each batch.
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
        """Items that no batch has taken yet."""
        return len(self._waiting)

    async def submit(self, items: Sequence[Item]) -> list[Result]:
        """Return the result of each item; all of them wait or none.

        Raises:
            OverloadedError: There is no room for them.
            Exception: What the first item that failed raised.
        """
        if len(self._waiting) + len(items) > self._max_waiting:
            raise OverloadedError(
                f"{len(self._waiting)} texts wait for the encoder and {len(items)} more would be above the limit of "
                f"{self._max_waiting}; send them again later."
            )
        loop = asyncio.get_running_loop()
        entries = [_Waiting(item, loop.create_future()) for item in items]
        self._waiting.extend(entries)
        if self._runner is None:
            self._runner = loop.create_task(self._run())
        try:
            # What one item raises must not leave the exceptions of others unread.
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
