"""Requests by a schedule."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from benchmarks.scenarios.open_loop import Ask, Load, schedule, send_on_schedule


def load(ask: Ask, due: list[float], clients: int = 1, **how: Any) -> Load:  # noqa: ANN401
    @contextmanager
    def asker() -> Iterator[Ask]:
        yield ask

    return send_on_schedule(
        asker, np.array(due), rate=10.0, seconds=max(due) or 1.0, clients=clients, progress=lambda _: None, **how
    )


def test_a_request_that_waits_for_an_earlier_one_is_slower_by_that() -> None:
    slow: Callable[[int], None] = lambda _number: time.sleep(0.1)  # noqa: E731
    alone = load(slow, [0.0, 0.0, 0.0])
    assert [round(each, -2) for each in sorted(alone.times_ms)] == [100, 200, 300], "from when it was due"
    together = load(slow, [0.0, 0.0, 0.0], clients=3)
    assert together.times_ms.max() < 200


def test_nothing_is_sent_before_it_is_due() -> None:
    sent: dict[int, float] = {}
    found = load(lambda number: sent.setdefault(number, time.perf_counter()), [0.0, 0.1, 0.3], clients=3)
    assert sent[1] - sent[0] == pytest.approx(0.1, abs=0.05) and sent[2] - sent[0] == pytest.approx(0.3, abs=0.05)
    assert found.row()["errors"] == 0 and found.row()["requests"] == 3


def test_errors_are_counted_apart_and_by_the_second() -> None:
    ended = threading.Event()

    def ask(_number: int) -> None:
        if ended.is_set():
            raise ConnectionError("gone")

    found = load(ask, [0.0, 0.05, 0.4, 0.45], at=[(0.2, ended.set)])
    assert found.part(0.0, 0.2)["errors"] == 0 and "p99_ms" in found.part(0.0, 0.2)
    late = found.part(0.2, 1.0)
    assert late == {"requests": 2, "errors": 2, "error_kinds": {"ConnectionError": 2}}
    assert found.row()["requests"] == 4 and found.row()["errors"] == 2


def test_arrivals_have_the_rate_that_is_requested() -> None:
    even = schedule(20.0, 2.0, "uniform")
    np.testing.assert_allclose(np.diff(even), 0.05)
    assert len(even) == 40
    drawn = schedule(200.0, 20.0, "poisson")
    assert len(drawn) == pytest.approx(4_000, rel=0.05) and drawn.max() < 20
    gaps = np.diff(drawn)
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.1), "as many short gaps as independent clients have"
    assert len(schedule(0.01, 1.0, "poisson")) == 1
