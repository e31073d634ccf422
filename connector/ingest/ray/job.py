"""Ingestion on Ray Data: actors read, encode and write; the driver prepares the index and sums the counts."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from logging import getLogger
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opensearchpy import OpenSearch

from connector.corpus.check import RecordChecker
from connector.corpus.layout import Layout, RecordMapper
from connector.corpus.parts import read_part, split_corpus
from connector.corpus.read import CorpusRecord
from connector.corpus.source import STANDARD_INPUT, Format
from connector.encoders.load import DEFAULT_ENCODER, load_encoder
from connector.errors import BulkWriteError, ConnectorError, CorpusError
from connector.index.new_index import DEFAULT_INDEX, NewIndex
from connector.index.schema import read_schema, read_uuid
from connector.index.writer import BulkWriter
from connector.ingest.dead_letters import REASONS_KEPT
from connector.ingest.index_encoder import load_index_encoder
from connector.ingest.ledger import IngestResult
from connector.ingest.letter_file import LetterFile
from connector.ingest.own_dictionary import OwnDictionary
from connector.ingest.pipeline import Progress
from connector.ingest.prepare import prepare_encoder
from connector.ingest.ray.worker import COUNTS, Read, Worker, read_parts, read_rows
from connector.ingest.sample import MAX_SAMPLED, Sampled

_log = getLogger("ksparse.ingest")

_MAX_EMBEDDED = 50_000
"""Maximum number of documents that the driver embeds for a dictionary before the actors start."""

if TYPE_CHECKING:
    from ray.data import Dataset

Records = Callable[[RecordMapper], Iterable[CorpusRecord]]


@dataclass(frozen=True, kw_only=True)
class RayIngest:
    """An ingestion on a Ray cluster, for a corpus that is too large for one machine.

    Ray Data distributes the work and repeats the tasks of a lost actor or machine; ids make this effectively-once. Each
    batch returns its counts and dead letters to the driver once, so no shared folder is needed for them.

    Unlike on one machine, a repeated id is not refused, since no actor knows the records of the others: the record
    written last wins. Ids must be unique, or records must have a `_version`.

    Attributes:
        index: Name of the index; created if it does not exist.
        connect: Creates a client, in the driver and in every actor. It should read credentials where it runs: its
            captured values are sent to all machines.
        encoder: As in `load_encoder`, with the same name on every machine; None uses that of the index, or builds a
            dictionary for a new one.
        k: Features kept per document; None uses the encoder's default.
        actors: Number of actors, each with one CPU.
        gpus_per_actor: GPUs per actor: 0.5 lets two actors share a GPU, 0 encodes on the CPU.
        dead_letters: File of the driver to which failed records are appended.
        idf: As in `load_encoder`.
        new: Properties of a new index.
        generate_ids: Give a record without `_id` the SHA-256 of its content.
        layout: Names of keys and columns, separator and encoding.
        batch_size: Texts per forward pass.
        batch_rows: Rows of a dataset per batch.
        chunk_size: Maximum documents per request.
        max_in_flight: Concurrent requests per actor.
    """

    index: str
    connect: Callable[[], OpenSearch] = field(repr=False)
    encoder: str | None = None
    k: int | None = None
    actors: int = 1
    gpus_per_actor: float = 0.0
    dead_letters: str | Path | None = None
    idf: bool = False
    new: NewIndex = DEFAULT_INDEX
    generate_ids: bool = False
    layout: Layout = field(default_factory=Layout)
    batch_size: int = 32
    batch_rows: int = 4096
    chunk_size: int = 1_000
    max_in_flight: int = 2

    def ingest_corpus(
        self, path: str | Path, *, format: Format | None = None, progress: Progress | None = None
    ) -> IngestResult:
        """Ingest files that are available under the same path on every machine.

        Args:
            path: A file, a BEIR folder, or a folder with any number of corpus files.
            format: Overrides the file suffixes.
            progress: Called with the number of processed records.

        Raises:
            ConnectorError: Ray is not installed.
            CorpusError: The corpus cannot be read.
            ClusterError, EncoderError, IndexMappingError, BulkWriteError: As in `ingest_dataset`.
        """
        ray = import_ray()
        # Workers run in another folder.
        path = path if str(path) == STANDARD_INPUT else Path(path).absolute()
        parts = list(split_corpus(path, format, layout=self.layout))
        _log.info("%s is read in %d parts by %d actors.", path, len(parts), self.actors)
        # One task per part: a task is repeated when its actor dies.
        dataset = ray.data.from_items([part._asdict() for part in parts], override_num_blocks=max(1, len(parts)))

        def records(mapper: RecordMapper) -> Iterator[CorpusRecord]:
            for part in parts:
                yield from read_part(part, mapper)

        return self._ingest(dataset, read_parts, records, rows=1, progress=progress)

    def ingest_dataset(self, dataset: Dataset, *, progress: Progress | None = None) -> IngestResult:
        """Ingest a Ray dataset; its rows are read like Parquet rows.

        Args:
            dataset: Columns: `text`, `_id` or `id` unless ids are generated, and optionally `title`, `metadata` and
                `_version`; other columns become metadata.
            progress: Called with the number of processed records.

        Raises:
            ClusterError: The server is unreachable, or an actor reaches another server than the driver.
            CorpusError: The dataset lacks a column.
            EncoderError: The encoder cannot be loaded, or another encoder wrote the index.
            IndexMappingError: The index exists with another mapping.
            BulkWriteError: A write failed, or Ray gave up. Accepted documents stay indexed; repeating is safe.
            ValueError: The actors leave no CPU for reading.
        """
        cpus = import_ray().cluster_resources().get("CPU", 0.0)
        if self.actors > cpus - 1:
            raise ValueError(
                f"{self.actors} actors leave none of Ray's {cpus:.0f} CPUs for reading, so the job would wait "
                "forever; use fewer actors, or start more machines first."
            )

        def records(mapper: RecordMapper) -> Iterator[CorpusRecord]:
            for table in dataset.limit(MAX_SAMPLED).iter_batches(batch_format="pyarrow", batch_size=None):
                yield from read_rows(table, mapper)

        return self._ingest(dataset, read_rows, records, rows=self.batch_rows, progress=progress)

    def _ingest(
        self, dataset: Dataset, read: Read, records: Records, *, rows: int, progress: Progress | None
    ) -> IngestResult:
        ray = import_ray()
        started = time.monotonic()
        client = self.connect()
        self._prepare(client, records)
        outcomes = dataset.map_batches(
            Worker,
            fn_constructor_args=(self, read_uuid(client, self.index), read),
            batch_size=rows,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(size=self.actors),
            num_gpus=self.gpus_per_actor or None,
        )
        outcomes.context.raise_original_map_exception = True
        try:
            letters = None if self.dead_letters is None else Path(self.dead_letters)
            result = _add_up(outcomes.iter_rows(), letters, started, progress)
        except ray.exceptions.RayError as error:
            raise _cause_of(error) from error
        BulkWriter(client, self.index).refresh()
        return result

    def _prepare(self, client: OpenSearch, records: Records) -> None:
        """Create the index unless it exists, calibrated on the first documents."""
        checker = RecordChecker(self.new.fields, generate_ids=self.generate_ids, refuse_repeated=False)
        beginning = Sampled(records(RecordMapper(checker, self.layout)))

        def sample(most: int = MAX_SAMPLED) -> list[str]:
            texts = beginning.sample(min(most, _MAX_EMBEDDED))
            if not texts:
                raise CorpusError(f"The first records contain no documents; {self.index} was not created.")
            return texts

        schema = read_schema(client, self.index)
        fixed = self.encoder is not None or self.k is not None or self.idf or not self.new.calibrate
        builds = schema is None and (not fixed if self.new.dictionary is None else self.new.dictionary)
        if schema is not None:
            loaded = load_index_encoder(client, schema, self.encoder)
        else:
            loaded = load_encoder(self.encoder or DEFAULT_ENCODER, k=self.k, idf=self.idf)
        builds = builds or (schema is None and loaded.needs_dictionary)
        prepare_encoder(
            client,
            self.index,
            loaded,
            sample=sample,
            dictionary=OwnDictionary(sample, documents=_MAX_EMBEDDED) if builds else None,
            new=self.new,
        )


def import_ray() -> Any:  # noqa: ANN401
    """Import Ray and Ray Data.

    Raises:
        ConnectorError: Ray is not installed.
    """
    try:
        import ray
        import ray.data
        import ray.exceptions
    except ImportError as error:
        raise ConnectorError(f"Ray cannot be imported ({error}); pip install 'ksparse[ray]'.") from error
    return ray


def _add_up(
    outcomes: Iterable[Mapping[str, Any]], dead_letters: Path | None, started: float, progress: Progress | None
) -> IngestResult:
    """Sum the counts of the workers and append their dead letters."""
    totals = dict.fromkeys(COUNTS, 0)
    reasons: list[str] = []
    for outcome in outcomes:
        for name in COUNTS:
            totals[name] += int(outcome[name])
        reasons += json.loads(outcome["reasons"])
        if dead_letters is not None and outcome["letters"]:
            file = LetterFile(dead_letters)
            file.append(outcome["letters"].encode())
            file.sync()
        _log.debug("Batch finished: %s.", {name: int(outcome[name]) for name in COUNTS})
        if progress is not None:
            progress(totals["read"])
    return IngestResult(
        **totals,
        reasons=tuple(reasons[:REASONS_KEPT]),
        dead_letters=dead_letters if totals["dead_lettered"] else None,
        elapsed_s=time.monotonic() - started,
        superseded_ids=(),
    )


def _cause_of(error: Exception) -> ConnectorError:
    """The ConnectorError that ended a worker, or Ray's error."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, ConnectorError):
        return cause
    last = (str(error).strip() or type(error).__name__).splitlines()[-1]
    return BulkWriteError(
        f"Ray gave up ({type(error).__name__}: {last}). Accepted documents stay indexed; rerun: no document is "
        "duplicated."
    )
