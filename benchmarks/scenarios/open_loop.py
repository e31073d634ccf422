"""Requests that arrive by a schedule, answered or not the earlier ones; latency counts from when each was due."""

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
"""Sends the request of that number and waits for the reply; raises where there is none."""

_SETTLING_S = 0.2


@dataclass(frozen=True, slots=True)
class Load:
    """What came of a schedule.

    Attributes:
        rate: Requests a second that were due, on average.
        seconds: From the first to the end of the schedule.
        due_s: (n,) when each request was due, from the start.
        times_ms: (n,) from then to its reply or failure.
        errors: (n,) what failed, by name; empty where a reply came.
    """

    rate: float
    seconds: float
    due_s: NDArray[np.float64]
    times_ms: NDArray[np.float64]
    errors: Sequence[str]

    def row(self) -> dict[str, Any]:
        """Figures of all requests; latencies are of those that were answered."""
        return {
            "rate": self.rate,
            "seconds": self.seconds,
            "answered_per_s": self._answered().sum()
            / max(self.seconds, float((self.due_s + self.times_ms / 1e3).max())),
            **self.part(0.0, float("inf")),
        }

    def part(self, start_s: float, end_s: float) -> dict[str, Any]:
        """Figures of the requests that ended in a span of time; no latency where none was answered."""
        ended = self._ended_s()
        inside = (ended >= start_s) & (ended < end_s)
        failed = [error for error, chosen in zip(self.errors, inside, strict=True) if error and chosen]
        kinds = {kind: failed.count(kind) for kind in dict.fromkeys(failed)}
        answered = self.times_ms[inside & self._answered()]
        latency = asdict(to_latency(answered)) if len(answered) else {}
        return {**latency, "requests": int(inside.sum()), "errors": len(failed), "error_kinds": kinds}

    def last_error_s(self) -> float | None:
        """When the last request failed; None where none did."""
        failed = self._ended_s()[~self._answered()]
        return float(failed.max()) if len(failed) else None

    def _ended_s(self) -> NDArray[np.float64]:
        return self.due_s + self.times_ms / 1e3

    def _answered(self) -> NDArray[np.bool_]:
        return np.array([not error for error in self.errors], dtype=bool)


def schedule(rate: float, seconds: float, arrivals: Arrivals, *, seed: int = 0) -> NDArray[np.float64]:
    """Return when requests are due: at even distances, or as independent clients send them (Poisson)."""
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
    """Send requests when they are due, by so many clients at most; one that waits for a client waits on its own time.

    Args:
        make_asker: Opens what a client asks by, a connection of its own.
        due_s: From `schedule`.
        rate: That it was made for.
        seconds: The same.
        clients: Threads that send.
        progress: Called with the share of the requests taken.
        at: Seconds after the start, and what is done then beside, e.g. ending a node.
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
                except Exception as error:  # whatever a client raises is a request that failed
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
