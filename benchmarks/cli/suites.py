"""`frontier` and `ksparse-table4`: suites on a live node."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from connector.cli.progress import stages

if TYPE_CHECKING:
    from opensearchpy import OpenSearch

    from benchmarks.compare import Report
    from connector.cluster import Cluster


def _common(command: Callable[..., None]) -> Callable[..., None]:
    options = (
        click.option("--encoder", default="all-MiniLM-L6-v2", show_default=True, help="A dense model with a head."),
        click.option("--most-queries", type=click.IntRange(1), default=500, show_default=True),
        click.option("--rounds", type=click.IntRange(1), default=3, show_default=True, help="Timed, after a warm-up."),
        click.option(
            "--cache",
            type=click.Path(file_okay=False, path_type=Path),
            default=Path(".cache/embeddings"),
            show_default=True,
            help="Embeddings and trained heads are kept here.",
        ),
        click.option(
            "--output",
            type=click.Path(dir_okay=False, path_type=Path),
            help="Result as JSON; a run that was stopped goes on with it.  [default: .cache/SUITE-DATASET.json]",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


@contextmanager
def _node(report_to: Callable[[str], None]) -> Iterator[tuple[Cluster, Callable[[], OpenSearch]]]:
    from benchmarks.demo import running_cluster
    from connector.index.client import connect

    with running_cluster(keep=False, say=report_to) as cluster:
        yield (
            cluster,
            partial(connect, cluster.url, username=cluster.username, password=cluster.password, timeout_s=1_800),
        )


def _say(text: str) -> None:
    click.echo(text, err=True)


@click.command(
    epilog="""\b
Examples:
  python -m benchmarks frontier beir/scifact
  python -m benchmarks frontier beir/scifact --clients 1 --clients 8 --splade folder-of-a-splade
"""
)
@click.argument("dataset", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--split", default="test", show_default=True, help="Judgements to use.")
@click.option("--splade", help="A SPLADE (folder or name) to compare with as well.")
@click.option("--clients", multiple=True, type=click.IntRange(1), help="Measure throughput with so many. Repeatable.")
@_common
def frontier(
    dataset: Path,
    split: str,
    splade: str | None,
    clients: tuple[int, ...],
    encoder: str,
    most_queries: int,
    rounds: int,
    cache: Path,
    output: Path | None,
) -> None:
    """Compare all systems at all their settings on one judged set."""
    from benchmarks.compare import Plan, compare
    from benchmarks.datasets import cached_embed, encode_set
    from benchmarks.environment import describe
    from benchmarks.report import to_markdown
    from benchmarks.results import ResultFile
    from benchmarks.suites import all_systems
    from connector.cli.encoder import open_encoder

    loaded = open_encoder(encoder)
    with _node(_say) as (cluster, connect), stages(quiet=False) as report:
        embed = cached_embed(loaded, cache, report)
        data = encode_set(dataset, loaded, embed, split=split, most_queries=most_queries, k_doc=128, k_query=64)
        params: dict[str, Any] = {"dataset": data.name, "documents": len(data.documents)}
        params |= {"queries": len(data.judged.queries), "split": split, "rounds": rounds, "clients": list(clients)}
        params |= {"encoder": str(data.encoder.fingerprint), "splade": splade}
        result = ResultFile(output or Path(f".cache/frontier-{data.name}.json"), "frontier", params, describe(cluster))
        if data.name not in result.groups:
            systems = all_systems(data, splade=_encode_splade(splade, data, report) if splade else None)
            plan = Plan(rounds=rounds, clients=clients, deep=True)
            result.add(data.name, compare(connect, data, systems, plan, report=report))
    click.echo(to_markdown(result.groups[data.name]))
    click.echo(f"{result.path}; python -m benchmarks report {result.path} draws it.")


def _encode_splade(name: str, data: Any, report: Report) -> Any:  # noqa: ANN401
    from connector.encoders.load import load_encoder

    model = load_encoder(name, k=100, k_query=64)
    texts = [document.content for document in data.documents]
    report("encoding by SPLADE", 0.0)
    documents = model.encode_document(texts, batch_size=32)
    queries = model.encode_query([query.text for query in data.judged.queries])
    report("encoding by SPLADE", 1.0)
    return model.fingerprint, documents, queries


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
    help="Of a subset. Repeatable; those larger than the set are left out.",
)
@click.option("--k", "ks", multiple=True, type=click.IntRange(1, 3_000), default=(100, 200, 600), show_default=True)
@click.option("--steps", type=click.IntRange(1), default=1_200, show_default=True, help="Updates of each head.")
@_common
def ksparse_table4(
    dataset: Path,
    sizes: tuple[int, ...],
    ks: tuple[int, ...],
    steps: int,
    encoder: str,
    most_queries: int,
    rounds: int,
    cache: Path,
    output: Path | None,
) -> None:
    """Table 4 of the K-sparse paper: disk, latency and quality beside HNSW, on subsets of a set."""
    from benchmarks.compare import Plan, compare
    from benchmarks.datasets import cached_embed, encode_set
    from benchmarks.environment import describe
    from benchmarks.ksparse_tables import Bench
    from benchmarks.report import to_markdown
    from benchmarks.results import ResultFile
    from benchmarks.suites import subset, table_4_systems
    from connector.cli.encoder import open_encoder
    from connector.encoders.training.embeddings import EmbeddingCache
    from connector.encoders.training.sources import read_texts

    loaded = open_encoder(encoder)
    with _node(_say) as (cluster, connect), stages(quiet=False) as report:
        embed = cached_embed(loaded, cache, report)
        data = encode_set(dataset, loaded, embed, most_queries=most_queries, k_doc=64, k_query=32)
        params: dict[str, Any] = {"dataset": data.name, "queries": len(data.judged.queries), "rounds": rounds}
        params |= {"k": list(ks), "steps": steps, "encoder": str(data.encoder.fingerprint)}
        result = ResultFile(
            output or Path(f".cache/ksparse-table4-{data.name}.json"), "ksparse-table4", params, describe(cluster)
        )
        open_sizes = [size for size in sizes if size <= len(data.documents) and f"{size}" not in result.groups]
        if open_sizes:
            embedder = EmbeddingCache(loaded.dense_model(), loaded.fingerprint.base_model, cache)
            training = read_texts(dataset).embed(embedder, lexical=False)
            bench = Bench(training, dataset, loaded.fingerprint.base_model, embed, cache / "heads", steps, report)
            papers = {
                k: encode_set(
                    dataset,
                    bench.encoder(bench.settings(k=k, k_query=k)),
                    embed,
                    most_queries=most_queries,
                    k_doc=k,
                    k_query=k,
                    calibrate=False,
                )
                for k in ks
            }
        for size in open_sizes:
            some = {k: subset(other, size, queries=most_queries) for k, other in papers.items()}
            small = subset(data, size, queries=most_queries)
            systems = table_4_systems(small, some)
            result.add(f"{size}", compare(connect, small, systems, Plan(rounds=rounds), report=report))
    for group, rows in result.groups.items():
        click.echo(f"\n{data.name}, {int(group):,} documents\n\n{to_markdown(rows)}")
    click.echo(f"{result.path}; python -m benchmarks report {result.path} draws it.")


@click.command(
    epilog="""\b
