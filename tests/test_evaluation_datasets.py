from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from connector.errors import CorpusError
from connector.evaluation.datasets import load_retrieval_set
from connector.types import Query
from tests.beir import HEADER, write_beir

QUERIES = '{"_id": "q1", "text": "one"}\n{"_id": "q2", "text": "two"}\n'


def lay_out(folder: Path, qrels: str = HEADER + "q1\td1\t1\n", queries: str = QUERIES) -> Path:
    write_beir(folder, {}, {}, test=[])
    (folder / "qrels" / "test.tsv").write_text(qrels)
    (folder / "queries.jsonl").write_text(queries)
    return folder


def test_only_judged_queries_are_loaded(tmp_path: Path) -> None:
    assert load_retrieval_set(lay_out(tmp_path)).queries == (Query("q1", "one"),)


def test_judgements_are_grouped_by_query(tmp_path: Path) -> None:
    folder = lay_out(tmp_path, HEADER + "q2\td1\t2\nq1\td1\t1\nq2\td3\t0\n")
    assert load_retrieval_set(folder).qrels == {"q2": {"d1": 2, "d3": 0}, "q1": {"d1": 1}}


def test_a_set_is_called_like_its_folder(tmp_path: Path) -> None:
    (tmp_path / "scifact").mkdir()
    assert load_retrieval_set(lay_out(tmp_path / "scifact")).name == "scifact"


def test_packed_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels" / "dev.tsv.gz").write_bytes(gzip.compress((HEADER + "q1\td1\t1\n").encode()))
    (tmp_path / "queries.jsonl.gz").write_bytes(gzip.compress(QUERIES.encode()))
    assert load_retrieval_set(tmp_path, "dev").qrels == {"q1": {"d1": 1}}


def test_windows_line_ends_are_read(tmp_path: Path) -> None:
    (lay_out(tmp_path) / "qrels" / "test.tsv").write_bytes((HEADER + "q1\td1\t1\n").replace("\n", "\r\n").encode())
    assert load_retrieval_set(tmp_path).qrels == {"q1": {"d1": 1}}


def test_a_missing_split_names_those_that_exist(tmp_path: Path) -> None:
    (lay_out(tmp_path) / "qrels" / "train.tsv.gz").touch()
    with pytest.raises(CorpusError, match=r"no split 'dev' \(qrels/dev\.tsv\); it has test, train"):
        load_retrieval_set(tmp_path, "dev")


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="none is not a folder; use a folder with queries.jsonl"):
        load_retrieval_set(tmp_path / "none")


def test_missing_queries_are_refused(tmp_path: Path) -> None:
    (lay_out(tmp_path) / "queries.jsonl").unlink()
    with pytest.raises(CorpusError, match=r"has no queries\.jsonl or queries\.tsv"):
        load_retrieval_set(tmp_path)


def test_another_header_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"begins with \('doc', 'query', 'score'\); it needs the header \('query-id'"):
        load_retrieval_set(lay_out(tmp_path, "doc\tquery\tscore\nd1\tq1\t1\n"))


@pytest.mark.parametrize(
    "content",
    [
        "q1\td1\t1\nq1\td 2\t0\n",
        "query_id\tdoc_id\trelevance\r\nq1\td1\t1.0\r\nq1\td 2\t0.0\r\n",
        "\ufeffq1\t0\td1\t1\nq1\t0\td 2\t0\n",
        "\n q1\t d1 \t 1\nq1\td 2\t0\n\n",
    ],
)
def test_judgements_are_read_with_and_without_a_header_and_as_trec_has_them(tmp_path: Path, content: str) -> None:
    assert load_retrieval_set(lay_out(tmp_path, content)).qrels == {"q1": {"d1": 1, "d 2": 0}}


def test_judgements_may_be_separated_by_spaces(tmp_path: Path) -> None:
    assert load_retrieval_set(lay_out(tmp_path, "q1 0 d1  2\nq1 Q0 d2 -1\n")).qrels == {"q1": {"d1": 2, "d2": -1}}


