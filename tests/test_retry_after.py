"""Each form of Retry-After, from a small server."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from opensearchpy.exceptions import TransportError

from connector.connection.client import connect
from connector.connection.transport import retry_after
from tests.http_server import QuietHandler, serving


def in_an_hour() -> datetime:
    return datetime.now(UTC) + timedelta(hours=1)


@pytest.mark.parametrize(
    ("write", "seconds"),
    [
        (lambda: "7", 7),
        (lambda: format_datetime(in_an_hour(), usegmt=True), 3600),
        (lambda: in_an_hour().strftime("%A, %d-%b-%y %H:%M:%S GMT"), 3600),
        # All recipients must accept this one (RFC 9110, 5.6.7).
        (lambda: in_an_hour().strftime("%a %b %d %H:%M:%S %Y"), 3600),
        (lambda: format_datetime(in_an_hour()), 3600),
        (lambda: "Wed, 21 Oct 2015 07:28:00 -0000", 0),
        (lambda: "soon", 0),
        (lambda: "-3", 0),
    ],
    ids=["seconds", "date", "RFC 850", "asctime", "offset", "past", "word", "negative"],
)
def test_a_wait_is_a_number_of_seconds_or_a_date(write: Callable[[], str], seconds: float) -> None:
    header = write()

    class Busy(QuietHandler):
        def do_GET(self) -> None:
            self.send_response(429)
            self.send_header("Retry-After", header)
            self.send_header("Content-Length", "0")
            self.end_headers()

    with serving(Busy) as url, connect(url) as client:
        with pytest.raises(TransportError) as refused:
            client.transport.perform_request("GET", "/")
    assert retry_after(refused.value) == pytest.approx(seconds, abs=10)
