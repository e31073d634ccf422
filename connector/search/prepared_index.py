"""An index by name: connection, encoder, schema, and its creation."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from threading import RLock
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from opensearchpy import OpenSearch

from connector.arguments import rename
from connector.connection.access import CREDENTIALS, access_from_environment, url_from_environment
from connector.connection.client import connect
from connector.encoders.base import Encoder
from connector.encoders.folders import DEFAULT_ENCODER
from connector.errors import IndexMappingError
from connector.index.names import check_index_name
from connector.index.new_index import DEFAULT_INDEX, NewIndex
from connector.index.schema import IndexSchema, existing_schema, read_schema
from connector.index.writer import BulkWriter
from connector.ingest.index_encoder import encoder_of, fitting_encoder, load_index_encoder, load_new_encoder
from connector.ingest.pipeline import IngestJob
from connector.ingest.prepare import prepare_encoder
from connector.query.filters import Filters, filter_clauses

if TYPE_CHECKING:
    from connector.encoders.text import TextEncoder
    from connector.ingest.own_dictionary import Sample


class PreparedIndex:
    """One index and its encoder; `WritableIndex` adds writing, `SparseIndex` searching."""

    def __init__(
        self,
        index: str,
        *,
        encoder: TextEncoder | str | os.PathLike[str] | None = None,
        client: OpenSearch | None = None,
        url: str | Sequence[str] | None = None,
        new: NewIndex = DEFAULT_INDEX,
        **connection: Any,
    ) -> None:
        given = {} if url is None else {"url": url}
        connection = rename(given | connection, type(self).__name__, {"opensearch_url": "url"})
        if client is not None and connection:
            raise ValueError(f"a client is already connected; leave out {', '.join(sorted(connection))}.")
        check_index_name(index)
        if isinstance(encoder, os.PathLike):
            encoder = os.fspath(encoder)
        if encoder is not None and not isinstance(encoder, str) and not hasattr(type(encoder), "fingerprint"):
            raise ValueError(
                f"an encoder must be a TextEncoder, a name or a folder, got {type(encoder).__name__}; put a "
                "SparseEncoder into a TextEncoder, and give a dense model by its name."
            )
        self.index = index
        self.new = new
        self._owns_client = client is None
        self.client = _connect(connection) if client is None else client
        self._encoder = encoder
        self._preparing = RLock()
        self._prepared: tuple[str, TextEncoder] | None = None
        self._fitted: tuple[str, TextEncoder] | None = None
        self._encoding: Encoder | None = None

    @property
    def schema(self) -> IndexSchema | None:
        """The schema of the index; None if the index does not exist."""
        return read_schema(self.client, self.index)

    def exists(self) -> bool:
        """Whether the index exists."""
        return read_schema(self.client, self.index) is not None

    @property
    def encoder(self) -> TextEncoder:
        """The given encoder, else the one that wrote the index, else the shipped one.

        Loaded on first use, and again if the index was created or replaced since.

        Raises:
            EncoderMismatchError: Another encoder than the named one wrote the index.
        """
        if self._encoder is not None and not isinstance(self._encoder, str):
            return self._encoder
        return self._fitting(read_schema(self.client, self.index))

    def prepare(
        self,
        sample: Sample | Sequence[str] = (),
        *,
        documents: int | None = None,
        progress: Callable[[str, float], None] | None = None,
        new: NewIndex | None = None,
    ) -> TextEncoder:
        """Create the index unless it exists and return the calibrated encoder. `add` calls this itself.

        Args:
            sample: Texts of the first documents, or a function that returns a requested number of them.
            documents: Expected number of documents, which sets the size of a dictionary; None if unknown.
            progress: Called with a step of building the dictionary and its completed fraction.
            new: Properties of the index if this call creates it; None for those given to the constructor.

        Raises:
            ConnectorError, ValueError: As for `prepare_encoder`.
        """
        with self._preparing:  # of several threads, one builds the dictionary
            return self._prepare(sample, documents, progress, self.new if new is None else new)

    def _prepare(
        self,
        sample: Sample | Sequence[str],
        documents: int | None,
        progress: Callable[[str, float], None] | None,
        new: NewIndex,
    ) -> TextEncoder:
        schema = read_schema(self.client, self.index)
        if self._prepared is not None and schema is not None and schema.space == self._prepared[0]:
            return self._prepared[1]
        builds = new.dictionary
        if builds is None:
            builds = self._encoder is None or (schema is None and self.encoder.needs_dictionary)
        own = None
        if builds:
            from connector.ingest.own_dictionary import OwnDictionary

            own = OwnDictionary(sample, documents=documents, progress=progress)
        encoder = prepare_encoder(self.client, self.index, self.encoder, sample=sample, dictionary=own, new=new)
        self._encoding = encoder if own is None else own.reuse(encoder)
        self._prepared = self._fitted = existing_schema(self.client, self.index).space, encoder
        return encoder

    def job(
        self,
        *,
        encoder: Encoder | None = None,
        writer: BulkWriter | None = None,
        **options: Any,  # noqa: ANN401
    ) -> IngestJob:
        """Create an ingestion job, for what `add` does not offer: dead letters, checkpoints, precomputed vectors.

        Args:
            encoder: Encoder to use instead of that of `prepare`, e.g. one on several devices.
            writer: Writer to use instead of a default one, e.g. with other request sizes.
            **options: As for `IngestJob`.

        Raises:
            IndexMappingError: The index does not exist; `prepare` creates it, calibrated by a sample of documents.
            ConnectorError: As for `prepare`, which need not be called if the index exists.
        """
        if self._prepared is None:
            if not self.exists():
                raise IndexMappingError(
                    f"There is no index {self.index!r}; call prepare() with the texts of its first documents before."
                )
            self.prepare()
        # The embeddings of the dictionary's sample are reused by one job and then released.
        encoding, self._encoding = self._encoding, self._prepared[1] if self._prepared else None
        return IngestJob(writer or BulkWriter(self.client, self.index), encoder or encoding, **options)

    def close(self) -> None:
        """Close the client, unless it was passed in."""
        if self._owns_client:
            self.client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        raise TypeError(f"a {type(self).__name__} holds a connection and cannot be copied or pickled; create another.")

    def _fitting(self, schema: IndexSchema | None) -> TextEncoder:
        """The encoder that the index needs, kept until the index is created or replaced; None is a missing index."""
        space = "" if schema is None else schema.space
        if self._fitted is None or self._fitted[0] != space:
            self._fitted = space, self._fit(schema)
        return self._fitted[1]

    def _fit(self, schema: IndexSchema | None) -> TextEncoder:
        given = self._encoder
        if given is None or isinstance(given, str):
            given = load_new_encoder(given or DEFAULT_ENCODER) if schema is None else self._load(schema, given)
        return given if schema is None else encoder_of(schema, fitting_encoder(self.client, schema, given))

    def _load(self, schema: IndexSchema, name: str | None = None) -> TextEncoder:
        return load_index_encoder(self.client, schema, name)

    def _fields(self) -> Mapping[str, str]:
        """Types of the top-level fields that the index declares or will declare."""
        schema = self.schema
        return self.new.types if schema is None else schema.fields

    def _clauses(self, filters: Filters) -> list[dict[str, Any]]:
        return filter_clauses(filters, fields=self._filterable() if filters else ())

    def _filterable(self) -> Mapping[str, str]:
        """Types of the fields that filters can name beside metadata, by path."""
        schema = self.schema
        return self.new.fields if schema is None else schema.filterable


def _connect(connection: dict[str, Any]) -> OpenSearch:
    """Connect to the given URL, else to OPENSEARCH_URL as the environment says, else to http://localhost:9200."""
    url = connection.pop("url", None)
    found = url_from_environment() if url is None else None
    if found is not None and not connection.keys() & CREDENTIALS:
        connection = asdict(access_from_environment()) | connection
    return connect(url or found or "http://localhost:9200", **connection)
