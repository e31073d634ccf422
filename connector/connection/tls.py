"""TLS: trusted certificates, client certificates, and explanations of errors."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from http.client import BadStatusLine
from pathlib import Path

from connector.errors import ClusterError

_ASKS_FOR_CLIENT = ("CERTIFICATE_REQUIRED", "BAD_CERTIFICATE", "UNKNOWN_CA", "HANDSHAKE_FAILURE", "CERTIFICATE_UNKNOWN")
"""TLS alerts of servers that require a client certificate."""

CLOSED = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ConnectionResetError, BrokenPipeError, BadStatusLine)
"""Errors of a connection that the other end closed instead of answering."""

_CLIENT_ADVICE = (
    "name one that it trusts, and its key (client_cert, client_key; OPENSEARCH_CLIENT_CERT, OPENSEARCH_CLIENT_KEY)."
)


def tls_context(
    *,
    verify_certs: bool = True,
    ca_certs: str | Path | None = None,
    client_cert: str | Path | None = None,
    client_key: str | Path | None = None,
) -> ssl.SSLContext:
    """Create the TLS context of all connections.

    Args:
        verify_certs: Verify the server's certificate and host name.
        ca_certs: File or folder of CA certificates; else those of SSL_CERT_FILE and SSL_CERT_DIR, else those of the
            system and of certifi.
        client_cert: File of the client certificate, including the key if there is no `client_key`.
        client_key: File of the key.

    Raises:
        ClusterError: A file cannot be read or is invalid, or a key is encrypted.
    """
    context = _trusting(ca_certs)
    if not verify_certs:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if client_cert is not None:
        _show(context, str(client_cert), None if client_key is None else str(client_key))
    elif client_key is not None:
        raise ClusterError(f"client_key {str(client_key)!r} needs its certificate, as client_cert.")
    return context


def _trusting(ca_certs: str | Path | None) -> ssl.SSLContext:
    path = None if ca_certs is None else str(ca_certs)
    folder = path is not None and os.path.isdir(path)
    try:
        context = ssl.create_default_context(cafile=None if folder else path, capath=path if folder else None)
    except (OSError, ValueError) as error:
        raise ClusterError(f"ca_certs {path!r} cannot be read ({_reason(error)}); give a PEM file.") from error
    if path is None and not (os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR")):
        try:
            import certifi
        except ImportError:
            pass
        else:
            context.load_verify_locations(certifi.where())
    return context


def _show(context: ssl.SSLContext, cert: str, key: str | None) -> None:
    named = f"client_cert {cert!r}" + (f" and client_key {key!r}" if key else "")

    def encrypted() -> str:
        # Otherwise OpenSSL would prompt for it on the terminal.
        raise ClusterError(f"The key of {named} is encrypted; decrypt it (openssl pkey), and keep the file private.")

    try:
        context.load_cert_chain(cert, key, password=encrypted)
    except (OSError, ValueError) as error:
        if getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
            raise ClusterError(f"{named} do not match.") from error
        where = "" if key else ", with the key in the same file, or name it as client_key"
        raise ClusterError(f"{named} cannot be read ({_reason(error)}); give PEM files{where}.") from error


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)


def explain_tls(url: str, error: BaseException) -> str | None:
    """Explain a TLS error with the next step; None for other errors.

    Args:
        url: The server, without credentials.
        error: The error; its causes, contexts and urllib3's `reason` are inspected.
    """
    for cause in causes_of(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return (
                f"{url} has a certificate that cannot be verified: {cause.verify_message}. Give its CA "
                "certificate (ca_certs, OPENSEARCH_CA_CERTS or --ca-certs), and a host name for which it is valid."
            )
        if isinstance(cause, CLOSED):
            # In TLS 1.3 the client's handshake is already complete, and the alert is lost if the server closes first.
            secure = f"if it asks for a client certificate, {_CLIENT_ADVICE}"
            plain = "is it an https:// address? If not, try again."
            return f"{url} closes the connection without an answer; {secure if url.startswith('https:') else plain}"
        if isinstance(cause, ssl.SSLError):
            reason = str(cause.reason or cause)
            if any(alert in reason for alert in _ASKS_FOR_CLIENT):
                return f"{url} refuses the client certificate, or asks for one ({reason}); {_CLIENT_ADVICE}"
            return f"{url} does not speak TLS correctly ({reason}); is it an http:// address?"
    return None


def causes_of(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and all its causes, contexts, reasons and arguments."""
    waiting, seen = [error], set[int]()
    while waiting:
        found = waiting.pop()
        if id(found) in seen:
            continue
        seen.add(id(found))
        yield found
        others = (found.__cause__, found.__context__, getattr(found, "reason", None), *found.args)
        waiting += [each for each in others if isinstance(each, BaseException)]