Examples:
  python -m benchmarks growth beir/msmarco
  python -m benchmarks growth beir/msmarco --documents 10000 --documents 100000
"""
)
@click.argument("dataset", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--documents",
    "sizes",
    multiple=True,
    type=click.IntRange(10),
    default=(10_000, 30_000, 100_000, 300_000, 1_000_000),
    show_default=True,
    help="Repeatable; beyond the set's size, documents are resampled.",
)
@_common
def growth(
    dataset: Path,
    sizes: tuple[int, ...],
    encoder: str,
    most_queries: int,
    rounds: int,
    cache: Path,
    output: Path | None,
) -> None:
    """Bytes and latency by the number of documents, beside HNSW, with the exponents that fit."""
    from benchmarks.compare import Plan, compare
    from benchmarks.datasets import cached_embed, encode_set
    from benchmarks.environment import describe
    from benchmarks.growth import grown
    from benchmarks.report import to_markdown
    from benchmarks.results import ResultFile
    from benchmarks.suites import growth_systems
    from connector.cli.encoder import open_encoder

    loaded = open_encoder(encoder)
    with _node(_say) as (cluster, connect), stages(quiet=False) as report:
        embed = cached_embed(loaded, cache, report)
        data = encode_set(dataset, loaded, embed, most_queries=most_queries, k_doc=64, k_query=32)
        params: dict[str, Any] = {"dataset": data.name, "queries": len(data.judged.queries), "rounds": rounds}
        params |= {"real documents": len(data.documents), "encoder": str(data.encoder.fingerprint)}
        result = ResultFile(output or Path(f".cache/growth-{data.name}.json"), "growth", params, describe(cluster))
        for size in sorted(sizes):
            if f"{size}" not in result.groups:
                larger = grown(data, size, progress=partial(report, f"resampling to {size:,} documents"))
                rows = compare(connect, larger, growth_systems(larger), Plan(rounds=rounds), report=report)
                result.add(f"{size}", rows)
    for group, rows in result.groups.items():
        click.echo(f"\n{int(group):,} documents\n\n{to_markdown(rows)}")
    click.echo(f"{result.path}; python -m benchmarks report {result.path} draws it.")
