"""A connection that notes every `_bulk` request which it sends: the figures of the fault tests come from here."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Condition
from typing import Any

from opensearchpy import OpenSearch
from opensearchpy.exceptions import ConnectionTimeout, TransportError

from connector.connection.client import connect
from connector.connection.transport import PatientConnection


@dataclass(frozen=True)
class Request:
    """A `_bulk` request that is over.

    `outcome` is what came of it: `200`, the status of an error, `timeout` or `no connection`.
    """

    started: float
    ended: float
    ids: tuple[str, ...]
    outcome: str


@dataclass
class Recorder:
    """What was sent so far."""

    requests: list[Request] = field(default_factory=list)
    most_under_way: int = 0
    _under_way: dict[int, float] = field(default_factory=dict)
    _changed: Condition = field(default_factory=Condition)

    @contextmanager
    def request(self, body: bytes) -> Iterator[None]:
        """Note a request and what comes of it."""
        # Every other line is the document; it is not parsed.
        ids = tuple(json.loads(line)["index"]["_id"] for line in body.splitlines()[::2])
        started, outcome = time.monotonic(), "200"
        with self._changed:
            self._under_way[id(ids)] = started
            self.most_under_way = max(self.most_under_way, len(self._under_way))
            self._changed.notify_all()
        try:
            yield
        except TransportError as error:
            outcome = "timeout" if isinstance(error, ConnectionTimeout) else str(error.status_code)
            outcome = "no connection" if outcome == "N/A" else outcome
            raise
        finally:
            with self._changed:
                del self._under_way[id(ids)]
                self.requests.append(Request(started, time.monotonic(), ids, outcome))
                self._changed.notify_all()

    def wait_for(self, succeeded: int, *, timeout_s: float = 120.0) -> None:
        """Wait until so many requests were answered with 200."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.outcomes()["200"] >= succeeded, timeout_s), "nothing is written"

    def wait_until_under_way(self, *, timeout_s: float = 120.0) -> None:
        """Wait until a request has just been sent."""
        asked = time.monotonic()
        with self._changed:
            assert self._changed.wait_for(
                lambda: any(started > asked for started in self._under_way.values()), timeout_s
            ), "nothing is sent"

    def under_way_since(self, moment: float) -> bool:
        """Whether a request that was sent before a time has no answer yet."""
        with self._changed:
            return any(started < moment for started in self._under_way.values())

    def interrupted(self, at: float) -> int:
        """Requests that were under way at a time and got no answer."""
        return sum(each.started < at < each.ended and each.outcome != "200" for each in self.requests)

    def outcomes(self) -> Counter[str]:
        """How many requests came to what."""
        return Counter(each.outcome for each in self.requests)

    def figures(self) -> dict[str, Any]:
        """What a report says of the requests."""
        sent = Counter(name for each in self.requests for name in each.ids)
        answered = sorted(each.ended for each in self.requests if each.outcome == "200")
        gaps = [after - before for before, after in zip(answered, answered[1:], strict=False)]
        return {
            "requests": len(self.requests),
            "outcomes": dict(self.outcomes()),
            "documents_sent": sent.total(),
            "documents_sent_again": sent.total() - len(sent),
            "most_in_flight": self.most_under_way,
            "longest_gap_s": round(max(gaps, default=0.0), 2),
        }


@contextmanager
def recorded(url: str, recorder: Recorder, *, timeout_s: float = 30.0) -> Iterator[OpenSearch]:
    """A client whose `_bulk` requests are noted."""

    class RecordingConnection(PatientConnection):
        def perform_request(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401
            _method, path, _params, body, *_ = args
            if not path.endswith("/_bulk"):
                return super().perform_request(*args, **options)
            with recorder.request(body):
                return super().perform_request(*args, **options)

    with connect(url, timeout_s=timeout_s, connection_class=RecordingConnection) as client:
        yield client
