"""Load the queries and judgements of a BEIR folder."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from connector.corpus.jsonl import parse_object
from connector.corpus.lines import decode, read_lines
from connector.errors import CorpusError
from connector.evaluation.qrels import load_judgements, with_relevant
from connector.types import Query


@dataclass(frozen=True, slots=True)
class RetrievalSet:
    """Queries with judgements; `read_corpus` reads the documents.

    Attributes:
        name: Name of the folder.
        queries: Judged queries of the split, in the order of the file.
        qrels: Relevance by query id and document id; each query has a document with relevance above 0.
        left_out: Ids of judged queries without a relevant document.
    """

    name: str
    queries: tuple[Query, ...]
    qrels: Mapping[str, Mapping[str, int]]
    left_out: tuple[str, ...] = ()

    def first(self, count: int) -> RetrievalSet:
        """Return the first queries of the set with their judgements."""
        queries = self.queries[:count]
        return replace(self, queries=queries, qrels={each.query_id: self.qrels[each.query_id] for each in queries})

    def among(self, doc_ids: Collection[str]) -> RetrievalSet:
        """Return the set with the judgements of these documents only, without queries to which none is relevant."""
        judged = {
            query_id: {doc_id: relevance for doc_id, relevance in judgements.items() if doc_id in doc_ids}
            for query_id, judgements in self.qrels.items()
        }
        qrels, without = with_relevant(judged)
        queries = tuple(each for each in self.queries if each.query_id in qrels)
        return replace(self, queries=queries, qrels=qrels, left_out=(*self.left_out, *without))


def load_retrieval_set(folder: str | Path, split: str = "test") -> RetrievalSet:
    """Load `queries.jsonl` (or `queries.tsv`) and `qrels/{split}.tsv`, either compressed or not.

    Raises:
        CorpusError: A file is missing or malformed, a judged query has no text or occurs twice, or no query has a
            relevant document.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise CorpusError(f"{folder} is not a folder; use a folder with queries.jsonl and qrels/{split}.tsv.")
    qrels_path = _find(folder / "qrels" / f"{split}.tsv")
    if qrels_path is None:
        splits = sorted({path.name.split(".tsv")[0] for path in folder.glob("qrels/*.tsv*")})
        raise CorpusError(
            f"{folder} has no split {split!r} (qrels/{split}.tsv); it has {', '.join(splits) or 'no splits'}."
        )
    queries_path = _find(folder / "queries.jsonl") or _find(folder / "queries.tsv")
    if queries_path is None:
        raise CorpusError(f"{folder} has no queries.jsonl or queries.tsv.")
    qrels, left_out = load_judgements(qrels_path)
    return RetrievalSet(folder.resolve().name, _load_queries(queries_path, qrels), qrels, left_out)


def _load_queries(path: Path, judged: Collection[str]) -> tuple[Query, ...]:
    texts: dict[str, str] = {}
    for number, query_id, text in _read_table(path) if ".tsv" in path.suffixes else _read_json(path):
        if query_id not in judged:
            continue
        if query_id in texts:
            raise CorpusError(f"{path}:{number} repeats query {query_id!r}; remove one.")
        if not isinstance(text, str) or not text.strip():
            raise CorpusError(f"{path}:{number} has no text for query {query_id!r}, which is judged.")
        texts[query_id] = text
    missing = [query_id for query_id in judged if query_id not in texts]
    if missing:
        raise CorpusError(f"{path} lacks {len(missing)} judged queries, e.g. {missing[0]!r}; add them.")
    return tuple(Query(query_id, text) for query_id, text in texts.items())


def _read_json(path: Path) -> Iterator[tuple[int, str, object]]:
    for number, line in read_lines(path):
        if line.isspace():
            continue
        try:
            record = parse_object(decode(line))
        except ValueError as error:
            raise CorpusError(f"{path}:{number} is not a query: {error}.") from None
        query_id = record.get("_id", record.get("id"))
        if isinstance(query_id, int) and not isinstance(query_id, bool):
            query_id = str(query_id)
        if not isinstance(query_id, str):
            raise CorpusError(f"{path}:{number} has the '_id' {query_id!r}; a query id must be a string.")
        yield number, query_id, record.get("text")


def _read_table(path: Path) -> Iterator[tuple[int, str, object]]:
    """Read queries from a table without a header, as in MS MARCO; a header counts as a query without judgements."""
    for number, line in read_lines(path):
        if line.isspace():
            continue
        try:
            query_id, separator, text = decode(line).rstrip("\r\n").partition("\t")
        except ValueError as error:
            raise CorpusError(f"{path}:{number} is not a query: {error}.") from None
        if not separator:
            raise CorpusError(f"{path}:{number} is {query_id!r}; a line must have an id, a tab and a text.")
        yield number, query_id.strip(), text


def _find(path: Path) -> Path | None:
    for suffix in ("", ".gz", ".bz2", ".xz", ".zst"):
        found = path.with_name(f"{path.name}{suffix}")
        if found.is_file():
            return found
    return None
