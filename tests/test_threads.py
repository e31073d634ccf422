"""Methods and iterators that run in threads beside an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from connector.errors import BulkWriteError
from connector.search.threads import InThreads, iterated, streamed
from tests.patience import PATIENCE_S

MANY = 5_000
"""More than may wait for the thread."""


async def numbers(count: int = MANY) -> AsyncIterator[int]:
    for number in range(count):
        yield number


async def test_all_items_reach_the_function_in_order() -> None:
    def collect(items: Iterator[int], *, stopped: Event) -> list[int]:
        return list(items)

    assert await streamed(collect, numbers()) == list(range(MANY))
    assert await streamed(collect, numbers(0)) == []


async def test_the_function_works_while_items_arrive() -> None:
    taken = Event()

    def first(items: Iterator[int], *, stopped: Event) -> list[int]:
        begun = [next(items)]
        taken.set()
        return begun + list(items)

    async def slowly() -> AsyncIterator[int]:
        yield 0
        assert await asyncio.to_thread(taken.wait, PATIENCE_S)
        yield 1

    assert await streamed(first, slowly()) == [0, 1]


async def test_items_may_need_the_threads_of_asyncio() -> None:
    """As files, connections to databases and look-ups of names do; many streams leave them some."""
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(2))

    async def slowly() -> AsyncIterator[int]:
        for number in range(3):
            yield await asyncio.to_thread(int, number)

    def collect(items: Iterator[int], *, stopped: Event) -> list[int]:
        return list(items)

    streams = asyncio.gather(*(streamed(collect, slowly()) for _ in range(4)))
    assert await asyncio.wait_for(streams, PATIENCE_S) == [[0, 1, 2]] * 4


async def test_few_items_wait_for_a_slow_function() -> None:
    awaited = 0
    proceed = Event()

    async def counted() -> AsyncIterator[int]:
        nonlocal awaited
        for number in range(MANY):
            awaited += 1
            yield number

    def wait(items: Iterator[int], *, stopped: Event) -> int:
        assert proceed.wait(PATIENCE_S)
        return sum(1 for _ in items)

    running = asyncio.create_task(streamed(wait, counted()))
    before = -1
    while awaited != before:  # until it waits
        before = awaited
        await asyncio.sleep(0.05)
    assert 1 < awaited < MANY
    proceed.set()
    assert await running == MANY


async def test_an_error_of_the_items_is_raised_in_the_function_and_to_the_caller() -> None:
    seen: list[BaseException] = []

    async def failing() -> AsyncIterator[int]:
        yield 0
        raise ConnectionError("the queue is away")

    def collect(items: Iterator[int], *, stopped: Event) -> None:
        try:
            list(items)
        except ConnectionError as error:
            seen.append(error)
            raise

    with pytest.raises(ConnectionError, match="the queue is away") as caught:
        await streamed(collect, failing())
    assert seen == [caught.value]


async def test_an_error_of_the_function_ends_the_items() -> None:
    def refuse(items: Iterator[int], *, stopped: Event) -> None:
        next(items)
        raise BulkWriteError("the index was deleted")

    async def endless() -> AsyncIterator[int]:
        while True:
            yield 0

    with pytest.raises(BulkWriteError, match="the index was deleted"):
        await streamed(refuse, endless())


async def test_a_cancelled_call_stops_the_function() -> None:
    waiting, ended = Event(), Event()
    state: list[object] = []

    def collect(items: Iterator[int], *, stopped: Event) -> None:
        try:
            state.append(next(items))
            waiting.set()
            next(items)
        except BulkWriteError as error:
            state.append((str(error), stopped.wait(PATIENCE_S)))
            raise
        finally:
            ended.set()

    async def one() -> AsyncIterator[int]:
        yield 7
        await asyncio.sleep(PATIENCE_S)

    running = asyncio.create_task(streamed(collect, one()))
    assert await asyncio.to_thread(waiting.wait, PATIENCE_S)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert await asyncio.to_thread(ended.wait, PATIENCE_S)
    assert state == [7, ("Stopped: the call was cancelled.", True)]


class Paged:
    """Gives pages, and takes its time to release what they hold."""

    def __init__(self) -> None:
        self.releasing, self.proceed, self.released = Event(), Event(), Event()

    def pages(self) -> Iterator[int]:
        try:
            yield from range(MANY)
        finally:
            self.releasing.set()
            assert self.proceed.wait(PATIENCE_S)
            self.released.set()


class AsyncPaged(InThreads[Paged]):
    pages = iterated(Paged.pages)

    async def close(self) -> None:
        await self._end_iterators()


async def test_closing_waits_for_pages_that_are_being_released() -> None:
    """Otherwise the client would be closed before their point in time is."""
    paged = Paged()
    twin = AsyncPaged(paged)
    pages = twin.pages()
    assert await anext(pages) == 0
    left = asyncio.create_task(pages.aclose())
    assert await asyncio.to_thread(paged.releasing.wait, PATIENCE_S)
    closing = asyncio.create_task(twin.close())
    await asyncio.sleep(0.1)
    assert not closing.done()
    paged.proceed.set()
    await closing
    assert paged.released.is_set()
    await left
