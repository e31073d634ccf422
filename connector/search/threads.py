"""Asynchronous versions of classes: the same methods, run in threads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterator
from contextlib import suppress
from functools import update_wrapper
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

W = TypeVar("W")
W_co = TypeVar("W_co", covariant=True)
P = ParamSpec("P")
R = TypeVar("R")


class InThreads(Generic[W_co]):
    """Base of classes whose methods run another object's methods in threads.

    Args:
        wrapped: The object; it may also be used directly.
    """

    def __init__(self, wrapped: W_co) -> None:
        self.wrapped = wrapped


def in_thread(method: Callable[P, R]) -> Callable[P, Coroutine[Any, Any, R]]:
    """Return an asynchronous version of a function or method, run in asyncio's thread pool."""

    async def run(*args: P.args, **kwargs: P.kwargs) -> R:
        return await asyncio.to_thread(method, *args, **kwargs)

    update_wrapper(run, method)
    return run


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
        end = object()
        try:
            while (value := await asyncio.to_thread(next, values, end)) is not end:
                yield value  # type: ignore[misc]
        finally:
            if isinstance(values, Generator):
                with suppress(ValueError):  # after a cancellation, its thread may still run
                    await asyncio.to_thread(values.close)

    update_wrapper(run, method)
    return run
