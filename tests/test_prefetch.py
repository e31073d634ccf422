from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from connector.encoders.prefetch import prefetched
from tests.patience import PATIENCE_S, wait_until


def test_items_come_in_their_order() -> None:
    assert list(prefetched(iter(range(50)), 3)) == list(range(50))


def test_the_next_items_are_made_while_one_is_used() -> None:
    made: list[int] = []
    enough = threading.Event()

    def items() -> Iterator[int]:
        for item in range(10):
            made.append(item)
            if item == 3:
                enough.set()
            yield item

    stream = prefetched(items(), 2)
    assert next(stream) == 0
    assert enough.wait(PATIENCE_S), "0 is used, 1 and 2 wait, 3 is made"
    time.sleep(0.05)
    assert made == [0, 1, 2, 3], "no more than that"
    assert list(stream) == list(range(1, 10))


def test_an_error_comes_after_the_items_before_it() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("no second one")

    stream = prefetched(items(), 4)
    assert next(stream) == 1
    with pytest.raises(ValueError, match="no second one"):
        next(stream)


def test_the_thread_ends_when_nobody_asks_any_more() -> None:
    stream = prefetched(iter(range(1_000)), 1)
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    wait_until(lambda: all(thread.name != "prefetch" for thread in threading.enumerate()))
