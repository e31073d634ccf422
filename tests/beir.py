"""Writes judged sets as folders of BEIR, for all tests that need one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

HEADER = "query-id\tcorpus-id\tscore\n"

Judgement = tuple[str, str] | tuple[str, str, int]
"""The ids of a query and of a document, and the grade: 1 if it is left out."""


def write_beir(
    folder: Path,
    documents: Mapping[str, str] | Iterable[Mapping[str, Any]],
    queries: Mapping[str, str],
    **splits: Iterable[Judgement],
) -> Path:
    """Write `corpus.jsonl`, `queries.jsonl` and `qrels/SPLIT.tsv`, and return the folder.

    Args:
        folder: Made if it is not there.
        documents: From id to text, or whole records.
        queries: From id to text.
        **splits: The judgements of each, e.g. `test=[("q1", "d1")]`.
    """
    (folder / "qrels").mkdir(parents=True, exist_ok=True)
    records = documents_of(documents) if isinstance(documents, Mapping) else documents
    (folder / "corpus.jsonl").write_text(to_lines(records), encoding="utf-8")
    (folder / "queries.jsonl").write_text(to_lines(documents_of(queries)), encoding="utf-8")
    for split, judgements in splits.items():
        (folder / "qrels" / f"{split}.tsv").write_text(HEADER + "".join(map(_to_line, judgements)), encoding="utf-8")
    return folder


def numbered(texts: Iterable[str], prefix: str = "") -> dict[str, str]:
    """Texts under ids that count from 0: `d0`, `d1`, ..."""
    return {f"{prefix}{number}": text for number, text in enumerate(texts)}


def to_lines(records: Iterable[Mapping[str, Any]]) -> str:
    """Records as JSONL."""
    return "".join(json.dumps(record) + "\n" for record in records)


def documents_of(texts: Mapping[str, str]) -> list[dict[str, str]]:
    """The records of texts."""
    return [{"_id": name, "text": text} for name, text in texts.items()]


def _to_line(judgement: Judgement) -> str:
    query_id, doc_id, *grade = judgement
    return f"{query_id}\t{doc_id}\t{grade[0] if grade else 1}\n"
