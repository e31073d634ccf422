"""`rivals`."""

from __future__ import annotations

from pathlib import Path

import click

from benchmarks.cli.options import documents_option
from benchmarks.cli.stage import Options, common, on_stage, print_result


@click.command(
    epilog="""\b
Examples:
  python -m benchmarks rivals beir/scifact
  python -m benchmarks rivals packages --documents 100000 --max-queries 300
"""
)
@click.argument("dataset", type=click.Path(exists=True, file_okay=False, path_type=Path))
@documents_option
@click.option(
    "--native",
    is_flag=True,
    help="Also run Faiss, 1-bit HNSW and `flat` if the k-NN plugin's native library is not detected. Without it, they "
    "crash the node.",
)
@common
def rivals(dataset: Path, documents: int | None, native: bool, options: Options) -> None:
    """Compare a new index with HNSW of other engines and quantized, SEISMIC, and BM25 with HNSW in a `hybrid` query.

    Each has several settings, so that latency and bytes can be compared at equal quality.
    """
    from benchmarks.compare import Plan
    from benchmarks.scenarios import rivals as suite
    from benchmarks.suites import OwnDictionary

    with on_stage(options, [dataset]) as stage:
        data = stage.encode_first(dataset, documents, features=True)
        with stage.connect() as client:
            found = True if native else suite.has_native_library(client)
        result = stage.result("rivals", data, native=bool(found))
        plan = Plan(rounds=options.rounds)
        if not {suite.VECTORS, suite.WORDS} <= set(result.groups):
            own = OwnDictionary(data, stage.report)
        if suite.VECTORS not in result.groups:
            result.add(suite.VECTORS, stage.compare(data, suite.vector_systems(data, own, native=bool(found)), plan))
        if suite.WORDS not in result.groups:
            result.add(suite.WORDS, stage.compare(data, suite.word_systems(data, own), plan))
        if suite.NOT_RUN not in result.groups and (left_out := suite.why_not_run(found)):
            result.add(suite.NOT_RUN, list(left_out))
    print_result(result)
