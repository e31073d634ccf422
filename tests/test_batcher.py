"""Concurrent texts are encoded together, and errors affect only their own request."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from connector.service.batcher import Batcher, OverloadedError


class Doubling:
    """Work that waits at a gate, and remembers its batches."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, batch: list[int]) -> Sequence[int | Exception]:
        self.batches.append(batch)
        assert self.gate.wait(30)
        return [2 * item if item >= 0 else ValueError(f"{item} is negative") for item in batch]


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as executor:
        yield executor


@pytest.fixture
def work() -> Doubling:
    return Doubling()


@pytest.fixture
def batcher(work: Doubling, executor: ThreadPoolExecutor) -> Batcher[int, int]:
    return Batcher(work, executor, max_batch=4, max_waiting=6)


async def until_running(work: Doubling, batches: int = 1) -> None:
    while len(work.batches) < batches:
        await asyncio.sleep(0.001)


def test_one_item_does_not_wait_for_others(batcher: Batcher[int, int], work: Doubling) -> None:
    assert asyncio.run(batcher.submit([3])) == [6]
    assert work.batches == [[3]]


def test_what_arrives_during_a_batch_is_the_next_one(batcher: Batcher[int, int], work: Doubling) -> None:
    async def ask() -> list[list[int]]:
        work.gate.clear()
        first = asyncio.ensure_future(batcher.submit([1]))
        await until_running(work)
        others = [asyncio.ensure_future(batcher.submit([item])) for item in (2, 3, 4, 5, 6)]
        await asyncio.sleep(0)
        work.gate.set()
        return [*await asyncio.gather(first, *others)]

    assert asyncio.run(ask()) == [[2], [4], [6], [8], [10], [12]]
    assert work.batches == [[1], [2, 3, 4, 5], [6]]


def test_only_the_item_that_failed_has_an_error(batcher: Batcher[int, int], work: Doubling) -> None:
    async def ask() -> list[list[int] | BaseException]:
        work.gate.clear()
        first = asyncio.ensure_future(batcher.submit([1]))
        await until_running(work)
        both = [asyncio.ensure_future(batcher.submit([item])) for item in (-2, 3)]
        await asyncio.sleep(0)
        work.gate.set()
        return await asyncio.gather(first, *both, return_exceptions=True)

    one, failed, three = asyncio.run(ask())
    assert (one, three) == ([2], [6])
    assert isinstance(failed, ValueError) and str(failed) == "-2 is negative"


def test_work_that_fails_fails_each_item_and_the_next_batch_runs(executor: ThreadPoolExecutor) -> None:
    broken = [True]

    def work(batch: list[int]) -> list[int]:
        if broken.pop():
            raise RuntimeError("no memory")
        return batch

    async def ask() -> list[int]:
        batcher: Batcher[int, int] = Batcher(work, executor, max_batch=4, max_waiting=6)
        with pytest.raises(RuntimeError, match="no memory"):
            await batcher.submit([1, 2])
        broken.append(False)
        return await batcher.submit([3])

    assert asyncio.run(ask()) == [3]


def test_a_caller_that_leaves_takes_its_items_along(batcher: Batcher[int, int], work: Doubling) -> None:
    async def ask() -> list[list[int]]:
        work.gate.clear()
        first = asyncio.ensure_future(batcher.submit([1]))
        await until_running(work)
        leaving = asyncio.ensure_future(batcher.submit([2, 3]))
        staying = asyncio.ensure_future(batcher.submit([4]))
        await asyncio.sleep(0)
        assert batcher.waiting == 3
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        assert batcher.waiting == 1
        work.gate.set()
        return [*await asyncio.gather(first, staying)]

    assert asyncio.run(ask()) == [[2], [8]]
    assert work.batches == [[1], [4]]


def test_a_caller_that_leaves_a_running_batch_costs_the_others_nothing(
    batcher: Batcher[int, int], work: Doubling
) -> None:
    async def ask() -> list[list[int]]:
        work.gate.clear()
        first = asyncio.ensure_future(batcher.submit([1]))
        await until_running(work)
        pair = [asyncio.ensure_future(batcher.submit([item])) for item in (2, 3)]
        await asyncio.sleep(0)
        work.gate.set()
        await until_running(work, 2)
        pair[0].cancel()
        return [*await asyncio.gather(first, pair[1])]

    assert asyncio.run(ask()) == [[2], [6]]


def test_more_than_may_wait_are_refused_whole(batcher: Batcher[int, int], work: Doubling) -> None:
    async def ask() -> list[list[int]]:
        work.gate.clear()
        first = asyncio.ensure_future(batcher.submit([0]))
        await until_running(work)
        waiting = asyncio.ensure_future(batcher.submit([1, 2, 3, 4, 5]))
        await asyncio.sleep(0)
        with pytest.raises(OverloadedError, match="5 texts are queued .* 2 more would exceed the limit of 6"):
            await batcher.submit([6, 7])
        work.gate.set()
        return [*await asyncio.gather(first, waiting)]

    assert asyncio.run(ask()) == [[0], [2, 4, 6, 8, 10]]
