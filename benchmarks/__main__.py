"""`python -m benchmarks`."""

from __future__ import annotations

import json
import time
from functools import partial
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from connector.cli.progress import stages
from connector.errors import ConnectorError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def benchmarks() -> None:
    """Compare systems on a live OpenSearch."""


@benchmarks.command(
    epilog="""\b
Examples:
  python -m benchmarks demo
  python -m benchmarks demo --corpus beir/scifact
  python -m benchmarks demo --keep      leave OpenSearch up, with the index ksparse-demo to search in
"""
)
@click.option(
    "--corpus",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A BEIR folder.  [default: docstrings of the installed packages]",
)
@click.option("--encoder", default="all-MiniLM-L6-v2", show_default=True, help="A dense model with a K-sparse head.")
@click.option("--documents", type=click.IntRange(100), default=12_000, show_default=True, help="Docstrings at most.")
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True, help="Timed rounds, after a warm-up.")
@click.option(
    "--cache",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".cache/demo"),
    show_default=True,
    help="Corpus and embeddings are kept here.",
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path(".cache/demo/demo.json"),
    show_default=True,
    help="Result as JSON; the plot lies beside it.",
)
@click.option("--keep", is_flag=True, help="Leave OpenSearch and the demo's index as they are.")
def demo(corpus: Path | None, encoder: str, documents: int, rounds: int, cache: Path, output: Path, keep: bool) -> None:
    """Index a real corpus, answer three questions, and compare with HNSW."""
    from benchmarks import demo as job
    from benchmarks.datasets import cached_embed, encode_set
    from benchmarks.docstrings import write_docstrings
    from benchmarks.report import columns, plot, to_cells
    from connector.cli.encoder import open_encoder
    from connector.index.client import connect

    started = time.monotonic()
    console = Console(width=None if Console().is_terminal else 130)
    if corpus is None:
        corpus = cache / f"docstrings-{documents}"
        if not (corpus / "qrels" / "test.tsv").is_file():
            console.print("Collecting the docstrings of Python's library and the installed packages ...")
            count = write_docstrings(corpus, documents=documents)
            console.print(f"{count:,} docstrings in {corpus}; the first sentence of some is a query for the rest.")
    loaded = open_encoder(encoder)
    with job.running_cluster(keep=keep, say=console.print) as cluster:
        make_client = partial(
            connect, cluster.url, username=cluster.username, password=cluster.password, timeout_s=1_800
        )
        client = make_client()
        with stages(quiet=False) as report:
            embed = cached_embed(loaded, cache / "embeddings", report)
            data = encode_set(corpus, loaded, embed, k_query=max(job.K_QUERIES))
            answers = job.answer_questions(client, data, job.QUESTIONS)
            rows = job.compare_with_hnsw(make_client, data, rounds=rounds, report=report)
        job.save_result(output, data, cluster, rows)
        if not keep:
            client.indices.delete(index=job.DEMO_INDEX, ignore_unavailable=True)
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
    for name in columns():
        table.add_column(name, justify="left" if name == "system" else "right")
    for cells in to_cells(rows):
        table.add_row(*cells)
    console.print(table)
    picture = output.with_suffix(".png")
    plot(rows, f"{data.name}, {len(data.documents):,} documents", picture)
    console.print(f"\n{output} and {picture} hold the figures and the plot. {time.monotonic() - started:.0f} s in all.")
    if keep:
        console.print(f'OpenSearch stays up. Try: ksparse search "..." --index {job.DEMO_INDEX}; stop: ksparse down')


