"""Read and write runs in TREC's format: `query_id Q0 doc_id rank score tag`, separated by spaces."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from connector.corpus.lines import decode, read_lines
from connector.errors import CorpusError
from connector.types import Hit

Run = dict[str, list[Hit]]
"""Hits by query id, best first."""

DEPTH = 100
"""Hits per query: the depth of the deepest metric."""


def write_run(run: Mapping[str, Sequence[Hit]], path: str | Path, *, tag: str = "ksparse") -> None:
    """Write a run, with ranks from 1. The format cannot represent queries without hits.

    Raises:
        ValueError: An id or the tag is empty or contains whitespace, or a score is not finite. Nothing is written.
    """
    _check_word("tag", tag)
    check_run_ids(run, (hit.doc_id for hits in run.values() for hit in hits))
    for query_id, hits in run.items():
        for hit in hits:
            if not math.isfinite(hit.score):
                raise ValueError(
                    f"document {hit.doc_id!r} of query {query_id!r} scores {hit.score}; it must be finite."
                )
    with Path(path).open("w", encoding="utf-8", newline="\n") as file:
        for query_id, hits in run.items():
            for rank, hit in enumerate(hits, 1):
                file.write(f"{query_id} Q0 {hit.doc_id} {rank} {float(hit.score)!r} {tag}\n")


def without_own(run: Mapping[str, Sequence[Hit]], qrels: Mapping[str, Mapping[str, int]]) -> Run:
    """Drop the document that has the id of its query, and keep the first `DEPTH` hits.

    Queries of some sets are documents of the corpus (ArguAna), which find themselves; BEIR drops them as well. One that
    is judged relevant is kept, because its id is a coincidence.
    """
    return {
        query_id: [hit for hit in hits if hit.doc_id != query_id or qrels[query_id].get(query_id, 0) > 0][:DEPTH]
        for query_id, hits in run.items()
    }


def check_run_ids(query_ids: Iterable[str], doc_ids: Iterable[str]) -> None:
    """Check that a run with these ids can be written.

    Raises:
        ValueError: An id is empty or contains whitespace.
    """
    for what, words in (("query id", query_ids), ("document id", doc_ids)):
        for word in words:
            _check_word(what, word)


def read_run(path: str | Path) -> Run:
    """Read a run, compressed or not, in the order of its ranks.

    Raises:
        CorpusError: The file cannot be read, a line does not have six parts, or a rank or score is not a number.
    """
    path = Path(path)
    ranked: dict[str, list[tuple[int, Hit]]] = {}
    for number, line in read_lines(path):
        if line.isspace():
            continue
        try:
            parts = decode(line).split()
            if len(parts) != 6:
                raise ValueError(f"has {len(parts)} parts, not query_id Q0 doc_id rank score tag")
            query_id, _, doc_id, rank, score, _ = parts
            entry = int(rank), Hit(doc_id, float(score))
            if not math.isfinite(entry[1].score):
                raise ValueError(f"has the score {score}, which is not finite")
        except ValueError as error:
            raise CorpusError(f"{path}:{number} is not a line of a TREC run: {error}.") from None
        ranked.setdefault(query_id, []).append(entry)
    # By rank and not by score, because ranks also order ties.
    return {
        query_id: [hit for _, hit in sorted(entries, key=lambda entry: entry[0])]
        for query_id, entries in ranked.items()
    }


def _check_word(what: str, word: str) -> None:
    if word.split() != [word]:
        raise ValueError(
            f"{what} {word!r} is empty or contains whitespace, which a TREC run cannot represent; rename it."
        )
