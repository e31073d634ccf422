"""Errors of the library as answers: the status says whose turn it is, the text what to do."""

from __future__ import annotations

from typing import cast

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from connector.errors import (
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
    """A request holds more texts than one may."""


_STATUSES: tuple[tuple[type[Exception], int], ...] = (
    (TooLargeError, 413),
    (OverloadedError, 503),
    (ClusterError, 503),
    (EncoderMismatchError, 409),
    (IndexMappingError, 404),
    (SearchError, 400),
    (ConnectorError, 500),
    (ValueError, 422),
)

RESPONSES: dict[int | str, dict[str, object]] = {
    status: {"model": Problem, "description": said}
    for status, said in (
        (400, "The query cannot be run."),
        (401, "The API key is missing or wrong."),
        (404, "There is no such index, or it is not served."),
        (409, "The index is of another encoder than the request was set up for."),
        (413, "The request is too large."),
        (422, "The request is not of the form described here."),
        (503, "Too much is waiting, or OpenSearch is away; Retry-After says when to come back."),
    )
}


def add_problems(app: FastAPI, metrics: Metrics, *, retry_after_s: int) -> None:
    """Answer errors of the library with a status and a text.

    Args:
        app: Of the service.
        metrics: Told of requests that were refused for want of room.
        retry_after_s: What clients are told to wait.
    """

    def answer(request: Request, error: Exception) -> JSONResponse:
        status = next(status for kind, status in _STATUSES if isinstance(error, kind))
        if isinstance(error, OverloadedError):
            metrics.refused.labels(getattr(request.scope.get("route"), "path", "other")).inc()
        headers = {"Retry-After": str(retry_after_s)} if status == 503 else None
        return JSONResponse({"error": str(error)}, status, headers)

    def invalid(_request: Request, error: Exception) -> JSONResponse:
        first = cast(RequestValidationError, error).errors()[0]
        place = ".".join(str(part) for part in first["loc"][1:])
        return JSONResponse({"error": f"{place or 'the body'}: {first['msg']}"}, 422)

    for kind, _ in _STATUSES:
        app.add_exception_handler(kind, answer)
    app.add_exception_handler(RequestValidationError, invalid)
