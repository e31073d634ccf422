"""The output of `ksparse ingest --dry-run`."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from connector.ingest.predict import Prediction


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
