"""`ksparse train queries`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from connector.cli.encoder_option import head_option
from connector.cli.layout import layout_options
from connector.cli.options import (
    corpora_argument,
    max_minutes_option,
    splits_option,
    trained_output_option,
    training_options,
)
from connector.cli.progress import stages
from connector.cli.settings import make_settings, naming_options, settings_option
from connector.corpus.layout import Layout
from connector.training.static_queries.settings import MIN_QUERIES, StaticSettings


@click.command(
    epilog="""\b
Examples:
  ksparse train queries beir/scifact beir/nfcorpus --output fast-head
  ksparse train queries corpus.jsonl --encoder my-head --output fast-head --max-minutes 10
  ksparse search "how do plants eat" --index docs --encoder fast-head
"""
)
@corpora_argument
@layout_options
@trained_output_option
@head_option("Initial head: a folder, or the name of a shipped one.")
@splits_option
@settings_option(StaticSettings, "steps", "--steps", click.IntRange(1))
@max_minutes_option
@settings_option(StaticSettings, "batch_size", "--batch-size", click.IntRange(8), "Queries per step.")
@settings_option(StaticSettings, "learning_rate", "--learning-rate", click.FloatRange(min=0, min_open=True))
@training_options
def queries(
    corpus: tuple[Path, ...],
    output: Path,
    encoder: str | None,
    splits: tuple[str, ...],
    max_minutes: float | None,
    device: str | None,
    cache: Path | None,
    quiet: bool,
    layout: Layout,
    **options: Any,
) -> None:
    """Train a static query encoder that approximates the dense model's embeddings.

    The output folder contains the head and the query encoder. It searches existing indices of the head, since
    documents are encoded as before. A corpus is a BEIR folder, whose train queries are used, or a file of documents,
    whose sentences serve as queries. The same command resumes a stopped run.
    """
    from connector.cli.encoder import open_encoder
    from connector.encoders.load import DEFAULT_ENCODER, head_folder
    from connector.training.distillation import embed_corpora
    from connector.training.embeddings import EmbeddingCache
    from connector.training.sources import check_queries, read_sources
    from connector.training.static_queries.card import save_static
    from connector.training.static_queries.trainer import train_static

    settings = make_settings(StaticSettings, max_minutes=max_minutes, **options)
    head = head_folder(encoder or DEFAULT_ENCODER)
    sources = read_sources(corpus, splits=splits, seed=settings.seed, layout=layout)
    check_queries(sources, MIN_QUERIES)
    output.mkdir(parents=True, exist_ok=True)
    opened = open_encoder(str(head), device=device)
    dense, base_model = opened.dense_model(), opened.fingerprint.base_model
    with naming_options(), stages(quiet) as report:
        embedder = EmbeddingCache(dense, base_model, cache)
        corpora = embed_corpora(sources, embedder, report=report)
        trained = train_static(dense, corpora, settings, checkpoint=output / "queries.pt", progress=report)
    counts = {each.source.name: each.counts for each in corpora}
    save_static(trained, head, output, settings, base_model=base_model, data=counts)
    first, best = trained.validations[0], trained.best
    click.echo(
        f"{output}: {trained.steps:,} steps in {trained.elapsed_s / 60:.1f} min; on held-out queries NDCG@10 "
        f"{best.ndcg:.3f}, {best.ndcg / best.teacher_ndcg:.1%} of the dense model's ({first.ndcg:.3f} after "
        f"{first.step:,} steps), cosine {best.cosine:.3f}"
    )
