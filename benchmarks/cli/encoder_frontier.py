"""`encoder-frontier`."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from benchmarks.cli.options import cache_option, datasets_argument, encoder_option, print_rows, rows_option
from connector.cli.progress import stages


@click.command(
    "encoder-frontier",
    epilog="""\b
Examples:
  python -m benchmarks encoder-frontier beir/scifact beir/nfcorpus
  python -m benchmarks encoder-frontier beir/scifact --encoder my-head --output my-head.json
""",
)
@datasets_argument
@encoder_option
@click.option("--split", default="test", show_default=True, help="Split whose judgements are used.")
@click.option("--max-queries", type=click.IntRange(1), default=2_000, show_default=True)
@click.option(
    "--calibrate/--no-calibrate",
    default=True,
    show_default=True,
    help="Calibrate the encoder with the statistics of each corpus, as `ksparse ingest` does.",
)
@cache_option
@rows_option
@click.option(
    "--card",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Write the scores to the README.md of a head.",
)
def encoder_frontier(
    datasets: tuple[Path, ...],
    encoder: str,
    split: str,
    max_queries: int,
    calibrate: bool,
    cache: Path,
    output: Path | None,
    card: Path | None,
) -> None:
    """Measure the dense quality that an encoder preserves, and its postings. Needs no server."""
    from benchmarks.datasets import cached_embed, check_sets, encode_set
    from benchmarks.frontier import encoder_frontier as measure
    from benchmarks.report import SCORES_HEADING, frontier_to_markdown, scores_section
    from connector.cli.encoder import open_encoder
    from connector.training.validation import FRONTIER

    check_sets(datasets, split)
    loaded = open_encoder(encoder)
    results = {}
    with stages(quiet=False) as report:
        for folder in datasets:
            data = encode_set(
                folder,
                loaded,
                cached_embed(loaded, cache, report),
                split=split,
                max_queries=max_queries,
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
    params = {
        "encoder": str(loaded.fingerprint),
        "split": split,
        "most_queries": max_queries,
        "calibrate": calibrate,
    }
    print_rows("encoder-frontier", results, frontier_to_markdown, output, params)
    if card is not None:
        above, *_ = card.read_text(encoding="utf-8").split(f"\n{SCORES_HEADING}")
        card.write_text(f"{above}\n{scores_section(results)}", encoding="utf-8")
