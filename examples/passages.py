"""Index long texts as passages, and find each text once.

    python examples/passages.py "how do plants eat" --index books chapter-1.txt chapter-2.txt

The default dense model reads the first 256 tokens of a text, about 200 words.
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from connector import Document, Hit, SparseIndex

URL = os.environ.get("OPENSEARCH_URL", "http://localhost:9200")
WORDS = 150


def passages(text: str) -> Iterator[str]:
    """Yield passages of whole sentences, of about 150 words; each begins with the last sentence of the one before."""
    passage: list[str] = []
    for sentence in re.split(r"(?<=[.!?])\s+", text.strip()):
        if len(passage) > 1 and sum(len(each.split()) for each in (*passage, sentence)) > WORDS:
            yield " ".join(passage)
            passage = passage[-1:]
        passage.append(sentence)
    yield " ".join(passage)


def documents(paths: Iterable[Path]) -> Iterator[Document]:
    """Yield the passages of text files. The title is encoded with each of them."""
    for path in paths:
        for number, passage in enumerate(passages(path.read_text(encoding="utf-8"))):
            yield Document(f"{path.name}#{number}", passage, title=path.stem, metadata={"file": path.name})


def best_passages(index: SparseIndex, query: str, top_k: int) -> list[Hit]:
    """Return the best passage of each of the best texts."""
    best: dict[str, Hit] = {}
    for hit in index.search(query, top_k=10 * top_k):
        best.setdefault(hit.metadata["file"], hit)
    return list(best.values())[:top_k]


def main() -> None:
    """Index the files, and print the texts that answer a query."""
    parser = argparse.ArgumentParser(description="Index long texts as passages.")
    parser.add_argument("query")
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--index", required=True)
    arguments = parser.parse_args()
    index = SparseIndex(arguments.index, url=URL)
    if index.exists():  # a shorter version of a text would leave passages of the earlier one
        index.delete(filters={"file": [path.name for path in arguments.files]})
    index.add(documents(arguments.files))
    hits = best_passages(index, arguments.query, top_k=3)
    for hit in hits:
        print(f"{hit.score:.3f} {hit.id} {hit.text[:80]}")
    if not hits:
        print("No text shares a feature with the query.")


if __name__ == "__main__":
    main()
