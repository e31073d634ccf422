"""Latencies are measured in turns, once the server has compiled its code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from opensearchpy import OpenSearch

from benchmarks import measure as measuring
from benchmarks.measure import measure, timed
from connector.types import Hit

QUERIES = 100


class Clock:
    """Time that passes by searches alone."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def perf_counter(self) -> float:
        return self.seconds


class Timed:
    """A system whose n-th search takes so many milliseconds."""

    def __init__(self, clock: Clock, name: str, taken_ms: Callable[[int], float]) -> None:
        self.clock, self.name, self.taken_ms = clock, name, taken_ms
        self.searches = 0

    def search(self, client: OpenSearch, request: dict[str, Any]) -> list[Hit]:  # noqa: ARG002
        self.clock.seconds += self.taken_ms(self.searches) / 1000
        self.searches += 1
        return [Hit(f"{self.name}-{request['query']}", 1.0)]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(measuring, "time", clock)
    return clock


def run(systems: list[Timed], queries: int = QUERIES, **options: Any) -> list[measuring.Measured]:
    requests = [[{"query": number} for number in range(queries)] for _ in systems]
    return measure(OpenSearch(), systems, requests, **options)


def compiled_after(searches: int, ms: float) -> Callable[[int], float]:
    return lambda number: ms * (2.0 - min(number, searches) / searches)


def test_searches_before_the_code_is_compiled_are_not_reported(clock: Clock) -> None:
    slow, fast = Timed(clock, "slow", compiled_after(1_500, 4.0)), Timed(clock, "fast", compiled_after(300, 2.0))
    first, second = run([slow, fast])
    assert slow.searches == fast.searches == 2_200, "one round, then blocks of three until the slower one settles"
    assert first.warm_up_rounds == second.warm_up_rounds == 16
    assert first.latency.p50_ms == pytest.approx(4.0)
    assert second.latency.p50_ms == pytest.approx(2.0)
    assert first.times_ms.shape == (6, QUERIES)
    assert timed(second, first)["p50_ratio"] == pytest.approx(0.5)
    assert timed(second, first)["warm_up_rounds"] == 16


def test_a_steady_system_is_measured_in_two_blocks(clock: Clock) -> None:
    steady = Timed(clock, "steady", lambda _: 3.0)
    [found] = run([steady])
    assert (steady.searches, found.warm_up_rounds, found.latency.requests) == (700, 1, 600)
    assert [hits[0].doc_id for hits in found.hits] == [f"steady-{number}" for number in range(QUERIES)]


def test_too_few_searches_to_tell_are_measured_once(clock: Clock) -> None:
    few = Timed(clock, "few", compiled_after(10_000, 1.0))
    [found] = run([few], queries=10, rounds=2)
    assert (few.searches, found.warm_up_rounds, found.times_ms.shape) == (30, 1, (2, 10))


def test_no_block_is_begun_after_the_patience(clock: Clock) -> None:
    always_faster = Timed(clock, "faster", lambda number: 1_000 * 0.999**number)
    [found] = run([always_faster], patience_s=150.0)
    assert always_faster.searches == 700, "the second block is over after 500 s, and no third one begins"
    assert found.times_ms.shape == (6, QUERIES)


def test_many_systems_have_more_patience(clock: Clock) -> None:
    systems = [Timed(clock, f"{number}", lambda done: 60 * 0.999**done) for number in range(6)]
    run(systems, patience_s=150.0)
    assert {system.searches for system in systems} == {1_900}, "patience for three systems, 150 s, ends at 700"


def test_progress_grows_to_one(clock: Clock) -> None:
    shares: list[float] = []
    run([Timed(clock, "steady", compiled_after(1_500, 4.0))], progress=shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
