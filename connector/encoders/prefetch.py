"""Make the next items while the last one is used."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from queue import Full, Queue
from threading import Event, Thread
from typing import TypeVar

T = TypeVar("T")
_POLL_S = 0.05


def prefetched(items: Iterable[T], depth: int) -> Iterator[T]:
    """Yield the items in their order, up to `depth` of them made ahead by a thread of its own.

    What making an item raises is raised where it would be yielded. The thread ends when the iteration does.
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
        except BaseException as error:  # raised where it is asked for
            failed: Future[T] = Future()
            failed.set_exception(error)
            put(failed)

    Thread(target=make, daemon=True, name="prefetch").start()
    try:
        while (made := queue.get()) is not None:
            yield made.result()
    finally:
        over.set()
