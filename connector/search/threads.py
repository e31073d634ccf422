"""Asynchronous versions of classes: the same methods, run in threads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterable, Iterator
from contextlib import suppress
from functools import update_wrapper
from threading import Event
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

from connector.errors import BulkWriteError

W = TypeVar("W")
W_co = TypeVar("W_co", covariant=True)
P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


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
            await asyncio.to_thread(_end, self._iterators.pop())


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


def _end(values: Iterator[Any]) -> None:
    if isinstance(values, Generator):
        with suppress(ValueError):  # after a cancellation, its thread may still run
            values.close()
