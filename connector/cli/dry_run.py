"""The temporary index and the output of `ksparse ingest --dry-run`."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from opensearchpy import OpenSearch

    from connector.index.new_index import NewIndex
    from connector.index.schema import IndexSchema
    from connector.ingest.predict import Prediction


def like_existing(client: OpenSearch, schema: IndexSchema, new: NewIndex) -> NewIndex:
    """Properties of an index that accepts the same documents as an existing one.

    Args:
        client: A connected client.
        schema: Schema of the existing index, or of an alias; then of its write index.
        new: The other properties.

    Raises:
        ClusterError: The server is unreachable or denies access.
    """
    from connector.index.schema import read_further_mappings
    from connector.index.writer import BulkWriter
    from connector.search.reencode import copied_settings

    written = BulkWriter(client, schema.index).target.index or schema.names[0]
    settings = copied_settings(client, written)
    return replace(
        new,
        fields={},
        mappings=read_further_mappings(client, written),
        settings={name: settings[name] for name in ("analysis", "mapping") if name in settings},
        code_bits=schema.code.bits if schema.code is not None else None,
    )


def print_prediction(index: str, prediction: Prediction, *, as_json: bool) -> None:
    """Print the predicted size, time and failures of a run."""
    if as_json:
        click.echo(json.dumps({"index": index, **asdict(prediction)}))
        return
    per_document = prediction.index_bytes / max(1, prediction.documents)
    click.echo(
        f"{index}: {prediction.documents:,} documents in {prediction.requests:,} requests, about "
        f"{prediction.index_bytes / 1e6:,.1f} MB ({per_document:,.0f} bytes per document), {prediction.seconds:,.0f} s "
        f"to encode. {prediction.malformed:,} records are malformed; of {prediction.sampled:,} randomly sampled "
        f"documents {prediction.refused:,} were refused. Nothing was written."
    )
    for reason in prediction.reasons:
        click.echo(f"would be dead-lettered: {reason}", err=True)
