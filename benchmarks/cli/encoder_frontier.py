"""`encoder-frontier`."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import click

from connector.cli.progress import stages


@click.command(
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
        content = {"suite": "encoder-frontier", "params": params, "results": results}
        output.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    if card is not None:
        above, *_ = card.read_text(encoding="utf-8").split(f"\n{SCORES_HEADING}")
        card.write_text(f"{above}\n{scores_section(results)}", encoding="utf-8")
