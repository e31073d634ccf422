"""Sign requests for OpenSearch on AWS, by opensearch-py's own signer. Imports the errors, nothing else of ours."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args

from connector.errors import ClusterError

Service = Literal["es", "aoss"]
"""Amazon OpenSearch Service, and its Serverless."""

Signer = Callable[..., Mapping[str, str]]
"""Takes method, URL and body of a request; returns the headers to send, as `http_auth` of opensearch-py."""


def aws_signer(service: Service = "es", *, region: str | None = None) -> Signer:
    """Return a function that signs requests (SigV4), for `http_auth` of `connect`.

    It uses the credentials that botocore finds: AWS_ACCESS_KEY_ID etc., AWS_PROFILE, or the machine's role. botocore
    renews credentials that expire.

    Args:
        service: `es`, or `aoss` for Serverless.
        region: None uses AWS_REGION, else the region that botocore finds.

    Raises:
        ClusterError: `ksparse[aws]` is not installed, or there is no region, no profile or no credentials.
        ValueError: The service is unknown.
    """
    if service not in get_args(Service):
        raise ValueError(f"service {service!r} must be one of {', '.join(get_args(Service))}.")
    try:
        from botocore.exceptions import BotoCoreError
        from botocore.session import Session
    except ImportError as error:
        raise ClusterError(
            f"Signing for AWS ({service}) needs botocore, which is not installed: pip install 'ksparse[aws]'."
        ) from error
    from opensearchpy import Urllib3AWSV4SignerAuth

    logging.getLogger("botocore.auth").addFilter(_holds_no_token)
    session = Session()
    try:
        found = region or os.environ.get("AWS_REGION") or session.get_config_variable("region")
        credentials = session.get_credentials()
    except BotoCoreError as error:
        raise ClusterError(f"botocore finds no AWS credentials ({str(error).strip()}); correct AWS_PROFILE.") from error
    if not found:
        raise ClusterError("Signing for AWS needs a region; set AWS_REGION.")
    if credentials is None:
        raise ClusterError(
            "botocore finds no AWS credentials; set AWS_PROFILE, or AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY (and AWS_SESSION_TOKEN), or run where there is a role."
        )
    signer: Any = Urllib3AWSV4SignerAuth(credentials, found, service)
    return _explained(signer)


def _explained(signer: Signer) -> Signer:
    """Return the signer with a `ClusterError` if expired credentials cannot be renewed."""
    from botocore.exceptions import BotoCoreError

    def sign(method: str, url: str, body: bytes | None = None) -> Mapping[str, str]:
        try:
            return signer(method, url, body)
        except BotoCoreError as error:
            raise ClusterError(
                f"The AWS credentials cannot be renewed ({str(error).strip()}); sign in again."
            ) from error

    return sign


def _holds_no_token(record: logging.LogRecord) -> bool:
    """At DEBUG level, botocore logs the request that it signs, with AWS_SESSION_TOKEN in a header."""
    return not str(record.msg).startswith("CanonicalRequest")
