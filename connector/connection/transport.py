"""opensearch-py's connection and transport with Retry-After, proxies and failover."""

from __future__ import annotations

import gzip
import os
import socket
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from logging import getLogger
from threading import local
from typing import Any

from opensearchpy import Transport, Urllib3HttpConnection
from opensearchpy.exceptions import ConnectionError, TransportError
from urllib3.connection import HTTPConnection
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError, ProtocolError, ProxyError, SSLError

from connector.connection.proxy import ProxiedPool, Proxy
from connector.connection.slow import SLOW_REPLIES
from connector.connection.tls import CLOSED, causes_of

_log = getLogger("ksparse.connection")

_MISSING = 404

_UNAVAILABLE = (502, 503, 504)
"""Statuses of a node that cannot answer, e.g. without a cluster manager, or of a load balancer before it."""

_READS = frozenset({"_search", "_msearch", "_mget", "_count", "_field_caps", "_termvectors", "_mtermvectors"})
"""Last parts of the paths of POST requests that only read."""

_IDLE_S = 60
"""Load balancers and NAT gateways forget connections that are idle for some minutes (on AWS 350 s, on Azure 240 s)."""

_KEPT_ALIVE = (
    *HTTPConnection.default_socket_options,
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    # The second name is that of macOS.
    *(
        (socket.IPPROTO_TCP, getattr(socket, name), _IDLE_S)
        for name in ("TCP_KEEPIDLE", "TCP_KEEPALIVE")
        if hasattr(socket, name)
    ),
)


class PatientConnection(Urllib3HttpConnection):
    """Keeps the headers `Retry-After` and `Location` of rejected requests in the error, and supports proxies.

    A request that only reads is sent once more, on a new connection, if an earlier one was answered and the connection
    was closed: a load balancer may have dropped it while it was idle.

    Args:
        *args: As in opensearch-py's connection.
        proxy: The proxy, if any.
        **kwargs: As in opensearch-py's connection.
    """

    def __init__(self, *args: Any, proxy: Proxy | None = None, **kwargs: Any) -> None:
        self._last = local()
        self._has_answered = False
        self._proxy = proxy
        self._pool_options: dict[str, Any] = {
            "maxsize": kwargs.get("pool_maxsize") or 1,
            "socket_options": _KEPT_ALIVE,
        }
        context: ssl.SSLContext | None = kwargs.get("ssl_context")
        if context is not None:
            self._pool_options["ssl_context"] = context
        super().__init__(*args, **kwargs)

    def _create_urllib3_pool(self) -> None:
        if self._proxy is None:
            super()._create_urllib3_pool()
            self.pool.conn_kw["socket_options"] = _KEPT_ALIVE
        else:
            self.pool = ProxiedPool(self._proxy, self.host, timeout=self.timeout, **self._pool_options)
        pool, process = self.pool, os.getpid()
        send = self._send = pool.urlopen

        def urlopen(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
            if os.getpid() != process:  # after a fork, both processes would read replies from the same sockets
                self._create_urllib3_pool()
                return self.pool.urlopen(*args, **kwargs)
            self._last.headers = {}
            method, path = args[0], args[1].partition("?")[0]
            with SLOW_REPLIES.watched(f"{method} {self.host}{path}"):
                try:
                    response = send(*args, **kwargs)
                except (ProtocolError, SSLError) as error:
                    # Before the first answer, no connection has been idle.
                    if not (self._has_answered and _only_reads(method, path) and _was_closed(error)):
                        raise
                    _log.info("A connection to %s was closed, sending the request again: %s", self.host, error)
                    if self.pool is pool:  # whose other connections may be closed as well
                        self._create_urllib3_pool()
                    response = self._send(*args, **kwargs)
            self._has_answered = True
            self._last.headers = response.headers
            return response

        pool.urlopen = urlopen

    def _gzip_compress(self, body: Any) -> bytes:  # noqa: ANN401
        # opensearch-py uses level 9: 54 ms instead of 5 ms for 256 documents, for a fifth less bytes.
        return gzip.compress(body, compresslevel=1)

    def log_request_fail(  # noqa: D102 - of opensearch-py
        self,
        method: str,
        full_url: str,
        path: str,
        body: object,
        duration: float,
        status_code: int | None = None,
        response: str | None = None,
        exception: Exception | None = None,
    ) -> None:
        if status_code == _MISSING:  # no failure, as for HEAD in opensearch-py: an index need not exist yet
            self.log_request_success(method, full_url, path, body, status_code, response or "", duration)
        else:
            super().log_request_fail(method, full_url, path, body, duration, status_code, response, exception)

    def _raise_error(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        try:
            super()._raise_error(*args, **kwargs)
        except TransportError as error:
            headers: Mapping[str, str] = getattr(self._last, "headers", {})
            error.retry_after_s = _seconds(headers.get("retry-after"))  # type: ignore[attr-defined]
            error.location = headers.get("location")  # type: ignore[attr-defined]
            raise


class FailoverTransport(Transport):
    """Tries another node if a connection fails, or if a node cannot answer a request that only reads.

    Other requests that were sent may have been executed, and only the writer knows what may be repeated.
    """

    def perform_request(
        self, method: str, url: str, params: Mapping[str, Any] | None = None, *args: Any, **kwargs: Any
    ) -> Any:  # noqa: ANN401
        """Send a request, trying each node at most once."""
        for _ in self.hosts[1:]:
            try:
                return self._perform(method, url, params, *args, **kwargs)
            except ConnectionError as error:
                if not _was_never_sent(error):
                    raise
                _log.info("Cannot connect to a node, trying the next one: %s", error.error)
            except TransportError as error:
                if error.status_code not in _UNAVAILABLE or not _only_reads(method, url):
                    raise
                _log.info("A node answers %s, trying the next one: %s", error.status_code, error.error)
        return self._perform(method, url, params, *args, **kwargs)

    def _perform(self, method: str, url: str, params: Mapping[str, Any] | None, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        # A copy, because the base class removes its own parameters from it.
        return super().perform_request(method, url, None if params is None else dict(params), *args, **kwargs)


def retry_after(error: TransportError) -> float:
    """Seconds of Retry-After; 0 without that header."""
    return float(getattr(error, "retry_after_s", 0.0))


def location(error: TransportError) -> str | None:
    """Target of a redirect."""
    return getattr(error, "location", None)


def _only_reads(method: str, url: str) -> bool:
    return method in ("GET", "HEAD") or url.rpartition("/")[2] in _READS


def _was_never_sent(error: ConnectionError) -> bool:
    cause = error.info.original_error if isinstance(error.info, ProxyError) else error.info
    return isinstance(cause, (NewConnectionError, ConnectTimeoutError))


def _was_closed(error: Exception) -> bool:
    return any(isinstance(cause, CLOSED) for cause in causes_of(error))


def _seconds(header: str | None) -> float:
    """A number of seconds or a date (RFC 9110, section 10.2.3)."""
    if not header:
        return 0.0
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        until = parsedate_to_datetime(header)
    except ValueError:
        return 0.0
    if until.tzinfo is None:  # the obsolete form that C's asctime writes, which is in UTC
        until = until.replace(tzinfo=UTC)
    return max(0.0, (until - datetime.now(UTC)).total_seconds())
