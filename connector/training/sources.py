"""Training corpora: texts, or precomputed embeddings."""

from __future__ import annotations

import logging
import re
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from connector.corpus.layout import Layout
from connector.corpus.read import read_corpus
from connector.errors import CorpusError, EncoderError
from connector.evaluation.datasets import load_retrieval_set
from connector.training.data import TrainingData
from connector.training.embeddings import EmbeddingCache
from connector.types import Document

_log = logging.getLogger("ksparse.training")

MAX_SYNTHETIC_QUERIES = 20_000
"""Sufficient for training; embedding more would take long."""

_MAX_QUERY_WORDS = 32
_SENTENCE_END = re.compile(r"(?<=[.!?;])\s+|(?<=[。！？；｡])\s*|\n+")  # noqa: RUF001
_WITHOUT_SPACES = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
"""Thai, Lao, Burmese, Khmer, Japanese and Chinese, where each character counts as a word."""

_WORD = re.compile(rf"[{_WITHOUT_SPACES}]|[^\s{_WITHOUT_SPACES}]+")


@dataclass(frozen=True, slots=True)
class TextSource:
    """The texts of a corpus.

    Attributes:
        name: Name of the corpus, for the card.
        documents: Title and text of each document.
        queries: Training queries; may be empty.
        positives: Position in `documents` of the relevant document of each query.
        skipped: Number of invalid records.
    """

    name: str
    documents: tuple[str, ...]
    queries: tuple[str, ...]
    positives: tuple[int, ...]
    skipped: int

    def embed(
        self, cache: EmbeddingCache, report: Callable[[str, float], None] | None = None, *, lexical: bool = True
    ) -> TrainingData:
        """Embed documents and queries with their prompts; with `lexical`, also count their tokens."""
        progress = partial(report, f"embedding {self.name}") if report is not None else None
        # Each text once: rows of one query are equal, so that they are held out together.
        asked = {text: row for row, text in enumerate(dict.fromkeys(self.queries))}
        rows = np.array([asked[text] for text in self.queries], dtype=np.int64)
        return TrainingData(
            documents=cache.embed(self.documents, task="document", progress=progress),
            queries=cache.embed(list(asked), task="query", progress=progress)[rows],
            positives=np.asarray(self.positives, dtype=np.int64),
            corpus_starts=np.zeros(1, dtype=np.int64),
            document_tokens=cache.count_tokens(self.documents, "document") if lexical else None,
            query_tokens=cache.count_tokens(self.queries, "query") if lexical else None,
        )

    def with_queries(self, most: int = MAX_SYNTHETIC_QUERIES, *, seed: int = 0) -> TextSource:
        """Add synthetic queries if there are none: sentences of documents, which are their positives.

        Args:
            most: Maximum number of queries, each of another document.
            seed: Seed of the selected documents and sentences.
        """
        if self.queries:
            return self
        random = np.random.default_rng(seed)
        rows = np.sort(random.permutation(len(self.documents))[:most])
        queries = tuple(_sentence_of(self.documents[row], random) for row in rows)
        return replace(self, queries=queries, positives=tuple(rows.tolist()))


def read_texts(path: Path, *, splits: Sequence[str] = ("train",), layout: Layout | None = None) -> TextSource:
    """Read the documents of a corpus and, from a BEIR folder, the queries of its training splits.

    Args:
        path: As in `read_corpus`.
        splits: Names of the qrels to train on; missing ones are ignored. A query is used once for each of its relevant
            documents.
        layout: As in `read_corpus`.

    Raises:
        CorpusError: The corpus cannot be read, or has fewer than two documents.
    """
    documents: dict[str, str] = {}
    skipped = 0
    reason = ""
    # Training does not need ids.
    for record in read_corpus(path, generate_ids=True, layout=layout):
        if isinstance(record, Document):
            documents[record.doc_id] = record.content
        else:
            skipped += 1
            reason = reason or f" {record.location}: {record.reason}."
    if len(documents) < 2:
        raise CorpusError(
            f"{path} has {len(documents)} documents; training needs at least two, better thousands.{reason}"
        )
    if skipped:
        _log.warning("%s: %d records are invalid and are skipped, the first%s", path, skipped, reason)
    position = {doc_id: row for row, doc_id in enumerate(documents)}
    queries: list[str] = []
    positives: list[int] = []
    for split in splits if path.is_dir() else ():
        if not list(path.glob(f"qrels/{split}.tsv*")):
            continue
        judged = load_retrieval_set(path, split)
        for query in judged.queries:
            relevant = [doc_id for doc_id, grade in judged.qrels[query.query_id].items() if grade > 0]
            for row in (position[doc_id] for doc_id in relevant if doc_id in position):
                queries.append(query.text)
                positives.append(row)
    return TextSource(path.resolve().name, tuple(documents.values()), tuple(queries), tuple(positives), skipped)


