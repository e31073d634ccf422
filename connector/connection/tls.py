"""Why no TLS connection came about, in words. Imports nothing."""

from __future__ import annotations

import ssl
from collections.abc import Iterator


def explain_tls(url: str, error: BaseException) -> str | None:
    """Say what is wrong and what to do, or None if it was not TLS that failed.

    Args:
        url: Whom the connection was for, without credentials.
        error: What was raised; causes, contexts and urllib3's and urllib's `reason` are looked into.
    """
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return (
                f"{url} shows a certificate that cannot be verified: {cause.verify_message}. Name its authority with "
                "--ca-certs, and the server as its certificate does."
            )
        if isinstance(cause, ssl.SSLError):
            return f"{url} does not speak TLS as it should ({cause.reason or cause}); is it an http:// address?"
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    waiting, seen = [error], set[int]()
    while waiting:
        found = waiting.pop()
        if id(found) in seen:
            continue
        seen.add(id(found))
        yield found
        others = (found.__cause__, found.__context__, getattr(found, "reason", None), *found.args)
        waiting += [each for each in others if isinstance(each, BaseException)]
