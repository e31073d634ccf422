"""Open-loop load: requests are sent by a schedule, and latency is measured from the scheduled time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from benchmarks.measure import to_latency

Arrivals = Literal["poisson", "uniform"]

Ask = Callable[[int], object]
"""Sends the request with this number and waits for the reply; raises an error without one."""

_SETTLING_S = 0.2


@dataclass(frozen=True, slots=True)
class Load:
    """Result of a schedule.

    Attributes:
        rate: Average number of scheduled requests per second.
        seconds: Duration of the schedule.
        due_s: (n,), scheduled time of each request, from the start.
        times_ms: (n,), time from then to the reply or failure.
        errors: (n,), names of errors; empty for replies.
    """

    rate: float
    seconds: float
    due_s: NDArray[np.float64]
    times_ms: NDArray[np.float64]
    errors: Sequence[str]

    def row(self) -> dict[str, Any]:
        """Return figures of all requests; latencies are those of answered requests."""
        return {
            "rate": self.rate,
            "seconds": self.seconds,
            "answered_per_s": self._answered().sum()
            / max(self.seconds, float((self.due_s + self.times_ms / 1e3).max())),
            **self.part(0.0, float("inf")),
        }

    def part(self, start_s: float, end_s: float) -> dict[str, Any]:
        """Return figures of the requests that ended in an interval; without latencies if none was answered."""
        ended = self._ended_s()
        inside = (ended >= start_s) & (ended < end_s)
        failed = [error for error, chosen in zip(self.errors, inside, strict=True) if error and chosen]
        kinds = {kind: failed.count(kind) for kind in dict.fromkeys(failed)}
        answered = self.times_ms[inside & self._answered()]
        latency = asdict(to_latency(answered)) if len(answered) else {}
        return {**latency, "requests": int(inside.sum()), "errors": len(failed), "error_kinds": kinds}

    def last_error_s(self) -> float | None:
        """Time of the last failed request; None without failures."""
        failed = self._ended_s()[~self._answered()]
        return float(failed.max()) if len(failed) else None

    def _ended_s(self) -> NDArray[np.float64]:
        return self.due_s + self.times_ms / 1e3

    def _answered(self) -> NDArray[np.bool_]:
        return np.array([not error for error in self.errors], dtype=bool)


def schedule(rate: float, seconds: float, arrivals: Arrivals, *, seed: int = 0) -> NDArray[np.float64]:
    """Return scheduled times: at constant intervals, or like independent clients (Poisson)."""
    if arrivals == "uniform":
        return np.arange(max(1, round(rate * seconds))) / rate
    random = np.random.default_rng(seed)
    gaps = random.exponential(1 / rate, size=int(rate * seconds + 6 * np.sqrt(rate * seconds) + 10))
    due = np.cumsum(gaps)
    return due[due < seconds] if (due < seconds).any() else due[:1]


def send_on_schedule(
    make_asker: Callable[[], AbstractContextManager[Ask]],
    due_s: NDArray[np.float64],
    *,
    rate: float,
    seconds: float,
    clients: int,
    progress: Callable[[float], None],
    at: Sequence[tuple[float, Callable[[], None]]] = (),
) -> Load:
    """Send requests at their scheduled times; waiting for a free client counts towards the latency.

    Args:
        make_asker: Opens a connection for each client.
        due_s: Scheduled times from `schedule`.
        rate: Rate of the schedule.
        seconds: Duration of the schedule.
        clients: Maximum number of clients (threads).
        progress: Called with the fraction of requests sent.
        at: A time in seconds after the start, and an action at that time, e.g. killing a node.
    """
    times, errors = np.zeros(len(due_s)), [""] * len(due_s)
    lock, taken = threading.Lock(), iter(range(len(due_s)))
    ready = threading.Barrier(clients + 1)
    start = [0.0]

    def work() -> None:
        with make_asker() as ask:
            ready.wait()
            ready.wait()
            while True:
                with lock:
                    number = next(taken, None)
                if number is None:
                    return
                due = start[0] + due_s[number]
                if (early := due - time.perf_counter()) > 0:
                    time.sleep(early)
                try:
                    ask(number)
                except Exception as error:  # any error is a failed request
                    errors[number] = type(error).__name__
                times[number] = 1000 * (time.perf_counter() - due)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(clients)]
    for thread in threads:
        thread.start()
    ready.wait()
    start[0] = time.perf_counter() + _SETTLING_S
    ready.wait()
    events = sorted(at, key=lambda each: each[0])
    while any(thread.is_alive() for thread in threads):
        now = time.perf_counter() - start[0]
        while events and now >= events[0][0]:
            events.pop(0)[1]()
        progress(min(1.0, max(0.0, now / seconds)))
        threads[0].join(0.05)
        time.sleep(0.05)
    for thread in threads:
        thread.join()
    return Load(rate, seconds, due_s, times, errors)
