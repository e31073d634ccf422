"""Label latents with terms, and measure how well the terms predict activations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import CountVectorizer

from connector.encoders.labels import LabelQuality, Labels
from connector.errors import EncoderError
from connector.types import SparseVectors

_TERM = r"(?u)\b[^\W\d_][\w'-]+\b"
_MAX_TERMS = 100_000
_BLOCK = 1_024
"""Latents per block: a matrix of all latents and terms would take gigabytes."""


def label_latents(
    texts: Sequence[str], vectors: SparseVectors, num_latents: int, *, num_terms: int = 5, strongest: int = 100
) -> Labels:
    """Label each latent with terms that distinguish its strongest documents from others.

    A term t of latent c scores p(t|c) log(p(t|c) / p(t)), its part of the divergence between the latent's documents,
    weighted by activation, and all documents: like c-TF-IDF it prefers terms that are frequent here and rare
    elsewhere, but a term that is equally frequent everywhere scores 0.

    Args:
        texts: n documents.
        vectors: Their vectors; features from `num_latents` on are tokens and need no label.
        num_latents: Number of latents.
        num_terms: Maximum terms per latent.
        strongest: Maximum documents per latent.
    """
    counter = CountVectorizer(
        binary=True, token_pattern=_TERM, min_df=min(3, len(texts)), max_features=_MAX_TERMS, dtype=np.float32
    )
    has_term = counter.fit_transform(texts)
    names = counter.get_feature_names_out()
    everywhere = np.asarray(has_term.mean(axis=0)).ravel()
    excited = _strongest_documents(vectors, num_latents, strongest)
    labels: list[tuple[str, ...]] = []
    for start in range(0, num_latents, _BLOCK):
        here = csr_matrix(excited[start : start + _BLOCK] @ has_term)
        here.data *= np.log(np.maximum(here.data / everywhere[here.indices], 1.0))
        for row in range(here.shape[0]):
            scores = here.data[here.indptr[row] : here.indptr[row + 1]]
            terms = here.indices[here.indptr[row] : here.indptr[row + 1]]
            best = np.argsort(-scores, kind="stable")[:num_terms]
            labels.append(tuple(str(names[terms[place]]) for place in best if scores[place] > 0))
    return tuple(labels)


def measure_labels(
    labels: Labels, texts: Sequence[str], vectors: SparseVectors, *, fewest: int = 5, seed: int = 0
) -> LabelQuality:
    """Measure on held-out documents how well labels predict which latents fire.

    Args:
        labels: Label of each latent.
        texts: n documents.
        vectors: Their vectors.
        fewest: Minimum number of documents in which a latent must fire to be evaluated.
        seed: Random seed of the shuffled baseline.

    Raises:
        EncoderError: No labelled latent fires in that many documents.
    """
    fires = _fires(vectors, len(labels))
    terms = sorted({term for label in labels for term in label})
    counter = CountVectorizer(binary=True, token_pattern=_TERM, vocabulary=terms, dtype=np.float32)
    has_term = csr_matrix(counter.transform(texts).T)
    often = np.diff(fires.indptr)
    judged = np.array(
        [row for row, label in enumerate(labels) if label and fewest <= often[row] <= len(texts) - fewest],
        dtype=np.int64,
    )
    if not len(judged):
        raise EncoderError(f"no labelled latent fires in {fewest} of the {len(texts)} held-out documents; give more.")
    column = {term: place for place, term in enumerate(terms)}
    own = _aucs([labels[row] for row in judged], fires[judged], has_term, column)
    others = np.random.default_rng(seed).permutation(judged)
    shuffled = _aucs([labels[row] for row in others], fires[judged], has_term, column)
    better = own > np.percentile(shuffled, 95)
    return LabelQuality(len(judged), float(own.mean()), float(shuffled.mean()), float(better.mean()))


def _strongest_documents(vectors: SparseVectors, num_latents: int, strongest: int) -> csr_matrix:
    """One row per latent: the normalized weights of its strongest documents."""
    kept = (vectors.weights > 0) & (vectors.features < num_latents)
    rows, slots = np.nonzero(kept)
    latents, weights = vectors.features[rows, slots], vectors.weights[rows, slots]
    order = np.lexsort((-weights, latents))
    latents, weights, rows = latents[order], weights[order], rows[order]
    starts = np.searchsorted(latents, np.arange(num_latents))
    near = np.arange(len(latents)) - starts[latents] < strongest
    latents, weights, rows = latents[near], weights[near], rows[near]
    shares = (weights / np.bincount(latents, weights, num_latents)[latents]).astype(np.float32)
    return csr_matrix((shares, (latents, rows)), shape=(num_latents, len(vectors.weights)))


def _fires(vectors: SparseVectors, num_latents: int) -> csr_matrix:
    rows, slots = np.nonzero((vectors.weights > 0) & (vectors.features < num_latents))
    ones = np.ones(len(rows), np.float32)
    return csr_matrix((ones, (vectors.features[rows, slots], rows)), shape=(num_latents, len(vectors.weights)))


def _aucs(
    labels: Sequence[Sequence[str]], fires: csr_matrix, has_term: csr_matrix, column: dict[str, int]
) -> NDArray[np.float64]:
    """The exact AUC of each label, from counts of its terms in documents."""
    lengths = [len(label) for label in labels]
    places = [column[term] for label in labels for term in label]
    ones = np.ones(len(places), np.float32)
    wanted = csr_matrix((ones, (np.repeat(np.arange(len(labels)), lengths), places)), (len(labels), has_term.shape[0]))
    levels, documents = max(lengths) + 1, has_term.shape[1]
    found = np.zeros(len(labels))
    for start in range(0, len(labels), _BLOCK):
        rows = slice(start, start + _BLOCK)
        shared = csr_matrix(wanted[rows] @ has_term)
        both = csr_matrix(shared.multiply(fires[rows]))
        everyone, firing = _histograms(shared, levels), _histograms(both, levels)
        everyone[:, 0] = documents - everyone[:, 1:].sum(axis=1)
        firing[:, 0] = np.diff(fires[rows].indptr) - firing[:, 1:].sum(axis=1)
        silent = everyone - firing
        below = np.cumsum(silent, axis=1) - silent
        wins = (firing * (below + silent / 2)).sum(axis=1)
        found[rows] = wins / (firing.sum(axis=1) * silent.sum(axis=1))
    return found


def _histograms(counts: csr_matrix, levels: int) -> NDArray[np.float64]:
    """For each row, the number of columns with value 1, 2, ...; column 0 is 0."""
    rows = np.repeat(np.arange(counts.shape[0]), np.diff(counts.indptr))
    cells = rows * levels + counts.data.astype(np.int64)
    return np.bincount(cells, minlength=counts.shape[0] * levels).reshape(-1, levels).astype(np.float64)
