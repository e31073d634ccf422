"""How many requests may be under way."""

from __future__ import annotations

import threading
import time

import pytest

from connector.index.limit import InFlightLimit
from tests.patience import PATIENCE_S


def test_it_is_halved_when_busy_and_grows_by_one_after_a_clean_run() -> None:
    limit = InFlightLimit(8)
    allowed = []
    for _ in range(5):
        limit.busy()
        allowed.append(limit.allowed)
    assert allowed == [4, 2, 1, 1, 1]
    for _ in range(19):
        limit.clean()
    assert limit.allowed == 1
    limit.clean()
    assert limit.allowed == 2
    for _ in range(19):
        limit.clean()
    limit.busy()
    for _ in range(19):
        limit.clean()
    assert limit.allowed == 1, "a run that was broken does not count"
    for _ in range(1_000):
        limit.clean()
    assert limit.allowed == 8, "never above what it began with"


def test_no_more_are_in_flight_than_allowed() -> None:
    limit = InFlightLimit(3)
    lock, now, most = threading.Lock(), 0, 0
    full = threading.Event()

    def work() -> None:
        nonlocal now, most
        with limit.slot():
            with lock:
                now += 1
                most = max(most, now)
                if now == 3:
                    full.set()
            assert full.wait(PATIENCE_S)
            time.sleep(0.01)  # for one more than there should be
            with lock:
                now -= 1

    threads = [threading.Thread(target=work) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 3


def test_a_slot_is_given_back_after_an_error() -> None:
    limit = InFlightLimit(1)
    with pytest.raises(RuntimeError), limit.slot():
        raise RuntimeError
    with limit.slot():
        pass


def test_nothing_in_flight_is_no_limit() -> None:
    with pytest.raises(ValueError, match="max_in_flight must be at least 1, got 0"):
        InFlightLimit(0)
