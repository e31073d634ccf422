"""`feature-selection`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from benchmarks.cli.options import cache_option, datasets_argument, encoder_option, print_rows, rows_option
from connector.cli.progress import stages

if TYPE_CHECKING:
    from benchmarks.datasets import EncodedSet
    from connector.encoders.text import TextEncoder


@click.command(
    "feature-selection",
    epilog="""\b
Examples:
  python -m benchmarks feature-selection beir/scifact beir/nfcorpus
  python -m benchmarks feature-selection beir/scifact --encoder my-head --learned my-head-with-thresholds
""",
)
@datasets_argument
@encoder_option
@click.option(
    "--learned", help="Encoder with learned thresholds (`ksparse train --thresholds`) and otherwise equal training."
)
@click.option("--max-queries", type=click.IntRange(1), default=2_000, show_default=True)
@cache_option
@rows_option
def feature_selection(
    datasets: tuple[Path, ...],
    encoder: str,
    learned: str | None,
    max_queries: int,
    cache: Path,
    output: Path | None,
) -> None:
    """Compare a fixed number of features with rules that depend on the text, at equal index size. Needs no server."""
    from benchmarks.datasets import cached_embed, check_sets, encode_set
    from benchmarks.report import selection_to_markdown
    from benchmarks.selection import WIDTH, compare_rules
    from connector.cli.encoder import open_encoder

    check_sets(datasets)
    loaded = open_encoder(encoder)
    other = open_encoder(learned) if learned is not None else None
    if other is not None and (other.head is None or other.head.thresholds is None):
        raise click.UsageError(f"{learned} has no thresholds; train it with `ksparse train --thresholds`.")
    results = {}
    with stages(quiet=False) as report:

        def encode(folder: Path, each: TextEncoder, k_doc: int | None, k_query: int) -> EncodedSet:
            embed = cached_embed(each, cache, report)
            return encode_set(folder, each, embed, max_queries=max_queries, k_doc=k_doc, k_query=k_query)

        for folder in datasets:
            data = encode(folder, loaded, *WIDTH)
            # As in training, with k as the upper bound.
            with_thresholds = encode(folder, other, None, other.k_query or WIDTH[1]) if other is not None else None
            progress = partial(report, f"searching {data.name}")
            results[data.name] = compare_rules(data, with_thresholds, progress=progress)
    params = {
        "encoder": str(loaded.fingerprint),
        "learned": str(other.fingerprint) if other is not None else None,
        "most_queries": max_queries,
    }
    print_rows("feature-selection", results, selection_to_markdown, output, params)
