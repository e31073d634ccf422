"""`frontier`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from benchmarks.cli.stage import Options, Stage, common, on_stage, print_comparison

if TYPE_CHECKING:
    from benchmarks.datasets import EncodedSet
    from benchmarks.suites import Splade
    from connector.encoders.text import TextEncoder


@click.command(
    epilog="""\b
Examples:
  python -m benchmarks frontier beir/scifact
  python -m benchmarks frontier beir/scifact --clients 1 --clients 8 --splade bert-tiny-splade-ht
"""
)
@click.argument("dataset", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--split", default="test", show_default=True, help="Split whose judgements are used.")
@click.option("--splade", help="Also compare a SPLADE (folder or name).")
@click.option("--clients", multiple=True, type=click.IntRange(1), help="Number of clients for throughput; repeatable.")
@common
def frontier(dataset: Path, split: str, splade: str | None, clients: tuple[int, ...], options: Options) -> None:
    """Compare all systems at all settings on a judged set."""
    from benchmarks.compare import Plan
    from benchmarks.suites import all_systems
    from connector.encoders.folders import check_encoder
    from connector.encoders.load import load_encoder

    if splade:
        check_encoder(splade)
    with on_stage(options, [dataset], split=split) as stage:
        model = load_encoder(splade, k=100, k_query=64) if splade else None
        data = stage.encode(dataset, split=split, k_doc=128, k_query=64)
        result = stage.result("frontier", data, split=split, clients=clients, splade=model and model.fingerprint.digest)
        if data.name not in result.groups:
            systems = all_systems(data, splade=_encode(model, data, stage) if model is not None else None)
            plan = Plan(rounds=options.rounds, clients=clients, encoding=True, memory=True, deep=True)
            result.add(data.name, stage.compare(data, systems, plan))
    print_comparison(result)


def _encode(model: TextEncoder, data: EncodedSet, stage: Stage) -> Splade:
    from benchmarks.datasets import encode_by

    stage.report("encoding with SPLADE", 0.0)
    encoder, documents, queries = encode_by(model, data, stage.options.cache)
    stage.report("encoding with SPLADE", 1.0)
    return encoder.fingerprint, documents, queries
