"""`dictionary-levers`."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from benchmarks.cli.options import (
    cache_option,
    datasets_argument,
    documents_option,
    encoder_option,
    print_rows,
    rows_option,
)
from connector.cli.progress import stages


@click.command(
    "dictionary-levers",
    epilog="""\b
Examples:
  python -m benchmarks dictionary-levers beir/scifact beir/nfcorpus
  python -m benchmarks dictionary-levers packages --documents 100000 --output levers.json
""",
)
@datasets_argument
@encoder_option
@documents_option
@click.option("--max-queries", type=click.IntRange(1), default=500, show_default=True)
@cache_option
@rows_option
def dictionary_levers(
    datasets: tuple[Path, ...],
    encoder: str,
    documents: int | None,
    max_queries: int,
    cache: Path,
    output: Path | None,
) -> None:
    """Change one setting of a dictionary at a time: neighbours found, quality and postings. Needs no server."""
    from benchmarks.datasets import cached_embed, check_sets, encode_set
    from benchmarks.dictionary_levers import compare_levers
    from benchmarks.dictionary_levers_table import dictionary_levers_to_markdown
    from connector.cli.encoder import open_encoder

    check_sets(datasets)
    loaded = open_encoder(encoder)
    results = {}
    with stages(quiet=False) as report:
        for folder in datasets:
            embed = cached_embed(loaded, cache, report)
            data = encode_set(folder, loaded, embed, max_queries=max_queries, max_documents=documents, features=False)
            results[data.name] = compare_levers(data, progress=partial(report, f"searching {data.name}"))
    params = {"encoder": str(loaded.fingerprint), "max_documents": documents, "max_queries": max_queries}
    print_rows("dictionary-levers", results, dictionary_levers_to_markdown, output, params)