@benchmarks.command(
    "encoder-frontier",
    epilog="""\b
Examples:
  python -m benchmarks encoder-frontier beir/scifact beir/nfcorpus
  python -m benchmarks encoder-frontier beir/scifact --encoder my-head --output my-head.json
""",
)
@click.argument("datasets", nargs=-1, required=True, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--encoder", default="all-MiniLM-L6-v2", show_default=True, help="A dense model with a K-sparse head.")
@click.option("--split", default="test", show_default=True, help="Judgements to use.")
@click.option("--most-queries", type=click.IntRange(1), default=2_000, show_default=True)
@click.option(
    "--calibrate/--no-calibrate",
    default=True,
    show_default=True,
    help="Tell the encoder the statistics of each corpus, as `ksparse ingest` does.",
)
@click.option(
    "--cache",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".cache/embeddings"),
    show_default=True,
    help="Embeddings are kept here.",
)
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Write the rows as JSON.")
@click.option(
    "--card",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Put the scores into a head's README.md.",
)
def encoder_frontier(
    datasets: tuple[Path, ...],
    encoder: str,
    split: str,
    most_queries: int,
    calibrate: bool,
    cache: Path,
    output: Path | None,
    card: Path | None,
) -> None:
    """Measure what an encoder keeps of dense quality, and at how many postings. Needs no server."""
    from benchmarks.datasets import cached_embed, encode_set
    from benchmarks.frontier import encoder_frontier as measure
    from benchmarks.report import SCORES_HEADING, frontier_to_markdown, scores_section
    from connector.cli.encoder import open_encoder
    from connector.encoders.training.validation import FRONTIER

    loaded = open_encoder(encoder)
    results = {}
    with stages(quiet=False) as report:
        for folder in datasets:
            data = encode_set(
                folder,
                loaded,
                cached_embed(loaded, cache, report),
                split=split,
                most_queries=most_queries,
                k_doc=max(k_doc for k_doc, _ in FRONTIER),
                k_query=max(k_query for _, k_query in FRONTIER),
                calibrate=calibrate,
            )
            results[data.name] = measure(
                data,
                loaded.num_latents,
                num_latents=loaded.head.num_latents if loaded.head is not None else None,
                progress=partial(report, f"searching {data.name}"),
            )
    for name, rows in results.items():
        click.echo(f"\n{name}\n\n{frontier_to_markdown(rows)}")
    if output is not None:
        params = {
            "encoder": str(loaded.fingerprint),
            "split": split,
            "most_queries": most_queries,
            "calibrate": calibrate,
        }
        output.write_text(json.dumps({"params": params, "results": results}, indent=2) + "\n", encoding="utf-8")
    if card is not None:
        above, *_ = card.read_text(encoding="utf-8").split(f"\n{SCORES_HEADING}")
        card.write_text(f"{above}\n{scores_section(results)}", encoding="utf-8")


def _add_table(number: int, what: str) -> None:
    """Add `ksparse-tableN`; the tables differ in nothing but their rows."""

    @benchmarks.command(
        f"ksparse-table{number}", help=f"Table {number} of the K-sparse paper: {what}. Needs no server."
    )
    @click.argument("corpora", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
    @click.option(
        "--test",
        required=True,
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        help="The judged set (the paper: SciFact); not to be among the CORPORA that heads are trained on.",
    )
    @click.option("--steps", type=click.IntRange(1), default=1_200, show_default=True, help="Updates of each head.")
    @click.option(
        "--cache",
        type=click.Path(file_okay=False, path_type=Path),
        default=Path(".cache/embeddings"),
        show_default=True,
        help="Embeddings and trained heads are kept here.",
    )
    @click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Write the rows as JSON.")
    def table(corpora: tuple[Path, ...], test: Path, steps: int, cache: Path, output: Path | None) -> None:
        from benchmarks import ksparse_tables
        from connector.encoders.base_model import DEFAULT_BASE_MODEL, find_base_model, load_base_model
        from connector.encoders.training.data import concatenate
        from connector.encoders.training.embeddings import EmbeddingCache
        from connector.encoders.training.sources import read_texts

        dense = find_base_model(DEFAULT_BASE_MODEL)
        embedder = EmbeddingCache(load_base_model(dense, "cpu"), dense.name, cache)
        with stages(quiet=False) as report:
            parts = [
                read_texts(path).embed(embedder, partial(report, f"embedding {path.name}"), lexical=False)
                for path in corpora
            ]
            bench = ksparse_tables.Bench(
                data=concatenate(parts),
                test=test,
                base_model=DEFAULT_BASE_MODEL,
                embed=lambda texts: embedder.embed(texts, progress=partial(report, "embedding the test set")),
                heads=cache / "heads",
                steps=steps,
                report=report,
            )
            rows = ksparse_tables.TABLES[number](bench)
        click.echo(ksparse_tables.to_markdown(rows))
        if output is not None:
            params: dict[str, object] = {
                "trained on": [path.name for path in corpora],
                "documents": len(bench.data.documents),
            }
            params |= {"test": test.name, "steps": steps, "base_model": DEFAULT_BASE_MODEL}
            output.write_text(json.dumps({"params": params, "results": rows}, indent=2) + "\n", encoding="utf-8")


_add_table(1, "iVAE, K-sparse and dense")
_add_table(2, "quality by k")
_add_table(3, "quality by the weights of the loss")


def main() -> None:
    """Run the command; an error that we foresaw is one line."""
    try:
        benchmarks(prog_name="python -m benchmarks")
    except ConnectorError as error:
        raise SystemExit(f"Error: {error}") from error


if __name__ == "__main__":
    main()
