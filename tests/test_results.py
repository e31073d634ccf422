"""The JSON file of a suite, and subsets of a set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.results import ResultFile, read_result
from benchmarks.suites import subset
from connector.encoders.text import TextEncoder
from connector.errors import ConnectorError
from tests.encoded import encoded


def test_groups_are_kept_and_resumed(tmp_path: Path) -> None:
    path = tmp_path / "new" / "result.json"
    ResultFile(path, "growth", {"rounds": 3, "k": (1, 2)}, {"cores": 2}).add("10", [{"p50_ms": 1.0}])
    again = ResultFile(path, "growth", {"rounds": 3, "k": (1, 2)}, {"cores": 4})
    assert again.groups == {"10": [{"p50_ms": 1.0}]}
    again.add("20", [])
    result = read_result(path)
    assert (result["suite"], list(result["results"]), result["environment"]) == ("growth", ["10", "20"], {"cores": 4})


def test_another_suite_s_file_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    ResultFile(path, "growth", {"rounds": 3, "seed": 0}, {}).add("10", [])
    with pytest.raises(ConnectorError, match="contains the suite growth with another rounds; choose another --output"):
        ResultFile(path, "growth", {"rounds": 4, "seed": 0}, {})
    with pytest.raises(ConnectorError, match="contains the suite growth with another name"):
        ResultFile(path, "frontier", {"rounds": 3, "seed": 0}, {})


@pytest.mark.parametrize("content", ["", "[]", '{"suite": "x"}'])
def test_what_is_no_result_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "other.json").write_text(content)
    with pytest.raises(ConnectorError, match=r"other.json (cannot be read|is not the result)"):
        read_result(tmp_path / "other.json")


def test_a_subset_holds_what_its_queries_ask_for(encoder: TextEncoder) -> None:
    embeddings = np.random.default_rng(0).random((50, 4), dtype=np.float32)
    data = encoded(embeddings, embeddings, encoder)
    small = subset(data, 12, queries=5)
    assert len(small.documents) == len(small.document_embeddings) == len(small.document_vectors.weights) == 12
    assert set(small.doc_ids) >= {"0", "1", "2", "3", "4"}
    assert len(small.judged.queries) == len(small.judged.qrels) == len(small.query_vectors.weights) == 5
    rows = [int(doc_id) for doc_id in small.doc_ids]
    np.testing.assert_array_equal(small.document_embeddings, data.document_embeddings[rows])
    np.testing.assert_array_equal(small.document_vectors.features, data.document_vectors.features[rows])
    assert subset(data, 12, queries=5).doc_ids == small.doc_ids
    for count, queries in ((51, 5), (4, 5)):
        with pytest.raises(
            ConnectorError, match=f"cannot sample {count} of small's 50 documents, 5 of which are relevant"
        ):
            subset(data, count, queries=queries)
