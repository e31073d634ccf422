"""Load judgements (qrels) in the formats of BEIR and TREC."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from connector.corpus.lines import decode, read_lines
from connector.errors import CorpusError

_log = logging.getLogger("ksparse.evaluation")

Qrels = dict[str, dict[str, int]]
"""Relevance by query id and document id."""

_HEADER = ("query-id", "corpus-id", "score")
_NAMES = (
    (_HEADER[0], "query_id", "qid", "query"),
    (_HEADER[1], "corpus_id", "doc-id", "doc_id", "docid", "did", "pid", "document"),
    (_HEADER[2], "relevance", "rel", "label", "grade"),
)
"""Accepted names of the columns."""


class Judgements(NamedTuple):
    """Judgements of a file.

    Attributes:
        qrels: Judgements of the queries with a relevant document, in the order of the file.
        left_out: Queries without a relevant document, for which no metric is defined.
    """

    qrels: Qrels
    left_out: tuple[str, ...]


def load_judgements(path: Path) -> Judgements:
    """Load judgements: query id, document id and score, with a header (BEIR) or without, or TREC's four columns.

    Cells are separated by tabs, or by spaces if there are no tabs. Queries without a relevant document are ignored with
    a warning, because no metric is defined for them.

    Raises:
        CorpusError: A line is malformed or contradicts an earlier one, or no query has a relevant document.
    """
    found: Qrels = {}
    width = 0
    for number, line in read_lines(path):
        text = _text(line, path, number)
        if not text.strip():
            continue
        cells = _cells(text)
        first, width = not width, width or len(cells)
        if first and _is_header(cells, path):
            continue
        query_id, doc_id, relevance = _judgement(cells, width, path, number)
        if found.setdefault(query_id, {}).setdefault(doc_id, relevance) != relevance:
            raise CorpusError(f"{path}:{number} contradicts an earlier judgement of {doc_id!r} for query {query_id!r}.")
    if not found:
        raise CorpusError(f"{path} contains no judgements.")
    qrels, left_out = with_relevant(found)
    if not qrels:
        raise CorpusError(f"{path} has no judgement above 0; metrics need a relevant document.")
    if left_out:
        _log.warning("%s: %s", path, without_relevant(left_out))
    return Judgements(qrels, left_out)


def with_relevant(qrels: Mapping[str, Mapping[str, int]]) -> tuple[Qrels, tuple[str, ...]]:
    """Return the judgements of queries with a relevant document, and the ids of the other queries."""
    kept = {query_id: dict(judged) for query_id, judged in qrels.items() if max(judged.values(), default=0) > 0}
    return kept, tuple(query_id for query_id in qrels if query_id not in kept)


def without_relevant(left_out: Sequence[str]) -> str:
    """Message about queries without a relevant document."""
    return f"{len(left_out)} queries have no judgement above 0, e.g. {left_out[0]!r}, and are ignored."


def _cells(text: str) -> tuple[str, ...]:
    return tuple(cell.strip() for cell in text.rstrip("\r\n").split("\t")) if "\t" in text else tuple(text.split())


def _is_header(cells: tuple[str, ...], path: Path) -> bool:
    if _score(cells[-1]) is not None:
        return False
    names = [cell.lower().lstrip("#").strip() for cell in cells]
    if len(names) != len(_NAMES) or any(name not in known for name, known in zip(names, _NAMES, strict=True)):
        raise CorpusError(f"{path} begins with {cells!r}; it needs the header {_HEADER!r}, or none.")
    return True


def _judgement(cells: tuple[str, ...], width: int, path: Path, number: int) -> tuple[str, str, int]:
    if len(cells) != width or width not in (3, 4) or not all(cells):
        raise CorpusError(
            f"{path}:{number} is {cells!r}; a judgement has a query id, a document id and a score, or TREC's four "
            "columns."
        )
    if width == 4:  # the second is the iteration, which is not used
        cells = (cells[0], *cells[2:])
    score = _score(cells[2])
    if score is None or not score.is_integer():
        raise CorpusError(f"{path}:{number} has the score {cells[2]!r}; it must be an integer.")
    return cells[0], cells[1], int(score)


def _score(cell: str) -> float | None:
    try:
        found = float(cell)
    except ValueError:
        return None
    return found if math.isfinite(found) else None


def _text(line: bytes, path: Path, number: int) -> str:
    try:
        return decode(line)
    except ValueError as error:
        raise CorpusError(f"{path}:{number} is {error}.") from None
