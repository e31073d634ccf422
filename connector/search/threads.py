"""Asynchronous versions of classes: the same methods, run in threads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Coroutine, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial, update_wrapper
from queue import SimpleQueue
from threading import Event
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

from connector.errors import BulkWriteError

W = TypeVar("W")
W_co = TypeVar("W_co", covariant=True)
P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

_MAX_HANDED = 1_000
"""Items of an asynchronous iterable that may wait for the thread."""


class InThreads(Generic[W_co]):
    """Base of classes whose methods run another object's methods in threads.

    Args:
        wrapped: The object; it may also be used directly.
    """

    def __init__(self, wrapped: W_co) -> None:
        self.wrapped = wrapped
        self._iterators: set[Iterator[Any]] = set()

    async def _end_iterators(self) -> None:
        """Release what the iterators hold that a loop has left, before their client is closed."""
        while self._iterators:
            values = self._iterators.pop()
            while not await asyncio.to_thread(_end, values):
                await asyncio.sleep(0.01)


def in_thread(method: Callable[P, R]) -> Callable[P, Coroutine[Any, Any, R]]:
    """Return an asynchronous version of a function or method, run in asyncio's thread pool."""

    async def run(*args: P.args, **kwargs: P.kwargs) -> R:
        return await asyncio.to_thread(method, *args, **kwargs)

    update_wrapper(run, method)
    return run


async def stoppable(function: Callable[..., R], *args: Any, **kwargs: Any) -> R:  # noqa: ANN401
    """Run a function in a thread; a cancellation sets the event that it takes as `stopped`."""
    stopped = Event()
    try:
        return await asyncio.to_thread(function, *args, stopped=stopped, **kwargs)
    except asyncio.CancelledError:
        stopped.set()
        raise


async def interruptible(
    function: Callable[Concatenate[Iterator[T], P], R], items: Iterable[T], *args: P.args, **kwargs: P.kwargs
) -> R:
    """Run a function in a thread; after a cancellation, it fails when it takes the next item."""

    def until(stopped: Event) -> Iterator[T]:
        for item in items:
            if stopped.is_set():
                raise BulkWriteError("Stopped: the call was cancelled.")
            yield item

    return await stoppable(lambda stopped: function(until(stopped), *args, **kwargs))


async def streamed(function: Callable[..., R], items: AsyncIterable[T], **kwargs: Any) -> R:  # noqa: ANN401
    """Run a function in a thread, with an iterator over the items of an asynchronous iterable as its argument.

    The items are awaited in the calling task while the thread works on earlier ones. An error of the iterable is raised
    in the function, and so ends it as an error of any iterator would. A cancellation sets the event that the function
    takes as `stopped`, and fails its iterator. The thread is not one of asyncio's pool, because the items may need one.
    """
    handed: SimpleQueue[T | _Last] = SimpleQueue()
    room = asyncio.Semaphore(_MAX_HANDED)
    loop = asyncio.get_running_loop()
    stopped = Event()

    def arriving() -> Iterator[T]:
        while not isinstance(item := handed.get(), _Last):
            loop.call_soon_threadsafe(room.release)
            yield item
        if item.error is not None:
            raise item.error

    own = ThreadPoolExecutor(1, "stream")
    call = partial(copy_context().run, function, arriving(), stopped=stopped, **kwargs)
    work: asyncio.Future[R] = loop.run_in_executor(own, call)
    own.shutdown(wait=False)
    work.add_done_callback(lambda _: room.release())  # it may end before the items do
    failure: Exception | None = None
    try:
        try:
            async for item in items:
                await room.acquire()
                if work.done():
                    break
                handed.put(item)
        except Exception as error:
            failure = error
        handed.put(_Last(failure))
        return await work
    except BaseException:  # cancelled, or the error of the function, which has ended
        stopped.set()
        work.cancel()
        handed.put(_Last(BulkWriteError("Stopped: the call was cancelled.")))
        raise


class _Last:
    """Comes after the items of `streamed`, with the error that ended them."""

    def __init__(self, error: Exception | None) -> None:
        self.error = error


def awaited(
    method: Callable[Concatenate[W, P], R],
) -> Callable[Concatenate[InThreads[W], P], Coroutine[Any, Any, R]]:
    """Return an asynchronous version of a method of the wrapped object, run in asyncio's thread pool."""

    async def run(self: InThreads[W], /, *args: P.args, **kwargs: P.kwargs) -> R:
        return await asyncio.to_thread(method, self.wrapped, *args, **kwargs)

    update_wrapper(run, method)
    return run


def iterated(
    method: Callable[Concatenate[W, P], Iterator[R]],
) -> Callable[Concatenate[InThreads[W], P], AsyncGenerator[R, None]]:
    """Return an asynchronous version of a method that returns an iterator, which is advanced in threads."""

    async def run(self: InThreads[W], /, *args: P.args, **kwargs: P.kwargs) -> AsyncGenerator[R, None]:
        values = await asyncio.to_thread(method, self.wrapped, *args, **kwargs)
        self._iterators.add(values)
        end = object()
        try:
            while (value := await asyncio.to_thread(next, values, end)) is not end:
                yield value  # type: ignore[misc]
        finally:
            await asyncio.to_thread(_end, values)
            self._iterators.discard(values)

    update_wrapper(run, method)
    return run


def _end(values: Iterator[Any]) -> bool:
    """End a generator; return whether it has ended, or another thread still runs or ends it."""
    if isinstance(values, Generator):
        try:
            values.close()
        except ValueError:
            return False
    return True
