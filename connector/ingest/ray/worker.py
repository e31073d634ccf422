"""The actor of an ingestion on Ray. This module does not import Ray, and no client or secret is sent to it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

from opensearchpy import OpenSearch

from connector.connection.client import address_of
from connector.corpus.arrow import ArrowReader
from connector.corpus.check import RecordChecker
from connector.corpus.layout import Layout, RecordMapper
from connector.corpus.parts import Part, read_part
from connector.corpus.read import CorpusRecord
from connector.errors import ClusterError
from connector.index.schema import existing_schema, read_uuid
from connector.index.writer import BulkWriter
from connector.ingest.index_encoder import encoder_of, load_index_encoder
from connector.ingest.pipeline import IngestJob

COUNTS = ("read", "indexed", "superseded", "dead_lettered")

Read = Callable[[Any, RecordMapper], Iterator[CorpusRecord]]
"""Reads records from a pyarrow table."""


class WorkerSettings(Protocol):
    """The attributes of `RayIngest` that workers read; sent to every machine."""

    @property
    def index(self) -> str: ...  # noqa: D102
    @property
    def connect(self) -> Callable[[], OpenSearch]: ...  # noqa: D102
    @property
    def encoder(self) -> str | None: ...  # noqa: D102
    @property
    def generate_ids(self) -> bool: ...  # noqa: D102
    @property
    def layout(self) -> Layout: ...  # noqa: D102
    @property
    def batch_size(self) -> int: ...  # noqa: D102
    @property
    def chunk_size(self) -> int: ...  # noqa: D102
    @property
    def max_in_flight(self) -> int: ...  # noqa: D102


class Worker:
    """An actor: loads the encoder once, then reads, encodes and writes batch by batch.

    Args:
        job: Settings of the job.
        uuid: UUID of the index that the driver prepared.
        read: Reads records from a batch.
    """

    def __init__(self, job: WorkerSettings, uuid: str, read: Read) -> None:
        self._job = job
        self._uuid = uuid
        self._read = read
        self._ready = False

    def __call__(self, table: Any) -> dict[str, list[Any]]:  # noqa: ANN401
        """Ingest the records of a pyarrow table; return one row with counts, reasons and dead letters.

        Raises:
            ClusterError: This machine reaches another index than the driver.
            CorpusError, EncoderError, BulkWriteError: As in any ingestion.
        """
        if not self._ready:
            # Not in the constructor: Ray would hide the cause of the error.
            self._prepare()
        checker = RecordChecker(self._fields, generate_ids=self._job.generate_ids, refuse_repeated=False)
        with TemporaryDirectory() as folder:
            letters = Path(folder) / "letters.jsonl"
            with IngestJob(
                self._writer, self._encoder, dead_letters=letters, batch_size=self._job.batch_size, refresh=False
            ) as job:
                job.add(self._read(table, RecordMapper(checker, self._job.layout)))
            kept = letters.read_text(encoding="utf-8") if letters.exists() else ""
        counts = {name: [getattr(job.result, name)] for name in COUNTS}
        return counts | {"reasons": [json.dumps(job.result.reasons)], "letters": [kept]}

    def _prepare(self) -> None:
        job = self._job
        client = job.connect()
        schema = existing_schema(client, job.index)
        if read_uuid(client, job.index) != self._uuid:
            raise ClusterError(
                f"Index {job.index!r} at {address_of(client)} is not the one that the driver prepared; set the same "
                "OPENSEARCH_URL on all machines."
            )
        self._encoder = encoder_of(schema, load_index_encoder(client, schema, job.encoder))
        self._fields = schema.fields
        self._writer = BulkWriter(client, job.index, chunk_size=job.chunk_size, max_in_flight=job.max_in_flight)
        self._ready = True


def read_rows(table: Any, mapper: RecordMapper) -> Iterator[CorpusRecord]:  # noqa: ANN401
    """Read the rows of a dataset like Parquet rows.

    Raises:
        CorpusError: A required column is missing.
    """
    reader = ArrowReader(table.schema, mapper, table="the dataset")
    before = 0
    for batch in table.to_batches():
        yield from reader.rows(batch, place="a batch, row ", before=before)
        before += batch.num_rows


def read_parts(table: Any, mapper: RecordMapper) -> Iterator[CorpusRecord]:  # noqa: ANN401
    """Read the file parts that the rows name.

    Raises:
        CorpusError: A part cannot be read completely, or lacks a column.
    """
    for row in table.to_pylist():
        yield from read_part(Part(**row), mapper)
