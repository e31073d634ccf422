"""A folder in BEIR's layout -> the queries and judgements of one split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from connector.corpus.jsonl import decode, parse_object
from connector.corpus.source import read_lines
from connector.errors import CorpusError
from connector.types import Query

QRELS_HEADER = ("query-id", "corpus-id", "score")


@dataclass(frozen=True, slots=True)
class RetrievalSet:
    """Queries with judgements; the corpus beside them is read by `read_corpus`.

    Attributes:
        name: The folder's name.
        queries: Those judged in the split, in the file's order.
        qrels: From query id to document id to relevance; each query has a document above 0.
    """

    name: str
    queries: tuple[Query, ...]
    qrels: Mapping[str, Mapping[str, int]]

    def first(self, count: int) -> RetrievalSet:
        """The first queries of the set, and what was judged of them."""
        queries = self.queries[:count]
        return RetrievalSet(self.name, queries, {query.query_id: self.qrels[query.query_id] for query in queries})


def load_retrieval_set(folder: str | Path, split: str = "test") -> RetrievalSet:
    """Load `queries.jsonl` and `qrels/{split}.tsv`, either with or without `.gz`.

    Raises:
        CorpusError: A file is missing or broken, a query is judged but has no text or stands twice, or a query has
            no judgement above 0, so that no metric could be computed.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise CorpusError(f"{folder} is no folder; give one with queries.jsonl and qrels/{split}.tsv.")
    qrels_path = _find(folder / "qrels" / f"{split}.tsv")
    if qrels_path is None:
        splits = sorted({path.name.split(".tsv")[0] for path in folder.glob("qrels/*.tsv*")})
        raise CorpusError(
            f"{folder} has no split {split!r} (qrels/{split}.tsv); it has {', '.join(splits) or 'none at all'}."
        )
    queries_path = _find(folder / "queries.jsonl")
    if queries_path is None:
        raise CorpusError(f"{folder} has no queries.jsonl or queries.jsonl.gz; without them nothing can be searched.")
    qrels = load_qrels(qrels_path)
    return RetrievalSet(folder.resolve().name, _load_queries(queries_path, qrels), qrels)


def load_qrels(path: Path) -> dict[str, dict[str, int]]:
    """Load judgements from a file with the columns query-id, corpus-id and score, separated by tabs.

    Returns:
        From query id to document id to relevance, in the file's order.

    Raises:
        CorpusError: The header is another, a line is broken or contradicts an earlier one, there are no judgements,
            or a query has none above 0.
    """
    qrels: dict[str, dict[str, int]] = {}
    number = 0
    for number, line in read_lines(path):
        cells = tuple(_text(line, path, number).rstrip("\r\n").split("\t"))
        if number == 1:
            if cells != QRELS_HEADER:
                raise CorpusError(f"{path} begins with {cells!r}; its header must be {QRELS_HEADER!r}, split by tabs.")
            continue
        if line.isspace():
            continue
        query_id, doc_id, relevance = _judgement(cells, path, number)
        if qrels.setdefault(query_id, {}).setdefault(doc_id, relevance) != relevance:
            raise CorpusError(
                f"{path}:{number} judges {doc_id!r} for query {query_id!r} otherwise than an earlier line."
            )
    if not qrels:
        raise CorpusError(f"{path} holds no judgements; below its header each line is one.")
    for query_id, judged in qrels.items():
        if max(judged.values()) <= 0:
            raise CorpusError(f"{path} has no judgement above 0 for query {query_id!r}; drop the query from it.")
    return qrels


def _judgement(cells: tuple[str, ...], path: Path, number: int) -> tuple[str, str, int]:
    if len(cells) != len(QRELS_HEADER) or not cells[0] or not cells[1]:
        raise CorpusError(f"{path}:{number} holds {cells!r}; a judgement is a query id, a document id and a score.")
    try:
        return cells[0], cells[1], int(cells[2])
    except ValueError:
        raise CorpusError(f"{path}:{number} has the score {cells[2]!r}; a score is an integer.") from None


def _load_queries(path: Path, judged: Mapping[str, object]) -> tuple[Query, ...]:
    texts: dict[str, str] = {}
    for number, line in read_lines(path):
        if line.isspace():
            continue
        try:
            record = parse_object(_text(line, path, number))
        except ValueError as error:
            raise CorpusError(f"{path}:{number} is no query: {error}.") from None
        query_id, text = record.get("_id"), record.get("text")
        if isinstance(query_id, int) and not isinstance(query_id, bool):
            query_id = str(query_id)
        if not isinstance(query_id, str):
            raise CorpusError(f"{path}:{number} has the '_id' {query_id!r}; the id of a query is a string.")
        if query_id not in judged:
            continue
        if query_id in texts:
            raise CorpusError(f"{path}:{number} repeats query {query_id!r}; drop one of the two.")
        if not isinstance(text, str) or not text.strip():
            raise CorpusError(f"{path}:{number} has no text for query {query_id!r}, which is judged.")
        texts[query_id] = text
    missing = [query_id for query_id in judged if query_id not in texts]
    if missing:
        raise CorpusError(f"{path} lacks {len(missing)} judged queries, {missing[0]!r} among them; add them to it.")
    return tuple(Query(query_id, text) for query_id, text in texts.items())


def _text(line: bytes, path: Path, number: int) -> str:
    try:
        return decode(line)
    except ValueError as error:
        raise CorpusError(f"{path}:{number} is {error}.") from None


def _find(path: Path) -> Path | None:
    for found in (path, path.with_name(f"{path.name}.gz")):
        if found.is_file():
            return found
    return None
