"""Check quickly that Ray answers at an address; Ray itself retries for two minutes."""

from __future__ import annotations

import os
import socket

from connector.errors import ClusterError

_TIMEOUT_S = 3.0
_FOUND_BY_RAY = ("auto", "local")
# Ray uses gRPC: the HTTP/2 preface and an empty SETTINGS frame. The reply begins with a SETTINGS frame.
_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
_SETTINGS = 4


def check_address(address: str | None) -> None:
    """Check that a gRPC server answers at an address (default RAY_ADDRESS); skipped without an address.

    Raises:
        ClusterError: No gRPC server answers within seconds, or the address is invalid.
    """
    named = address or os.environ.get("RAY_ADDRESS", "")
    if not named or named in _FOUND_BY_RAY:
        return
    host, _, port = named.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ClusterError(
            f"{named!r} is not an address of a Ray cluster; give HOST:PORT as `ray start` shows it, or auto."
        )
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=_TIMEOUT_S) as connection:
            if os.environ.get("RAY_USE_TLS", "0") == "1":  # further checks would need a certificate
                return
            connection.sendall(_HELLO)
            answer = connection.recv(9)
    except OSError as error:
        raise ClusterError(
            f"No Ray cluster at {named} ({error.strerror or error}). Start one (`ray start --head`), or correct it."
        ) from error
    if len(answer) < 4 or answer[3] != _SETTINGS:
        raise ClusterError(f"The server at {named} is not Ray. Give the address that `ray start --head` shows.")
