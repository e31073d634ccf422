"""Asynchronous twins of classes: the same methods, run in threads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import update_wrapper
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

W = TypeVar("W")
W_co = TypeVar("W_co", covariant=True)
P = ParamSpec("P")
R = TypeVar("R")


class InThreads(Generic[W_co]):
    """Holds the object whose methods are awaited.

    Args:
        wrapped: Does the work; it may be used directly as well.
    """

    def __init__(self, wrapped: W_co) -> None:
        self.wrapped = wrapped


def awaited(
    method: Callable[Concatenate[W, P], R],
) -> Callable[Concatenate[InThreads[W], P], Coroutine[Any, Any, R]]:
    """The same method, run in a thread of asyncio's pool."""

    async def run(self: InThreads[W], /, *args: P.args, **kwargs: P.kwargs) -> R:
        return await asyncio.to_thread(method, self.wrapped, *args, **kwargs)

    update_wrapper(run, method)
    return run
