"""`rivals`."""

from __future__ import annotations

from pathlib import Path

import click

from benchmarks.cli.stage import Options, common, documents_option, on_stage


@click.command(
    epilog="""\b
Examples:
  python -m benchmarks rivals beir/scifact
  python -m benchmarks rivals packages --documents 100000 --most-queries 300
"""
)
@click.argument("dataset", type=click.Path(exists=True, file_okay=False, path_type=Path))
@documents_option
@click.option(
    "--native",
    is_flag=True,
    help="Run 1-bit HNSW and `flat` though the k-NN plugin's native library cannot be seen from here. It ends a node "
    "that lacks it.",
)
@common
def rivals(dataset: Path, documents: int | None, native: bool, options: Options) -> None:
    """What a user has today beside a new index: quantized HNSW, SEISMIC, BM25 with HNSW by the `hybrid` query.

    Each at several settings, so that latency and bytes can be read off at equal quality.
    """
    from benchmarks.compare import Plan
    from benchmarks.scenarios import rivals as suite
    from benchmarks.scenarios.tables import rivals_to_markdown
    from benchmarks.suites import OwnDictionary

    with on_stage(options, [dataset]) as stage:
        data = stage.encode_first(dataset, documents, features=True)
        with stage.connect() as client:
            found = True if native else suite.has_native_library(client)
        result = stage.result("rivals", data, native=bool(found))
        plan = Plan(rounds=options.rounds)
        if not {suite.VECTORS, suite.WORDS} <= set(result.groups):
            own = OwnDictionary(data)
        if suite.VECTORS not in result.groups:
            result.add(suite.VECTORS, stage.compare(data, suite.vector_systems(data, own, native=bool(found)), plan))
        if suite.WORDS not in result.groups:
            result.add(suite.WORDS, stage.compare(data, suite.word_systems(data, own), plan))
        if suite.NOT_RUN not in result.groups and (left_out := suite.why_not_run(found)):
            result.add(suite.NOT_RUN, list(left_out))
    click.echo(f"\n{rivals_to_markdown(result.groups)}")
    click.echo(f"{result.path}; python -m benchmarks report {result.path} draws it.")
