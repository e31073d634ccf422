"""Search an index on Amazon OpenSearch Service: every request is signed (SigV4).

    AWS_REGION=eu-west-1 python examples/aws_signed.py https://DOMAIN --index docs "how do plants eat"

botocore finds the credentials as for all AWS tools: in the environment, in a profile, or from the machine's role.
"""

from __future__ import annotations

import argparse

from connector import SparseIndex, connect
from connector.connection.aws import aws_signer


def main() -> None:
    """Search and print the hits."""
    parser = argparse.ArgumentParser(description="Search an index on Amazon OpenSearch Service.")
    parser.add_argument("url")
    parser.add_argument("query")
    parser.add_argument("--index", required=True)
    parser.add_argument("--service", choices=["es", "aoss"], default="es", help="aoss for Serverless.")
    arguments = parser.parse_args()
    # The signers of opensearch-py work as well.
    client = connect(arguments.url, http_auth=aws_signer(arguments.service))
    for hit in SparseIndex(arguments.index, client=client).search(arguments.query, top_k=3):
        print(f"{hit.score:.3f} {hit.id} {hit.text[:80]}")


if __name__ == "__main__":
    main()
