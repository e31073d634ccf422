"""`ksparse train`."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from connector.cli.encoder_option import dense_model_option
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
from connector.errors import CorpusError
from connector.training.heads.settings import RECIPES, TrainingSettings, check_documents

if TYPE_CHECKING:
    from connector.encoders.base_model import BaseModel

_ABOVE_0 = click.FloatRange(min=0, min_open=True)
_FROM_0 = click.FloatRange(min=0)
_option = partial(settings_option, TrainingSettings)


SUBCOMMANDS = ("dictionary", "queries", "splade")
"""Names of the commands of `ksparse train`."""


def subcommand(name: str) -> click.Command:
    """Import a command of `ksparse train`, one of `SUBCOMMANDS`."""
    command: click.Command = getattr(import_module(f"connector.cli.train_{name}"), name)
    return command


class _TrainCommand(click.Command):
    """`ksparse train CORPUS` trains a head; `train dictionary`, `train splade` and `train queries` are subcommands."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        if args and args[0] in SUBCOMMANDS:
            command = subcommand(args[0])
            return command.make_context(f"{info_name} {args[0]}", args[1:], parent, **extra)
        return super().make_context(info_name, args, parent, **extra)


@click.command(
    cls=_TrainCommand,
    epilog="""\b
Examples:
  ksparse train corpus.jsonl --output my-head                documents only
  ksparse train beir/scifact beir/nfcorpus --output my-head  with the queries of their train splits
  ksparse train corpus.jsonl --output my-head --max-minutes 10
  ksparse train embeddings.npz --output my-head              arrays documents, queries, positives
  ksparse ingest corpus.jsonl --index docs --encoder my-head
  ksparse train dictionary --help                            a dictionary of your corpus, built in seconds
  ksparse train queries --help                               a fast query encoder without a transformer
  ksparse train splade --help                                a SPLADE with learned thresholds
""",
)
@corpora_argument
@layout_options
@trained_output_option
@dense_model_option("--base-model")
@_option(
    "recipe",
    "--recipe",
    click.Choice(RECIPES),
    "Distillation of rankings (retrieval), or the losses of the K-sparse paper (paper) or of the earlier work (ivae).",
)
@splits_option
@_option(
    "num_latents",
    "--latents",
    click.IntRange(2),
    "Number of latents, up to one per document; more latents read fewer postings and find more.",
)
@_option(
    "init",
    "--init",
    click.Choice(["documents", "random"]),
    "Initial latents: centroids of documents, or random directions.",
)
@_option("k", "--k", click.IntRange(1), "Features kept per document.")
@_option("k_query", "--k-query", click.IntRange(1), "Features kept per query.")
@_option("steps", "--steps", click.IntRange(1))
@max_minutes_option
@_option("batch_size", "--batch-size", click.IntRange(8))
@_option("learning_rate", "--learning-rate", _ABOVE_0)
@_option(
    "flops_weight",
    "--flops-weight",
    _FROM_0,
    "FLOPS regularization: higher reads fewer postings at slightly lower quality.",
)
@_option(
    "threshold_weight",
    "--thresholds",
    _FROM_0,
    "Weight of the threshold loss; above 0 the number of features per text is learned (at most --k).",
)
@click.option(
    "--lexical/--no-lexical",
    default=True,
    show_default=True,
    help="Add the rarer tokens of a text as features (recipe retrieval).",
)
@_option(
    "document_lexical_scale",
    "--lexical-weight",
    _ABOVE_0,
    "Weight of a document's tokens. Lower values find more dense hits with fewer postings on long texts, but rank "
    "worse without codes.",
)
@_option(
    "alpha_mse",
    "--alpha-mse",
    _FROM_0,
    "Weight of the reconstruction loss (alpha_1 in eq. 3 of the K-sparse paper); only with --recipe paper.",
)
@_option(
    "alpha_distance",
    "--alpha-distance",
    _FROM_0,
    "Weight of the distance loss (alpha_2 in eq. 1 and 3); only with --recipe paper or ivae.",
    default="1; 30,000 with ivae",
)
@training_options
def train(
    corpus: tuple[Path, ...],
    output: Path,
    base_model: BaseModel | None,
    splits: tuple[str, ...],
    max_minutes: float | None,
    lexical: bool,
    device: str | None,
    cache: Path | None,
    quiet: bool,
    layout: Layout,
    **options: Any,
) -> None:
    """Train a K-sparse head on your own texts, or on embeddings (.npy, .npz).

    A corpus is a BEIR folder (its train queries are used, too) or a JSONL, CSV or Parquet file. The output folder
    (a few MB) contains the head, a card and, if matplotlib is installed, a plot; pass it as --encoder. The same
    command resumes a stopped run (with --cache, without embedding the texts again).
    """
    from connector.cli.encoder import hide_loading
    from connector.encoders.base_model import DEFAULT_BASE_MODEL, find_base_model, load_base_model
    from connector.encoders.device import choose_device
    from connector.training.data import concatenate
    from connector.training.embeddings import EmbeddingCache
    from connector.training.heads.card import save_head
    from connector.training.heads.trainer import train_head
    from connector.training.sources import load_embeddings, read_sources

    if not lexical and options["document_lexical_scale"] is not None:
        raise click.UsageError("--no-lexical and --lexical-weight contradict each other; choose one.")
    settings = make_settings(TrainingSettings, max_minutes=max_minutes, **options)
    if not lexical:
        settings = replace(settings, document_lexical_scale=0.0, query_lexical_scale=0.0)
    of_embeddings = [path for path in corpus if path.suffix in (".npy", ".npz")]
    if of_embeddings and len(of_embeddings) < len(corpus):
        raise CorpusError(f"{of_embeddings[0]} contains embeddings, but other inputs are texts; use one kind of input.")
    if of_embeddings and splits:
        raise click.UsageError("embeddings have no qrels; leave --split out.")
    sources = [] if of_embeddings else read_sources(corpus, splits=splits, seed=settings.seed, layout=layout)
    parts = [load_embeddings(path) for path in of_embeddings]
    check_documents(sum(len(part.documents) for part in parts) + sum(len(source.documents) for source in sources))
    output.mkdir(parents=True, exist_ok=True)
    device = choose_device(device)
    counts: dict[str, dict[str, int]] = {}
    special_ids: list[int] = []
    teacher = ""
    with naming_options(), stages(quiet) as report:
        names = [path.name for path in corpus]
        if sources:
            hide_loading()
            dense = base_model or find_base_model()
            embedder = EmbeddingCache(load_base_model(dense, device), dense.name, cache)
            names = [source.name for source in sources]
            parts = [source.embed(embedder, report, lexical=settings.lexical) for source in sources]
            special_ids, teacher = embedder.special_ids, embedder.digest
        for name, part in zip(names, parts, strict=True):
            counts[name] = {"documents": len(part.documents), "queries": len(part.queries)}
        trained = train_head(
            concatenate(parts),
            settings,
            base_model=base_model.name if base_model is not None else DEFAULT_BASE_MODEL,
            teacher=teacher,
            special_ids=special_ids,
            device=device,
            checkpoint=output / "checkpoint.pt",
            progress=report,
        )
    save_head(trained, output, settings, data=counts)
    best = trained.best
    click.echo(
        f"{output}: {trained.steps:,} steps in {trained.elapsed_s / 60:.1f} min; on held-out queries "
        f"{best.ndcg_share:.1%} of dense NDCG@10, {best.recall_at_100:.1%} of the dense top 10 in the first 100, "
        f"{best.postings:.2f} N postings per query, {best.dead_latents:.1%} dead latents"
    )
