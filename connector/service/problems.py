"""Map errors of the library to HTTP responses."""

from __future__ import annotations

from typing import cast

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from opensearchpy.exceptions import OpenSearchException, TransportError

from connector.connection.client import reason_of
from connector.errors import (
    BusyError,
    ClusterError,
    ConnectorError,
    EncoderMismatchError,
    IndexMappingError,
    SearchError,
)
from connector.service.batcher import OverloadedError
from connector.service.bodies import Problem
from connector.service.metrics import Metrics


class TooLargeError(ValueError):
    """A request exceeds the limit of texts."""


_STATUSES: tuple[tuple[type[Exception], int], ...] = (
    (TooLargeError, 413),
    (OverloadedError, 503),
    (ClusterError, 503),
    (EncoderMismatchError, 409),
    (IndexMappingError, 404),
    (BusyError, 503),
    (SearchError, 400),
    (ConnectorError, 500),
    (ValueError, 422),
    (OpenSearchException, 502),
)

RESPONSES: dict[int | str, dict[str, object]] = {
    status: {"model": Problem, "description": said}
    for status, said in (
        (400, "The query cannot be run."),
        (401, "The API key is missing or wrong."),
        (404, "The index does not exist or is not served."),
        (409, "The index has another encoder than the request was set up for."),
        (413, "The request is too large."),
        (422, "The request body is invalid."),
        (502, "OpenSearch gave an unexpected answer."),
        (503, "The service or OpenSearch is overloaded, or OpenSearch is unreachable; see Retry-After."),
    )
}


def add_problems(app: FastAPI, metrics: Metrics, *, retry_after_s: int) -> None:
    """Add handlers that map errors of the library to a status and a message.

    Args:
        app: The application.
        metrics: Counts requests that were refused because the queue was full.
        retry_after_s: Value of Retry-After.
    """

    def answer(request: Request, error: Exception) -> JSONResponse:
        status = next(status for kind, status in _STATUSES if isinstance(error, kind))
        if isinstance(error, OverloadedError):
            metrics.refused.labels(getattr(request.scope.get("route"), "path", "other")).inc()
        headers = {"Retry-After": str(retry_after_s)} if status == 503 else None
        said = f"OpenSearch answered: {reason_of(error)}" if isinstance(error, TransportError) else str(error)
        return JSONResponse({"error": said}, status, headers)

    def invalid(_request: Request, error: Exception) -> JSONResponse:
        first = cast(RequestValidationError, error).errors()[0]
        place = ".".join(str(part) for part in first["loc"][1:])
        return JSONResponse({"error": f"{place or 'the body'}: {first['msg']}"}, 422)

    for kind, _ in _STATUSES:
        app.add_exception_handler(kind, answer)
    app.add_exception_handler(RequestValidationError, invalid)
