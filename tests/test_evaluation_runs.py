from __future__ import annotations

from pathlib import Path

import pytest

from connector.errors import CorpusError
from connector.evaluation.runs import read_run, write_run
from connector.types import Hit


def test_a_run_is_written_in_trec_format(tmp_path: Path) -> None:
    write_run({"q1": [Hit("d2", 1.5), Hit("d1", 0.25)]}, tmp_path / "run", tag="mine")
    assert (tmp_path / "run").read_text() == "q1 Q0 d2 1 1.5 mine\nq1 Q0 d1 2 0.25 mine\n"


def test_a_run_comes_back_as_it_was(tmp_path: Path) -> None:
    run = {"q2": [Hit("é", 0.1 + 0.2)], "q1": [Hit("b", 1.0), Hit("a", 1.0)]}
    write_run(run, tmp_path / "run")
    assert read_run(tmp_path / "run") == run


def test_hits_are_read_in_the_order_of_their_ranks(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("q1 Q0 b 10 0.1 t\nq1\tQ0\ta\t9\t0.1\tt\n")
    assert read_run(tmp_path / "run") == {"q1": [Hit("a", 0.1), Hit("b", 0.1)]}


@pytest.mark.parametrize("doc_id", ["", "a b", "a\n", "a\u00a0b"])
def test_a_document_id_with_whitespace_is_refused(tmp_path: Path, doc_id: str) -> None:
    with pytest.raises(ValueError, match="document id .* is empty or contains whitespace"):
        write_run({"q1": [Hit(doc_id, 1.0)]}, tmp_path / "run")


def test_a_query_id_with_whitespace_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="query id 'q 1' is empty or contains whitespace"):
        write_run({"q 1": []}, tmp_path / "run")


def test_a_refused_run_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="document 'd2' of query 'q1' scores nan; it must be finite"):
        write_run({"q1": [Hit("d1", 1.0), Hit("d2", float("nan"))]}, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("q1 Q0 d1 1 1.0", "has 5 parts, not query_id"),
        ("q1 Q0 d1 first 1.0 t", "invalid literal for int"),
        ("q1 Q0 d1 1 high t", "could not convert string to float"),
        ("q1 Q0 d1 1 nan t", "has the score nan, which is not finite"),
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, line: str, reason: str) -> None:
    (tmp_path / "run").write_text(f"q1 Q0 d0 0 2.0 t\n{line}\n")
    with pytest.raises(CorpusError, match=f"run:2 is not a line of a TREC run: {reason}"):
        read_run(tmp_path / "run")


def test_a_missing_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="none cannot be read after line 0: .*No such file"):
        read_run(tmp_path / "none")
