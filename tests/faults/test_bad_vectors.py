"""Fault test 12: vectors that `rank_features` cannot hold."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from opensearchpy import OpenSearch

from connector.index.writer import BulkWriter
from connector.ingest.pipeline import IngestJob
from connector.types import SparseDocument, SparseVectors
from tests.faults.conftest import FaultFree, Figures
from tests.faults.contents import read_contents
from tests.faults.corpora import NUM_LATENTS, HashEncoder, encoded, numbered
from tests.faults.recorder import Recorder, recorded

pytestmark = [pytest.mark.opensearch, pytest.mark.faults]

BAD = {
    "zero": {"3": 0.5, "4": 0.0},
    "negative": {"3": 0.5, "4": -1.0},
    "nan": {"3": 0.5, "4": math.nan},
    "infinite": {"3": 0.5, "4": math.inf},
    "below the smallest normal float": {"3": 0.5, "4": 1e-39},
    "empty": {},
    "dotted": {"3": 0.5, "4.5": 1.0},
}


def test_12_bad_features_are_refused_before_sending_and_the_document_is_named(
    opensearch_url: str, client: OpenSearch, hashed_index: str, fault_free: FaultFree, figures: Figures
) -> None:
    good = numbered(100)
    documents = encoded(good)
    for place, (name, features) in enumerate(BAD.items()):
        documents.insert(10 * place, SparseDocument(name, features, {"text": name}))
    recorder = Recorder()
    with recorded(opensearch_url, recorder) as through:
        result = BulkWriter(through, hashed_index).write(documents)
    figures(documents=len(documents), refused=len(result.refused), **recorder.figures())
    assert {each.document.doc_id for each in result.refused} == BAD.keys()
    assert all((each.status, each.kind, each.attempts) == (0, "invalid_document", 0) for each in result.refused)
    assert not BAD.keys() & {name for each in recorder.requests for name in each.ids}, "none was sent"
    assert result.indexed == len(good)
    assert read_contents(client, hashed_index, NUM_LATENTS) == fault_free(good)


def test_12_bad_vectors_of_any_encoder_are_dead_lettered_before_sending_and_the_document_is_named(
    opensearch_url: str,
    client: OpenSearch,
    hashed_index: str,
    fault_free: FaultFree,
    figures: Figures,
    tmp_path: Path,
) -> None:
    documents = numbered(100)
    vectors = HashEncoder().encode_document([each.content for each in documents])
    bad = _spoil(vectors)
    recorder = Recorder()
    with recorded(opensearch_url, recorder) as through:
        writer = BulkWriter(through, hashed_index)
        with IngestJob(writer, dead_letters=tmp_path / "dead.jsonl", write_size=30) as job:
            job.add_vectors(documents, vectors)
    figures(documents=len(documents), dead_lettered=job.result.dead_lettered, **recorder.figures())
    assert (job.result.read, job.result.indexed, job.result.dead_lettered) == (100, 100 - len(bad), len(bad))
    letters = {each["_id"]: each for each in map(json.loads, (tmp_path / "dead.jsonl").read_text().splitlines())}
    assert letters.keys() == bad.keys()
    assert all((each["status"], each["attempts"]) == (0, 0) for each in letters.values())
    assert all(bad[name] in each["reason"] for name, each in letters.items())
    assert not bad.keys() & {name for each in recorder.requests for name in each.ids}, "none was sent"
    good = [each for each in documents if each.doc_id not in bad]
    assert read_contents(client, hashed_index, NUM_LATENTS) == fault_free(good)


def _spoil(vectors: SparseVectors) -> dict[str, str]:
    """Make some rows bad; return the ids of their documents, and what is said of each."""
    for row, weight in ((10, -1.0), (20, np.nan), (30, np.inf), (40, 1e-39)):
        vectors.weights[row, 3] = weight
    vectors.weights[50] = 0.0
    vectors.features[60, 5] = vectors.features[60, 2]
    return {
        "d10": " is -1.0;",
        "d20": " is nan;",
        "d30": " is inf;",
        "d40": "the weight of feature",
        "d50": "the vector has no features",
        "d60": "twice",
    }
