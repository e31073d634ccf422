"""`ksparse train splade`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from connector.cli.options import (
    cache_option,
    corpora_argument,
    device_option,
    max_minutes_option,
    quiet_option,
    splits_option,
    trained_output_option,
)
from connector.cli.progress import stages

_RULES = click.Choice(["none", "soft", "sigmoid", "hard", "gauss"])


@click.command(
    epilog="""\b
Examples:
  ksparse train splade beir/debian beir/wordnet --start SPLADE --output ht1 --max-minutes 10
  ksparse train splade beir/debian --start SPLADE --output ht3 --lambda-t 3
  ksparse train splade beir/debian --start SPLADE --output ht-idf --idf --self-taught 0.5
  ksparse train splade beir/debian --start SPLADE --output top100 --method topk --k 100
  ksparse ingest corpus.jsonl --index docs --encoder ht1
"""
)
@corpora_argument
@trained_output_option
@click.option("--start", required=True, help="A SPLADE to go on from: a folder, or a name on the model hub.")
@click.option("--teacher", default=None, help="Dense model.  [default: sentence-transformers/all-MiniLM-L6-v2]")
@click.option(
    "--method", type=click.Choice(["splade", "dt", "topk", "ht"]), default="ht", show_default=True,
    help="No thresholds, dynamic ones, the largest weights of each document, hybrid thresholds.",
)  # fmt: skip
@click.option("--query-rule", type=_RULES, help="How queries are thresholded.  [default: soft with ht]")
@click.option("--document-rule", type=_RULES, help="How documents are thresholded.  [default: hard with ht]")
@click.option("--steepness", type=click.FloatRange(min=0, min_open=True), default=25.0, show_default=True, help="K.")
@click.option("--k", type=click.IntRange(1), default=100, show_default=True, help="Weights per document (topk).")
@click.option("--idf", is_flag=True, help="Weigh queries by how rare their features are in the corpus searched.")
@click.option(
    "--self-taught", type=click.FloatRange(0, 1), default=0.0, show_default=True,
    help="Share of the start's own scores in what is taught; keeps what it knows of words.",
)  # fmt: skip
@click.option("--lambda-q", type=click.FloatRange(min=0), default=0.01, show_default=True, help="Shorter queries.")
@click.option("--lambda-d", type=click.FloatRange(min=0), default=0.008, show_default=True, help="Shorter documents.")
@click.option("--lambda-t", type=click.FloatRange(min=0), default=1.0, show_default=True, help="Higher thresholds.")
@splits_option
@click.option("--steps", type=click.IntRange(1), default=20_000, show_default=True)
@max_minutes_option
@click.option("--batch-size", type=click.IntRange(1), default=16, show_default=True, help="Queries of a step.")
@click.option("--negatives", type=click.IntRange(1), default=1, show_default=True, help="Mined for each query.")
@click.option("--max-length", type=click.IntRange(1), default=128, show_default=True, help="Tokens of a text.")
@click.option("--learning-rate", type=click.FloatRange(min=0, min_open=True), default=2e-5, show_default=True)
@click.option("--threshold-learning-rate", type=click.FloatRange(min=0, min_open=True), default=2e-3, show_default=True)
@click.option("--freeze-embeddings", is_flag=True, help="Leave the token embeddings as they are.")
@click.option("--seed", type=int, default=0, show_default=True)
@device_option
@cache_option
@quiet_option
def splade(
    corpus: tuple[Path, ...],
    output: Path,
    start: str,
    teacher: str | None,
    splits: tuple[str, ...],
    max_minutes: float | None,
    device: str | None,
    cache: Path | None,
    quiet: bool,
    **options: Any,
) -> None:
    """Train a SPLADE that learns which of its weights to keep (hybrid thresholding, Qiao et al. 2023).

    A corpus is a BEIR folder, whose train queries are learned from, or a file of documents, whose sentences stand for
    queries. A dense model scores what belongs together. A run that was stopped goes on if the same command is given
    again (with --cache, without embedding the texts again).
    """
    from connector.cli.encoder import open_encoder
    from connector.encoders.base_model import DEFAULT_BASE_MODEL, find_base_model, load_base_model
    from connector.encoders.device import choose_device
    from connector.training.distillation import read_taught
    from connector.training.embeddings import EmbeddingCache
    from connector.training.splade.card import save_splade
    from connector.training.splade.settings import SpladeSettings
    from connector.training.splade.trainer import train_splade

    try:
        settings = SpladeSettings(max_seconds=max_minutes * 60 if max_minutes else None, **options)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    device = choose_device(device)
    encoder = open_encoder(start, device=device)
    dense = find_base_model(teacher or DEFAULT_BASE_MODEL)
    with stages(quiet) as report:
        embedder = EmbeddingCache(load_base_model(dense, device), dense.name, cache)
        corpora = read_taught(corpus, embedder, splits=splits, seed=settings.seed, report=report)
        trained = train_splade(encoder.model, corpora, settings, checkpoint=output / "checkpoint.pt", progress=report)
    counts = {each.source.name: each.counts for each in corpora}
    save_splade(trained, output, settings, start=start, teacher=dense.name, data=counts)
    first, last = trained.validations[0], trained.validations[-1]
    click.echo(
        f"{output}: {trained.steps:,} steps in {trained.elapsed_s / 60:.1f} min; on held-out queries NDCG@10 "
        f"{last.ndcg:.3f} (before {first.ndcg:.3f}, teacher {last.teacher_ndcg:.3f}), {last.dlen:.0f} weights a "
        f"document and {last.qlen:.1f} a query (before {first.dlen:.0f} and {first.qlen:.1f}), {last.postings:.2f} N "
        f"postings per query (before {first.postings:.2f} N)"
    )
