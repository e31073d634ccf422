"""An ingestion whose encoder counts: python -m tests.faults.counted URL INDEX COUNT FOLDER

It goes on from the checkpoint in FOLDER if there is one. COUNT is that of `numbered` documents; before every hundredth
stands a malformed record. Of each batch the number of documents is written into FOLDER/counts before it is encoded,
which a SIGKILL does not undo.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from connector.connection.client import connect
from connector.types import Document, MalformedRecord, SparseVectors
from tests.faults.corpora import HashEncoder, numbered
from tests.faults.jobs import ingest


class CountingEncoder(HashEncoder):
    """Counts what it encodes."""

    def __init__(self, counts: Path) -> None:
        self._counts = counts

    def encode_document(self, texts: Sequence[str], *, batch_size: int = 32) -> SparseVectors:
        with self._counts.open("a", encoding="ascii") as file:
            file.write(f"{len(texts)}\n")
        return super().encode_document(texts, batch_size=batch_size)


def records(count: int) -> Iterator[Document | MalformedRecord]:
    """Documents, with a malformed record before every hundredth."""
    for place, document in enumerate(numbered(count)):
        if place % 100 == 0:
            yield MalformedRecord(f"record {place}", "nothing in it", "")
        yield document


if __name__ == "__main__":
    url, index, count, folder = sys.argv[1:]
    kept = Path(folder)
    with connect(url) as client:
        encoder = CountingEncoder(kept / "counts")
        ingest(client, index, records(int(count)), encoder=encoder, folder=kept, resume=(kept / "run.json").exists())