def test_queries_may_be_a_table(tmp_path: Path) -> None:
    (lay_out(tmp_path) / "queries.jsonl").unlink()
    (tmp_path / "queries.tsv").write_text("id\ttext\nq1\tone\tand more\nq2\ttwo\n")
    assert load_retrieval_set(tmp_path).queries == (Query("q1", "one\tand more"),)
    (tmp_path / "queries.tsv").write_text("q1 one\n")
    with pytest.raises(CorpusError, match=r"queries\.tsv:1 is 'q1 one'; a line must have an id, a tab and a text"):
        load_retrieval_set(tmp_path)


def test_the_id_of_a_query_may_be_called_id(tmp_path: Path) -> None:
    assert load_retrieval_set(lay_out(tmp_path, queries='{"id": "q1", "text": "one"}')).queries == (Query("q1", "one"),)


@pytest.mark.parametrize("row", ["q1\td1", "q1 d1 1 0", "q1\td1\t1\t0", "\td1\t1"])
def test_a_judgement_without_three_cells_is_refused(tmp_path: Path, row: str) -> None:
    with pytest.raises(CorpusError, match=r"test\.tsv:2 is .*; a judgement has a query id"):
        load_retrieval_set(lay_out(tmp_path, f"{HEADER}{row}\n"))


def test_a_score_that_is_no_integer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"test\.tsv:2 has the score '0\.5'; it must be an integer"):
        load_retrieval_set(lay_out(tmp_path, HEADER + "q1\td1\t0.5\n"))


def test_contradicting_judgements_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"test\.tsv:3 contradicts an earlier judgement of 'd1' for query 'q1'"):
        load_retrieval_set(lay_out(tmp_path, HEADER + "q1\td1\t1\nq1\td1\t0\n"))


@pytest.mark.parametrize("qrels", ["", HEADER])
def test_a_split_without_judgements_is_refused(tmp_path: Path, qrels: str) -> None:
    with pytest.raises(CorpusError, match=r"test\.tsv contains no judgements"):
        load_retrieval_set(lay_out(tmp_path, qrels))


def test_queries_without_a_relevant_document_are_left_out_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    judged = load_retrieval_set(lay_out(tmp_path, HEADER + "q1\td1\t1\nq2\td1\t0\nq2\td2\t0\n"))
    assert (judged.queries, judged.qrels, judged.left_out) == ((Query("q1", "one"),), {"q1": {"d1": 1}}, ("q2",))
    assert caplog.messages == [
        f"{tmp_path}/qrels/test.tsv: 1 queries have no judgement above 0, e.g. 'q2', and are ignored."
    ]


def test_judgements_of_nothing_relevant_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no judgement above 0; metrics need a relevant document"):
        load_retrieval_set(lay_out(tmp_path, HEADER + "q1\td1\t0\n"))


def test_a_judged_query_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="lacks 1 judged queries, e.g. 'q3'"):
        load_retrieval_set(lay_out(tmp_path, HEADER + "q3\td1\t1\n"))


def test_a_judged_query_without_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"queries\.jsonl:1 has no text for query 'q1', which is judged"):
        load_retrieval_set(lay_out(tmp_path, queries='{"_id": "q1", "text": " "}\n'))


def test_a_repeated_query_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"queries\.jsonl:3 repeats query 'q1'"):
        load_retrieval_set(lay_out(tmp_path, queries=QUERIES + QUERIES))


def test_a_broken_query_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"queries\.jsonl:3 is not a query: not valid JSON"):
        load_retrieval_set(lay_out(tmp_path, queries=QUERIES + "{"))


def test_an_integer_query_id_is_taken_as_a_string(tmp_path: Path) -> None:
    folder = lay_out(tmp_path, HEADER + "7\td1\t1\n", '{"_id": 7, "text": "one"}')
    assert load_retrieval_set(folder).queries == (Query("7", "one"),)
