"""Indices and jobs of the fault tests."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from opensearchpy import OpenSearch

from connector.index.meta import IndexMeta
from connector.index.new_index import NewIndex
from connector.index.schema import prepare_index, read_uuid
from connector.index.writer import BulkWriter
from connector.ingest.checkpoint import Checkpoint
from connector.ingest.ledger import IngestResult
from connector.ingest.pipeline import ingest_documents
from connector.types import Document, MalformedRecord
from tests.faults.corpora import HashEncoder


@contextmanager
def made_index(client: OpenSearch, index: str, **settings: object) -> Iterator[str]:
    """An index for documents of `HashEncoder`, deleted at the end."""
    prepare_index(
        client, index, IndexMeta(HashEncoder().fingerprint), NewIndex(settings={"number_of_replicas": 0} | settings)
    )
    yield index
    client.indices.delete(index=index)


def ingest(
    client: OpenSearch,
    index: str,
    records: Iterable[Document | MalformedRecord],
    *,
    encoder: HashEncoder | None = None,
    folder: Path | None = None,
    resume: bool = False,
    write_size: int = 256,
    **writing: Any,  # noqa: ANN401
) -> IngestResult:
    """A job from beginning to end, whose counts add up.

    Args:
        client: To write through.
        index: It exists.
        records: To write.
        encoder: In place of a plain one.
        folder: Gets `run.json`, the checkpoint, and `dead.jsonl`; without one there are none.
        resume: Go on from the checkpoint.
        write_size: Of the job.
        **writing: Options of the writer.
    """
    writer = BulkWriter(client, index, **writing)
    kept: dict[str, Any] = {}
    if folder is not None:
        kept = {
            "dead_letters": folder / "dead.jsonl",
            "checkpoint": Checkpoint(folder / "run.json", {"index": read_uuid(client, index)}),
            "resume": resume,
        }
    result = ingest_documents(records, encoder or HashEncoder(), writer, write_size=write_size, **kept)
    assert result.indexed + result.superseded + result.dead_lettered == result.read
    return result
