"""Compute items of an iterable ahead, in a thread."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from queue import Full, Queue
from threading import Event, Thread
from typing import TypeVar

T = TypeVar("T")
_POLL_S = 0.05


def prefetched(items: Iterable[T], depth: int) -> Iterator[T]:
    """Yield the items in order, computing up to `depth` of them ahead in a thread.

    An exception is raised where the item would be yielded. The thread ends with the iteration.
    """
    queue: Queue[Future[T] | None] = Queue(depth)
    over = Event()

    def put(made: Future[T] | None) -> None:
        while not over.is_set():
            try:
                return queue.put(made, timeout=_POLL_S)
            except Full:
                continue

    def make() -> None:
        try:
            for item in items:
                made: Future[T] = Future()
                made.set_result(item)
                put(made)
                if over.is_set():
                    return
            put(None)
        except BaseException as error:  # raised in the consumer
            failed: Future[T] = Future()
            failed.set_exception(error)
            put(failed)

    Thread(target=make, daemon=True, name="prefetch").start()
    try:
        while (made := queue.get()) is not None:
            yield made.result()
    finally:
        over.set()
