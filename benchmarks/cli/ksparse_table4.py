"""`ksparse-table4`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from benchmarks.cli.stage import Options, Stage, common, on_stage, print_comparison

if TYPE_CHECKING:
    from benchmarks.datasets import EncodedSet


@click.command(
    "ksparse-table4",
    epilog="""\b
Examples:
  python -m benchmarks ksparse-table4 beir/msmarco
  python -m benchmarks ksparse-table4 beir/msmarco --documents 25000 --documents 50000 --steps 600
""",
)
@click.argument("dataset", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--documents",
    "sizes",
    multiple=True,
    type=click.IntRange(100),
    default=(25_000, 50_000, 100_000),
    show_default=True,
    help="Size of a subset; repeatable. Sizes above that of the set are skipped.",
)
@click.option("--k", "ks", multiple=True, type=click.IntRange(1, 3_000), default=(100, 200, 600), show_default=True)
@click.option("--steps", type=click.IntRange(1), default=1_200, show_default=True, help="Training steps of each head.")
@common
def ksparse_table4(dataset: Path, sizes: tuple[int, ...], ks: tuple[int, ...], steps: int, options: Options) -> None:
    """Table 4 of the K-sparse paper: disk, latency and quality compared with HNSW, on subsets of a set."""
    from benchmarks.compare import Plan
    from benchmarks.suites import subset, table_4_systems

    with on_stage(options, [dataset]) as stage:
        data = stage.encode(dataset, k_doc=64, k_query=32)
        result = stage.result("ksparse-table4", data, k=ks, steps=steps)
        left = [size for size in sizes if size <= len(data.documents) and f"{size}" not in result.groups]
        papers = _encode_as_the_paper(stage, dataset, ks, steps) if left else {}
        for size in left:
            small = subset(data, size, queries=options.max_queries)
            smaller = {k: subset(other, size, queries=options.max_queries) for k, other in papers.items()}
            result.add(f"{size}", stage.compare(small, table_4_systems(small, smaller), Plan(rounds=options.rounds)))
    print_comparison(result)


def _encode_as_the_paper(stage: Stage, dataset: Path, ks: tuple[int, ...], steps: int) -> dict[int, EncodedSet]:
    """Train the paper's head for each k on the set's documents, and encode the set."""
    from benchmarks.datasets import encode_set
    from benchmarks.ksparse_tables import Bench
    from connector.training.embeddings import EmbeddingCache
    from connector.training.sources import read_texts

    options, base_model = stage.options, stage.encoder.fingerprint.base_model
    embedder = EmbeddingCache(stage.encoder.dense_model(), base_model, options.cache)
    training = read_texts(dataset).embed(embedder, lexical=False)
    bench = Bench(training, dataset, base_model, stage.embed, options.cache / "heads", steps, stage.report)
    return {
        k: encode_set(
            dataset,
            bench.encoder(bench.settings(k=k, k_query=k)),
            stage.embed,
            max_queries=options.max_queries,
            k_doc=k,
            k_query=k,
            calibrate=False,
        )
        for k in ks
    }
