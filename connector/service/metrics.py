"""Prometheus metrics of a service."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_SIZES = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """Metrics in a separate registry, so that several services can run in one process."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "ksparse_requests", "Requests by route and status.", ["route", "status"], registry=self._registry
        )
        self.seconds = Histogram(
            "ksparse_request_seconds", "Time to answer, by route.", ["route"], buckets=_SECONDS, registry=self._registry
        )
        self.batches = Histogram(
            "ksparse_batch_texts",
            "Texts per forward pass, by task.",
            ["task"],
            buckets=_SIZES,
            registry=self._registry,
        )
        self.queries = Counter("ksparse_queries", "Encoded queries, by cache hit.", ["cached"], registry=self._registry)
        self.refused = Counter(
            "ksparse_refused",
            "Requests refused because the queue was full, by task.",
            ["task"],
            registry=self._registry,
        )

    def text(self) -> bytes:
        """The metrics in the exposition format."""
        return generate_latest(self._registry)
