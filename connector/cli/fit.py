"""`--fit`: fit a head to a corpus before ingestion."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from connector.cli.encoder import open_encoder
from connector.cli.progress import stages
from connector.encoders.text import TextEncoder
from connector.training.heads.fit import FittedHead, fit_head
from connector.training.validation import ValidationResult


def fitted_encoder(
    folder: Path,
    encoder: TextEncoder,
    texts: Sequence[str],
    *,
    name: str,
    documents: int | None,
    k: int | None,
    minutes: float,
    device: str | None,
    quiet: bool,
) -> TextEncoder:
    """Fit a head to a corpus, save it in a folder and load it from there.

    Args:
        folder: Output folder for the head, its card and a plot.
        encoder: The initial encoder; its head, if any, is kept if fitting finds no better one.
        texts: A sample of the documents.
        name: Name of the corpus, for the card.
        documents: Number of documents, if known.
        k: Features kept per document; None uses the encoder's number, or 64 if it has no head.
        minutes: Time limit.
        device: Device of the loaded encoder.
        quiet: Show no progress.
    """
    with stages(quiet) as report:
        fitted = fit_head(encoder, texts, documents=documents, k=k, seconds=60 * minutes, progress=report)
    fitted.save(folder, name)
    click.echo(_summary(folder, fitted), err=True)
    return open_encoder(str(folder), device=device, k=k if encoder.needs_dictionary else encoder.k)


def _summary(folder: Path, fitted: FittedHead) -> str:
    before, after = fitted.trained.baseline, fitted.trained.best
    learned = (
        f"{folder}: fitted to {fitted.documents:,} documents in {fitted.trained.elapsed_s / 60:.1f} min. On held-out "
        f"sentences: {_figures(after)}"
    )
    if before is None:
        return learned
    if before == after:
        return f"{learned}; no better head than before was found, so the initial one is kept"
    return f"{learned}; before: {_figures(before)}"


def _figures(result: ValidationResult) -> str:
    return (
        f"{result.ndcg_share:.1%} of dense NDCG@10, {result.recall_at_100:.1%} of the dense top 10 in the first 100, "
        f"{result.postings:.2f} N postings"
    )
