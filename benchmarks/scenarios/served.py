"""Run `ksparse serve` as a process under open-loop load."""

from __future__ import annotations

import http.client
import itertools
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from opensearchpy import OpenSearch

from benchmarks.progress import Report
from benchmarks.results import Rows
from benchmarks.scenarios.open_loop import Arrivals, Ask, Load, schedule, send_on_schedule
from connector.errors import ConnectorError
from connector.service.connect import connect_index, disconnect_index
from connector.service.rewrite import TEXT_FIELD

SHARES = (0.1, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Measured rates, as fractions of the capacity."""

_OK = 200
_WARM_UP = 20
"""Searches of each client."""
_START_S = 300.0
_TIMEOUT_S = 30.0
_THREADS = 64
"""Maximum requests waiting for replies; with more, the rate is far above the capacity."""


@contextmanager
def service(url: str, index: str, backend: str) -> Iterator[str]:
    """Run `ksparse serve` for one index, and yield its address once the encoder is loaded.

    Args:
        url: URL of OpenSearch.
        index: The served index.
        backend: Backend of the dense model.

    Raises:
        ConnectorError: The service does not start.
    """
    command = [sys.executable, "-c", "from connector.cli.main import cli; cli()", "serve", index, "--port", "0"]
    environment = os.environ | {"OPENSEARCH_URL": url, "KSPARSE_BACKEND": backend, "KSPARSE_API_KEY": ""}
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(command, env=environment, **pipes) as process:
        assert process.stdout is not None
        try:
            address = printed_address(process.stdout)
            threading.Thread(target=process.stdout.read, daemon=True).start()
            _wait_until_ready(process, address)
            yield address
        finally:
            process.terminate()
            try:
                process.wait(_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()


def printed_address(output: Iterable[str]) -> str:
    """Return the address that `ksparse serve` prints when it listens.

    Raises:
        ConnectorError: The process ended first; the message has its output.
    """
    printed = []
    for line in output:
        if " at http" in line:
            return line.partition(" at ")[2].split()[0]
        printed.append(line)
    raise ConnectorError(f"ksparse serve ended during start-up: {''.join(printed).strip() or 'no output'}")


def _wait_until_ready(process: subprocess.Popen[str], address: str) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if _get_status(address, "/ready") == _OK:
                return
        except OSError:
            pass
        time.sleep(0.2)
    raise ConnectorError(f"The service at {address} was not ready after {_START_S:.0f} s; see its output.")


def _get_status(address: str, path: str) -> int:
    with closing(http.client.HTTPConnection(urlsplit(address).netloc, timeout=_TIMEOUT_S)) as connection:
        connection.request("GET", path)
        reply = connection.getresponse()
        reply.read()
        return reply.status


@dataclass(frozen=True, slots=True)
class Limits:
    """Settings of the load.

    Attributes:
        arrivals: Distribution of arrivals.
        seconds: Duration per rate.
        max_p99_ms: Maximum p99 of a sustained rate.
        clients: Number of clients for measuring the capacity and in the long run.
        long_s: Duration of the long run at 80 % of the capacity; 0 for none.
    """

    arrivals: Arrivals = "poisson"
    seconds: float = 20.0
    max_p99_ms: float = 50.0
    clients: int = 8
    long_s: float = 0.0


LONG_SHARE = 0.8


@dataclass(frozen=True, slots=True)
class Target:
    """Where searches are sent.

    Attributes:
        address: URL of the server.
        path: Path with parameters.
        body: Returns the body of a search for a text.
    """

    address: str
    path: str
    body: Callable[[str], dict[str, Any]]


def of_service(address: str, index: str) -> Target:
    """Searches by `POST /search` of the service."""
    return Target(address, "/search", lambda text: {"index": index, "query": text, "top_k": 10})


@contextmanager
def of_pipeline(client: OpenSearch, url: str, index: str, service: str) -> Iterator[Target]:
    """Searches by OpenSearch's search pipeline, which calls the service; needs ML Commons.

    Args:
        client: A client of the node.
        url: URL of the node.
        index: The index, which is connected meanwhile.
        service: Address of the service.
    """
    name = connect_index(client, index, service)
    try:
        path = f"/{index}/_search?search_pipeline={name}"
        yield Target(url, path, lambda text: {"size": 10, "query": {"match": {TEXT_FIELD: text}}})
    finally:
        disconnect_index(client, index)


def measure_service(target: Target, texts: Sequence[str], limits: Limits, report: Report) -> Rows:
    """Measure the capacity of a service, then latencies at lower rates.

    Args:
        target: Where searches are sent.
        texts: Query texts. A number is added to each repetition, so that the cache of queries is not used.
        limits: Settings of the load.
        report: Called with the current task and its completed fraction.

    Returns:
        A row for the capacity (`kind` is `capacity`), one for each rate (`rate`), and perhaps the long run (`long`).
    """
    fresh = _Fresh(target, texts)
    capacity = _capacity(fresh, limits, report)
    rows: Rows = [{"kind": "capacity", "clients": limits.clients, "rate": capacity}]
    low, high = 0.0, None
    for share in SHARES:
        row = _at_rate(fresh, share * capacity, limits, report)
        rows.append(row)
        if not row["sustained"]:
            high = share * capacity
            break
        low = share * capacity
    if high is not None and low:
        rows.append(_at_rate(fresh, (low + high) / 2, limits, report))
    if limits.long_s:
        rate = LONG_SHARE * capacity
        what = f"{limits.clients} clients, {rate:.1f} requests/s for {limits.long_s:.0f} s"
        load = _send(fresh, rate, limits.long_s, limits.clients, limits.arrivals, what, report)
        rows.append({"kind": "long", "clients": limits.clients, **load.row()})
    return rows


class _Fresh:
    """Bodies of searches with new query texts."""

    def __init__(self, target: Target, texts: Sequence[str]) -> None:
        self.target, self._texts = target, texts
        self._numbers = itertools.count()

    def body(self) -> bytes:
        number = next(self._numbers)
        text = f"{self._texts[number % len(self._texts)]} {number}"
        return json.dumps(self.target.body(text)).encode()


def _asker(fresh: _Fresh) -> Callable[[], AbstractContextManager[Ask]]:
    """Return a function that opens a separate connection to the server."""

    @contextmanager
    def opened() -> Iterator[Ask]:
        target = fresh.target
        connection = http.client.HTTPConnection(urlsplit(target.address).netloc, timeout=_TIMEOUT_S)

        def ask(_number: int) -> None:
            try:
                connection.request("POST", target.path, fresh.body(), {"Content-Type": "application/json"})
                reply = connection.getresponse()
                content = reply.read()
            except (OSError, http.client.HTTPException):
                connection.close()
                raise
            if reply.status != _OK:
                raise RefusedError(f"{reply.status}: {content[:200]!r}")

        try:
            yield ask
        finally:
            connection.close()

    return opened


def _at_rate(fresh: _Fresh, rate: float, limits: Limits, report: Report) -> dict[str, Any]:
    load = _send(fresh, rate, limits.seconds, _THREADS, limits.arrivals, f"{rate:.1f} requests/s", report)
    row = load.row()
    sustained = not row["errors"] and row["p99_ms"] < limits.max_p99_ms
    return {"kind": "rate", "sustained": sustained, **row}


def _send(
    fresh: _Fresh,
    rate: float,
    seconds: float,
    clients: int,
    arrivals: Arrivals,
    what: str,
    report: Report,
) -> Load:
    return send_on_schedule(
        _asker(fresh),
        schedule(rate, seconds, arrivals),
        rate=rate,
        seconds=seconds,
        clients=clients,
        progress=partial(report, what),
    )


def _capacity(fresh: _Fresh, limits: Limits, report: Report) -> float:
    """Searches per second of clients that send the next query after each reply, after a warm-up."""
    answered = [0] * limits.clients
    until = [0.0]
    ready = threading.Barrier(limits.clients + 1)

    def work(number: int) -> None:
        with _asker(fresh)() as ask:
            for _ in range(_WARM_UP):
                ask(0)
            ready.wait(_START_S)
            ready.wait(_START_S)
            while time.perf_counter() < until[0]:
                ask(0)
                answered[number] += 1

    report("capacity", 0.0)
    with ThreadPoolExecutor(limits.clients) as pool:
        working = [pool.submit(work, number) for number in range(limits.clients)]
        ready.wait(_START_S)
        begun = time.perf_counter()
        until[0] = begun + limits.seconds
        ready.wait(_START_S)
        for each in working:
            each.result()
        took = time.perf_counter() - begun
    report("capacity", 1.0)
    return sum(answered) / took


class RefusedError(ConnectorError):
    """The service answered with an error."""
