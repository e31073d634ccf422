"""`ksparse train dictionary`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from connector.cli.encoder_option import dense_model_option
from connector.cli.options import corpora_argument, splits_option, trained_output_option, training_options
from connector.cli.progress import stages
from connector.cli.settings import make_settings, settings_option
from connector.errors import CorpusError
from connector.training.dictionary.settings import DictionarySettings

if TYPE_CHECKING:
    from connector.encoders.base_model import BaseModel

_option = partial(settings_option, DictionarySettings)


@click.command(
    epilog="""\b
Examples:
  ksparse train dictionary corpus.jsonl --output my-dictionary
  ksparse train dictionary beir/scifact --output my-dictionary --cells 12
  ksparse ingest corpus.jsonl --index docs --encoder my-dictionary --code-bits 4
"""
)
@corpora_argument
@trained_output_option
@dense_model_option("--base-model")
@splits_option
@_option("cells", "--cells", click.IntRange(1), "Cells kept per document.")
@_option(
    "query_cells",
    "--query-cells",
    click.IntRange(1),
    "Cells per query in searches by features alone; searches rescored by codes use 16 (change with --k-query).",
)
@_option("tokens", "--tokens", click.IntRange(0), "Tokens kept per document; 0 for cells only.")
@_option(
    "query_tokens",
    "--query-tokens",
    click.IntRange(0),
    "Tokens per query in searches by features alone; searches rescored by codes use 4.",
)
@_option("spread", "--spread", click.FloatRange(0), "Weight of diversity among the cells of a document.")
@training_options
def dictionary(
    corpus: tuple[Path, ...],
    output: Path,
    base_model: BaseModel | None,
    splits: tuple[str, ...],
    device: str | None,
    cache: Path | None,
    quiet: bool,
    **options: Any,
) -> None:
    """Build a dictionary of your corpus: its features are cells of the embedding space.

    It needs no training and takes seconds once the documents are embedded. Queries find the dense neighbours with a
    fraction of the postings of a trained head. At least 1,000 documents are needed. A corpus is a BEIR folder or a
    JSONL, CSV or Parquet file.
    """
    from connector.cli.encoder import hide_loading
    from connector.encoders.base_model import find_base_model, load_base_model
    from connector.encoders.device import choose_device
    from connector.training.data import concatenate
    from connector.training.dictionary.card import save_dictionary, summary
    from connector.training.dictionary.fit import fit_dictionary
    from connector.training.dictionary.settings import MIN_DOCUMENTS
    from connector.training.embeddings import EmbeddingCache
    from connector.training.sources import read_sources

    settings = make_settings(DictionarySettings, **options)
    sources = read_sources(corpus, splits=splits, seed=settings.seed)
    found = sum(len(source.documents) for source in sources)
    if found < MIN_DOCUMENTS:
        raise CorpusError(f"A dictionary needs {MIN_DOCUMENTS:,} documents, got {found:,}; use the shipped encoder.")
    output.mkdir(parents=True, exist_ok=True)
    hide_loading()
    dense = base_model or find_base_model()
    with stages(quiet) as report:
        embedder = EmbeddingCache(load_base_model(dense, choose_device(device)), dense.name, cache)
        parts = [source.embed(embedder, report, lexical=settings.lexical) for source in sources]
        fitted = fit_dictionary(
            concatenate(parts),
            settings,
            base_model=dense.name,
            special_ids=embedder.special_ids,
            progress=report,
        )
    counts = {
        source.name: {"documents": len(part.documents), "queries": len(part.queries)}
        for source, part in zip(sources, parts, strict=True)
    }
    save_dictionary(fitted, output, settings, data=counts)
    click.echo(f"{output}: {summary(fitted)}")