def read_sources(
    paths: Sequence[Path], *, splits: Sequence[str] = (), seed: int = 0, layout: Layout | None = None
) -> list[TextSource]:
    """Read training corpora; those without training queries get synthetic ones.

    Args:
        paths: As in `read_texts`.
        splits: Names of the qrels to train on, of which at least one must exist; empty for `train` if it exists.
        seed: Seed of the synthetic queries.
        layout: As in `read_corpus`.

    Raises:
        CorpusError: A corpus cannot be read or has fewer than two documents, or none of the splits exists.
    """
    known = {file.name.split(".")[0] for path in paths for file in path.glob("qrels/*.tsv*")}
    if splits and not known.intersection(splits):
        asked = " or ".join(f"qrels/{split}.tsv" for split in splits)
        raise CorpusError(f"No corpus has {asked}; splits that exist: {', '.join(sorted(known)) or 'none'}.")
    sources = [read_texts(path, splits=splits or ("train",), layout=layout).with_queries(seed=seed) for path in paths]
    return _distinct(sources)


def check_queries(sources: Sequence[TextSource], fewest: int) -> None:
    """Check that corpora have enough queries for training.

    Raises:
        EncoderError: They have fewer than `fewest` queries.
    """
    queries = sum(len(source.queries) for source in sources)
    if queries < fewest:
        raise EncoderError(
            f"{queries} training queries are too few; at least {fewest} are needed, better thousands. Add judged "
            "queries, or documents whose sentences can serve as queries."
        )


def load_embeddings(path: Path) -> TrainingData:
    """Load the embeddings of a corpus: `.npy` with documents, or `.npz` with documents, queries and positives.

    Raises:
        CorpusError: The file has another format, or its arrays are inconsistent.
    """
    try:
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            alone = isinstance(loaded, np.ndarray)
            arrays: dict[str, NDArray[np.generic]] = {"documents": loaded} if alone else {**loaded}
    except (OSError, ValueError, EOFError, BadZipFile, zlib.error) as error:
        raise CorpusError(
            f"{path} cannot be read as NumPy arrays ({error}); save it with np.save or np.savez."
        ) from error
    if "documents" not in arrays or arrays["documents"].ndim != 2:
        raise CorpusError(f"{path} contains {sorted(arrays)}; it needs an array `documents` of shape (n, dim).")
    dim = arrays["documents"].shape[1]
    try:
        documents, queries = (
            np.asarray(arrays.get(name, np.empty((0, dim))), dtype=np.float32) for name in ("documents", "queries")
        )
        for name, embeddings in (("documents", documents), ("queries", queries)):
            if not np.isfinite(embeddings).all():
                row = int(np.argwhere(~np.isfinite(embeddings))[0][0])
                raise ValueError(f"row {row} of `{name}` is not finite; embed its text in float32, or leave it out.")
        return TrainingData(
            documents=documents,
            queries=queries,
            positives=np.asarray(arrays.get("positives", np.empty(0)), dtype=np.int64),
            corpus_starts=np.zeros(1, dtype=np.int64),
        )
    except ValueError as error:
        raise CorpusError(f"{path}: {error}") from error


def _distinct(sources: Sequence[TextSource]) -> list[TextSource]:
    """Number the later ones of several corpora with the same name."""
    found: Counter[str] = Counter()
    distinct = []
    for source in sources:
        found[source.name] += 1
        number = found[source.name]
        distinct.append(source if number == 1 else replace(source, name=f"{source.name} ({number})"))
    return distinct


def _sentence_of(text: str, random: np.random.Generator) -> str:
    """A random sentence of the text; half of its words in sequence if it has only one."""
    pieces = [list(_WORD.finditer(sentence)) for sentence in _SENTENCE_END.split(text)]
    sentences = [words for words in pieces if len(words) > 2]
    if len(sentences) > 1:
        return _span(sentences[random.integers(len(sentences))][:_MAX_QUERY_WORDS])
    words = list(_WORD.finditer(text))
    length = min(_MAX_QUERY_WORDS, (len(words) + 1) // 2)
    start = random.integers(len(words) - length + 1)
    return _span(words[start : start + length])


def _span(words: Sequence[re.Match[str]]) -> str:
    """The text from the first of some words to the last, with single spaces."""
    return " ".join(words[0].string[words[0].start() : words[-1].end()].split()) if words else ""
