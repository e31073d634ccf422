"""Ingest the rows of a database, and resume a stopped run.

    python examples/ingest_from_database.py articles.db --index articles
    python examples/ingest_from_database.py articles.db --index articles --resume

A new index builds a dictionary from the first 10,000 rows; with --encoder, from the embeddings of another dense model.

The table: CREATE TABLE articles (id TEXT PRIMARY KEY, title TEXT, body TEXT, lang TEXT).
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from connector import Checkpoint, Document, SparseIndex, check_documents

URL = os.environ.get("OPENSEARCH_URL", "http://localhost:9200")


def rows(database: sqlite3.Connection) -> Iterator[Document]:
    """Yield the articles in the same order in every run, because a resumed job skips the first ones."""
    for key, title, body, lang in database.execute("SELECT id, title, body, lang FROM articles ORDER BY id"):
        yield Document(key, body or "", title=title or "", metadata={"lang": lang})


def main() -> int:
    """Run the ingestion; return 0, or 3 if some rows were dead-lettered."""
    parser = argparse.ArgumentParser(description="Ingest the rows of a database.")
    parser.add_argument("database", type=Path)
    parser.add_argument("--index", required=True)
    parser.add_argument("--encoder", help="Name or folder of a sentence-transformers model.")
    parser.add_argument("--resume", action="store_true", help="Resume the last run if it was stopped.")
    arguments = parser.parse_args()

    index = SparseIndex(arguments.index, encoder=arguments.encoder, url=URL)
    database = sqlite3.connect(arguments.database)
    [count] = database.execute("SELECT count(*) FROM articles").fetchone()
    encoder = index.prepare([document.content for document in islice(rows(database), 10_000)], documents=count)
    job = index.job(
        # A run can be resumed only with the same values.
        checkpoint=Checkpoint(
            f"{arguments.index}.checkpoint.json",
            {"database": str(arguments.database.resolve()), "encoder": encoder.fingerprint.digest},
        ),
        resume=arguments.resume,
        dead_letters=f"{arguments.index}.dead-letters.jsonl",
        progress=lambda done: print(f"{done} rows", file=sys.stderr),
    )
    with job:
        # With the check, a row without text becomes a dead letter instead of an error.
        job.add(check_documents(rows(database)))
    database.close()
    print(f"{job.result.read} rows: {job.result.indexed} indexed, {job.result.dead_lettered} in the dead letters")
    return 3 if job.result.dead_lettered else 0


if __name__ == "__main__":
    sys.exit(main())
