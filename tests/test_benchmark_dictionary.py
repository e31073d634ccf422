"""Benchmarks of dictionaries, and of sets without judgements."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.datasets import EncodedSet, encode_set
from benchmarks.suites import dictionary_systems
from benchmarks.systems.rescored import Rescored
from connector.encoders.text import TextEncoder
from connector.errors import CorpusError
from tests.tiny import WORDS


def write_set(folder: Path, documents: int) -> Path:
    """Texts of random words, and the first twenty again as queries."""
    random = np.random.default_rng(1)
    texts = [" ".join(random.choice(WORDS, 6)) for _ in range(documents)]
    for name, kept in (("corpus", texts), ("queries", texts[:20])):
        lines = [json.dumps({"_id": f"{name[0]}{row}", "text": text}) for row, text in enumerate(kept)]
        (folder / f"{name}.jsonl").write_text("\n".join(lines))
    return folder


def encoded(folder: Path, encoder: TextEncoder, most: int | None = None) -> EncodedSet:
    return encode_set(
        folder, encoder, lambda texts, task: encoder.embed(texts, task=task), max_documents=most, k_query=4
    )


def test_without_judgements_exact_search_says_what_is_relevant(tmp_path: Path, lexical: TextEncoder) -> None:
    data = encoded(write_set(tmp_path, 60), lexical, most=40)
    assert len(data.documents) == 40
    assert len(data.judged.queries) == 20
    scores = data.query_embeddings @ data.document_embeddings.T
    for row, query in enumerate(data.judged.queries):
        relevant = {data.doc_ids.index(doc_id) for doc_id in data.judged.qrels[query.query_id]}
        assert len(relevant) == 10
        assert scores[row, sorted(relevant)].min() >= np.sort(scores[row])[-10] - 1e-6


def test_a_set_with_nothing_to_ask_is_refused(tmp_path: Path, lexical: TextEncoder) -> None:
    (write_set(tmp_path, 20) / "queries.jsonl").unlink()
    with pytest.raises(CorpusError, match=r"neither judgements .* nor queries\.jsonl"):
        encoded(tmp_path, lexical)


def test_a_dictionary_is_compared_where_there_are_documents_enough(tmp_path: Path, lexical: TextEncoder) -> None:
    data = encoded(write_set(tmp_path, 1_000), lexical)
    systems = dictionary_systems(data)
    assert [system.knob for system in systems] == [
        "k_query=20, 200 rescored",
        "k_query=60, 1000 rescored",
        "k_query=20, 200 rescored",
    ]
    first = systems[0]
    assert isinstance(first, Rescored) and first.vectors is not None
    assert first.name == "own dictionary + 4 bits"
    assert first.more_bytes > 600 * 4, "600 cells of 16 dimensions in 2 bits"
    documents, queries = first.vectors
    assert len(documents.weights) == 1_000
    assert queries.features.shape == (20, 20)
    assert ((queries.features < 24 * 25).sum(axis=1) == 16).all(), "the others are tokens"
    assert dictionary_systems(encoded(tmp_path, lexical, most=999)) == []
