"""`ksparse label`."""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import partial
from pathlib import Path

import click

from connector.cli.connection import ConnectionOptions, connection_options, open_client
from connector.cli.encoder_option import encoder_option
from connector.cli.layout import layout_options
from connector.cli.new_index import advise_copy
from connector.cli.options import corpora_argument, training_options
from connector.cli.progress import stages
from connector.corpus.layout import Layout
from connector.encoders.folders import DEFAULT_ENCODER
from connector.errors import EncoderError


@click.command(
    epilog="""\b
Examples:
  ksparse label corpus.jsonl --encoder my-head        writes my-head/labels.json
  ksparse label corpus.jsonl --index docs             labels the head of docs
  ksparse label beir/debian beir/wordnet --encoder my-head --output labels
"""
)
@corpora_argument
@layout_options
@encoder_option("Folder of a head, or name of a shipped one.")
@click.option("--index", help="Label the head of this index instead; an index with its own dictionary has none.")
@click.option(
    "--output", type=click.Path(file_okay=False, path_type=Path), help="Output folder.  [default: that of the head]"
)
@click.option(
    "--terms", type=click.IntRange(1), default=5, show_default=True, help="Maximum number of terms per label."
)
@click.option(
    "--documents",
    type=click.IntRange(10),
    default=50_000,
    show_default=True,
    help="Maximum number of documents per corpus.",
)
@training_options
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
@connection_options
def label(
    corpus: tuple[Path, ...],
    encoder: str | None,
    index: str | None,
    output: Path | None,
    terms: int,
    documents: int,
    seed: int,
    device: str | None,
    cache: Path | None,
    quiet: bool,
    as_json: bool,
    layout: Layout,
    connection: ConnectionOptions,
) -> None:
    """Label the latents of a head with terms of the documents that activate them, for `ksparse explain`.

    20 % of the documents are held out to measure how well the terms predict that a latent fires.
    """
    from connector.cli.encoder import open_encoder
    from connector.encoders.labels import write_labels
    from connector.encoders.load import encoder_folder
    from connector.training.embeddings import EmbeddingCache
    from connector.training.heads.labelling import label_head
    from connector.training.sources import read_texts

    if (encoder is None) == (index is None):
        raise click.UsageError("Give either --encoder or --index.")
    named_by = encoder or _encoder_of(index or "", connection)
    sources = [read_texts(path, layout=layout) for path in corpus]
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
    loaded = open_encoder(named_by, device=device)
    if loaded.head is None:
        raise click.UsageError(f"{named_by} has no latents to label: its features are tokens.")
    embedder = EmbeddingCache(loaded.dense_model(), loaded.fingerprint.base_model, cache)
    with stages(quiet) as report:
        named = label_head(
            loaded,
            [source.documents for source in sources],
            lambda texts: embedder.embed(
                texts, task="document", progress=partial(report, f"embedding {len(texts):,} documents")
            ),
            num_terms=terms,
            max_documents=documents,
            seed=seed,
        )
    path = write_labels(
        output or encoder_folder(named_by), named.labels, named.quality, [source.name for source in sources]
    )
    quality = named.quality
    if as_json:
        click.echo(json.dumps({"path": str(path)} | asdict(named.quality)))
        return
    click.echo(
        f"{path}: {sum(map(bool, named.labels)):,} of {len(named.labels):,} latents labelled from {named.documents:,} "
        f"documents; on {named.held_out:,} held-out ones the terms of {quality.predicted:.1%} of {quality.latents:,} "
        f"latents predict that they fire (AUC {quality.auc:.3f} on average, shuffled {quality.shuffled_auc:.3f})"
    )


def _encoder_of(index: str, connection: ConnectionOptions) -> str:
    from connector.index.schema import existing_schema

    schema = existing_schema(open_client(connection), index)
    if schema.dictionary is not None:
        raise EncoderError(
            f"Index {index!r} has its own dictionary, whose cells have no labels; only the latents of a head can be "
            f"labelled. For labels, {advise_copy(schema, DEFAULT_ENCODER)}"
        )
    name = schema.encoder_name
    if not name:
        raise EncoderError(f"Index {index!r} does not record its encoder's name; give --encoder.")
    return name
