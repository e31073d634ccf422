"""`demo`."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from benchmarks.cli.options import encoder_option
from connector.cli.progress import stages


@click.command(
    epilog="""\b
Examples:
  python -m benchmarks demo
  python -m benchmarks demo --corpus beir/scifact
  python -m benchmarks demo --keep      keep OpenSearch running, with the index ksparse-demo
"""
)
@click.option(
    "--corpus",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A BEIR folder.  [default: docstrings of the installed packages]",
)
@encoder_option
@click.option(
    "--documents", type=click.IntRange(100), default=3_000, show_default=True, help="Maximum number of docstrings."
)
@click.option(
    "--rounds",
    type=click.IntRange(1),
    default=2,
    show_default=True,
    help="Rounds of a block; blocks are repeated until the medians settle.",
)
@click.option(
    "--cache",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".cache/demo"),
    show_default=True,
    help="Cache folder for the corpus and embeddings.",
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path(".cache/demo/demo.json"),
    show_default=True,
    help="Result as JSON; the plot is stored next to it.",
)
@click.option("--keep", is_flag=True, help="Keep OpenSearch running, with the demo's index.")
def demo(corpus: Path | None, encoder: str, documents: int, rounds: int, cache: Path, output: Path, keep: bool) -> None:
    """Index a real corpus, answer three questions, and compare with HNSW."""
    from benchmarks import demo as job
    from benchmarks.datasets import cached_embed, check_sets, encode_set
    from benchmarks.docstrings import write_docstrings
    from benchmarks.plots import plot_frontier
    from benchmarks.report import COLUMNS, to_cells
    from connector.cli.encoder import open_encoder
    from connector.index.drop import drop_index

    started = time.monotonic()
    console = Console(width=None if Console().is_terminal else 130)
    if corpus is None:
        corpus = cache / f"docstrings-{documents}"
        if not (corpus / "qrels" / "test.tsv").is_file():
            console.print("Collecting docstrings of the standard library and the installed packages ...")
            count = write_docstrings(corpus, documents=documents)
            console.print(f"{count:,} docstrings in {corpus}; some of their first sentences are the queries.")
    check_sets([corpus])
    loading = ThreadPoolExecutor(1).submit(open_encoder, encoder)  # while OpenSearch starts
    with job.running_cluster(keep=keep, say=console.print) as cluster:
        loaded = loading.result()
        make_client = job.client_maker(cluster)
        client = make_client()
        with stages(quiet=False) as report:
            embed = cached_embed(loaded, cache / "embeddings", report)
            data = encode_set(corpus, loaded, embed, k_query=max(job.K_QUERIES))
            answers = job.answer_questions(client, data, job.QUESTIONS, report)
            rows = job.compare_with_hnsw(make_client, data, rounds=rounds, report=report)
        job.save_result(output, data, cluster, rows)
        if not keep:
            drop_index(client, job.DEMO_INDEX)
    for question, hits in zip(job.QUESTIONS, answers, strict=True):
        console.print(f"\n[bold]{question}[/bold]")
        for hit in hits:
            text = " ".join(f"{hit.source.get('title', '')} {hit.source.get('text', '')}".split())
            console.print(f"  {hit.score:.3f}  {hit.doc_id}: {text[:100]}", markup=False, highlight=False)
    table = Table(
        title=f"\n{data.name}: {len(data.documents):,} documents, {len(data.judged.queries):,} queries",
        title_justify="left",
        box=None,
        pad_edge=False,
    )
    for name in COLUMNS:
        table.add_column(name, justify="left" if name == "system" else "right")
    for cells in to_cells(rows):
        table.add_row(*cells)
    console.print(table)
    picture = output.with_suffix(".png")
    plot_frontier(rows, f"{data.name}, {len(data.documents):,} documents", picture)
    console.print(f"\nFigures: {output}; plot: {picture}. Total time: {time.monotonic() - started:.0f} s.")
    if keep:
        console.print(
            f'OpenSearch is still running. Try: ksparse search "..." --index {job.DEMO_INDEX}; stop it: ksparse down'
        )
