"""`ksparse train splade`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from connector.cli.encoder_option import dense_model_option, encoder_option
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
from connector.encoders.threshold_rules import THRESHOLD_RULES
from connector.training.splade.settings import METHODS, MIN_QUERIES, SpladeSettings

if TYPE_CHECKING:
    from connector.encoders.base_model import BaseModel

_RULES = click.Choice(THRESHOLD_RULES)
_ABOVE_0 = click.FloatRange(min=0, min_open=True)
_FROM_0 = click.FloatRange(min=0)
_option = partial(settings_option, SpladeSettings)


@click.command(
    epilog="""\b
Examples:
  ksparse train splade beir/debian beir/wordnet --start SPLADE --output ht1 --max-minutes 10
  ksparse train splade beir/debian --start SPLADE --output ht3 --lambda-t 3
  ksparse train splade beir/debian --start SPLADE --output ht-idf --idf --self-distillation 0.5
  ksparse train splade beir/debian --start SPLADE --output top100 --method topk --k 100
  ksparse ingest corpus.jsonl --index docs --encoder ht1
"""
)
@corpora_argument
@layout_options
@trained_output_option
@encoder_option("Initial SPLADE: a folder, or a name on the model hub.", "--start", required=True)
@dense_model_option("--teacher")
@_option(
    "method",
    "--method",
    click.Choice(METHODS),
    "No thresholds, dynamic thresholds, top-k weights, or hybrid thresholds.",
)
@_option("query_rule", "--query-rule", _RULES, "How queries are thresholded.", default="soft with ht, gauss with dt")
@_option(
    "document_rule", "--document-rule", _RULES, "How documents are thresholded.", default="hard with ht, gauss with dt"
)
@_option("steepness", "--steepness", _ABOVE_0, "Steepness K of the soft threshold.")
@_option("k", "--k", click.IntRange(1), "Weights per document, with topk.")
@_option("idf", "--idf", help="Weight query features by their IDF in the corpus searched.")
@_option(
    "self_distillation",
    "--self-distillation",
    click.FloatRange(0, 1),
    "Weight of self-distillation from the initial model; preserves lexical matching.",
)
@_option("lambda_q", "--lambda-q", _FROM_0, "FLOPS weight of queries; higher keeps fewer features.")
@_option("lambda_d", "--lambda-d", _FROM_0, "FLOPS weight of documents; higher keeps fewer features.")
@_option("lambda_t", "--lambda-t", _FROM_0, "Weight of the threshold loss; higher raises thresholds.")
@splits_option
@_option("steps", "--steps", click.IntRange(1))
@max_minutes_option
@_option("batch_size", "--batch-size", click.IntRange(1), "Queries per step.")
@_option("negatives", "--negatives", click.IntRange(1), "Hard negatives per query.")
@_option("max_length", "--max-length", click.IntRange(1), "Maximum tokens per text.")
@_option("learning_rate", "--learning-rate", _ABOVE_0)
@_option("threshold_learning_rate", "--threshold-learning-rate", _ABOVE_0)
@_option("freeze_embeddings", "--freeze-embeddings", help="Do not train the token embeddings.")
@training_options
def splade(
    corpus: tuple[Path, ...],
    output: Path,
    start: str,
    teacher: BaseModel | None,
    splits: tuple[str, ...],
    max_minutes: float | None,
    device: str | None,
    cache: Path | None,
    quiet: bool,
    layout: Layout,
    **options: Any,
) -> None:
    """Train a SPLADE with learned thresholds (hybrid thresholding, Qiao et al. 2023).

    A corpus is a BEIR folder, whose train queries are used, or a file of documents, whose sentences serve as queries. A
    dense model is the teacher. The same command resumes a stopped run (with --cache, without embedding the texts
    again).
    """
    from connector.cli.encoder import open_encoder
    from connector.encoders.base_model import find_base_model, load_base_model
    from connector.encoders.device import choose_device
    from connector.training.distillation import embed_corpora
    from connector.training.embeddings import EmbeddingCache
    from connector.training.sources import check_queries, read_sources
    from connector.training.splade.card import save_splade
    from connector.training.splade.trainer import check_is_splade, train_splade

    settings = make_settings(SpladeSettings, max_minutes=max_minutes, **options)
    sources = read_sources(corpus, splits=splits, seed=settings.seed, layout=layout)
    check_queries(sources, MIN_QUERIES)
    output.mkdir(parents=True, exist_ok=True)
    device = choose_device(device)
    encoder = open_encoder(start, device=device)
    check_is_splade(encoder.model)
    dense = teacher or find_base_model()
    with naming_options(), stages(quiet) as report:
        embedder = EmbeddingCache(load_base_model(dense, device), dense.name, cache)
        corpora = embed_corpora(sources, embedder, report=report)
        trained = train_splade(
            encoder.model,
            corpora,
            settings,
            teacher=embedder.digest,
            checkpoint=output / "checkpoint.pt",
            progress=report,
        )
    counts = {each.source.name: each.counts for each in corpora}
    save_splade(trained, output, settings, start=start, teacher=dense.name, data=counts)
    first, last = trained.validations[0], trained.validations[-1]
    click.echo(
        f"{output}: {trained.steps:,} steps in {trained.elapsed_s / 60:.1f} min; on held-out queries NDCG@10 "
        f"{last.ndcg:.3f} (before {first.ndcg:.3f}, teacher {last.teacher_ndcg:.3f}), {last.dlen:.0f} weights per "
        f"document and {last.qlen:.1f} per query (before {first.dlen:.0f} and {first.qlen:.1f}), {last.postings:.2f} N "
        f"postings per query (before {first.postings:.2f} N)"
    )
