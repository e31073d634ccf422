"""Each form of Retry-After, from a small server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from opensearchpy.exceptions import TransportError

from connector.connection.client import connect
from connector.connection.transport import retry_after
from tests.http_server import QuietHandler, serving

SOON = datetime.now(UTC) + timedelta(hours=1)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7),
        (format_datetime(SOON, usegmt=True), 3600),
        (SOON.strftime("%A, %d-%b-%y %H:%M:%S GMT"), 3600),
        (SOON.strftime("%a %b %d %H:%M:%S %Y"), 3600),  # all recipients must accept it (RFC 9110, 5.6.7)
        (format_datetime(SOON), 3600),
        ("Wed, 21 Oct 2015 07:28:00 -0000", 0),
        ("soon", 0),
        ("-3", 0),
    ],
)
def test_a_wait_is_a_number_of_seconds_or_a_date(header: str, seconds: float) -> None:
    class Busy(QuietHandler):
        def do_GET(self) -> None:
            self.send_response(429)
            self.send_header("Retry-After", header)
            self.send_header("Content-Length", "0")
            self.end_headers()

    with serving(Busy) as url, connect(url) as client:
        with pytest.raises(TransportError) as refused:
            client.transport.perform_request("GET", "/")
    assert retry_after(refused.value) == pytest.approx(seconds, abs=120)
