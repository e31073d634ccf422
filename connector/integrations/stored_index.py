"""The index behind a framework's store, which may not exist yet."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Self, TypeVar

from opensearchpy import OpenSearch
from opensearchpy.exceptions import NotFoundError, OpenSearchException, RequestError, TransportError

from connector.arguments import refuse_unknown, rename
from connector.connection.client import explained, reason_of
from connector.connection.factory import connection_options
from connector.connection.transport import PatientConnection
from connector.encoders.text import TextEncoder
from connector.errors import BulkWriteError, BusyError, ClusterError, IndexMappingError, SearchError
from connector.index.names import no_index
from connector.index.new_index import DEFAULT_INDEX, NewIndex
from connector.index.schema import IndexSchema
from connector.integrations.filters import Metadata, TypedMetadata, WordsMetadata
from connector.query.terms import META_FIELD, TERMS_FIELD, Naive
from connector.search.retriever import Retriever
from connector.search.sparse_index import SparseIndex

T = TypeVar("T")


class QueryRefusedError(SearchError, ValueError):
    """The server rejected a query or filter."""


class StoredIndex:
    """A `SparseIndex` whose missing index is an empty store, and whose errors are ksparse's.

    `index`, `encoder`, `client` and `url` are as in `SparseIndex`.

    Args:
        new: Properties of a new index.
        mappings: Additional `properties` of the framework for a new index.
        sample: Texts for the calibration of a new index; None uses the first documents.
        refresh: Make writes visible to searches immediately, if the server supports it.
        **connection: Passed to `connect`.

    Raises:
        ValueError: Both a client and connection arguments are given.
        TypeError: An option is unknown.
        IndexMappingError: The index name is invalid.
    """

    def __init__(
        self,
        index: str,
        *,
        encoder: TextEncoder | str | os.PathLike[str] | None = None,
        client: OpenSearch | None = None,
        url: str | Sequence[str] | None = None,
        new: NewIndex = DEFAULT_INDEX,
        mappings: Mapping[str, Any] | None = None,
        sample: Sequence[str] = (),
        refresh: bool = True,
        **connection: Any,
    ) -> None:
        properties = dict(new.mappings.get("properties", {})) | dict((mappings or {}).get("properties", {}))
        new = replace(new, mappings={**new.mappings, "properties": properties} if properties else new.mappings)
        self._declared = {name: kind for name, kind in new.types.items() if name != TERMS_FIELD}
        self._index = SparseIndex(index, encoder=encoder, client=client, url=url, new=new, **connection)
        self.index = index
        self.client = self._index.client
        self._sample = sample
        self._refresh = refresh

    @classmethod
    def of(cls, owner: str, index: str | None, options: Mapping[str, Any], **fixed: Any) -> Self:
        """Create a store from the options of a framework's class, which may use other libraries' names.

        Args:
            owner: Name of the class in errors.
            index: Name of the index; None if the options contain it.
            options: The given options.
            **fixed: Arguments set by the class.

        Raises:
            ValueError, TypeError, IndexMappingError: As in the class.
        """
        given = rename(({} if index is None else {"index": index}) | dict(options), owner)
        known = set(inspect.signature(cls).parameters) - {"connection", "mappings", *fixed}
        refuse_unknown(given, known | connection_options(given.get("connection_class", PatientConnection)), owner)
        if "index" not in given:
            raise TypeError(f"{owner} needs an index name.")
        return cls(**given, **fixed)

    def exists(self) -> bool:
        """Whether the index exists, or did when a search last read its schema."""
        return self.schema is not None

    @property
    def schema(self) -> IndexSchema | None:
        """The schema of the index; None if the index does not exist."""
        return self._index.schema

    @property
    def fields(self) -> Mapping[str, str]:
        """Types of the top-level fields that the index declares, or will declare."""
        schema = self.schema
        return self._declared if schema is None else schema.fields

    @property
    def filterable(self) -> Mapping[str, str]:
        """Types of what filters can name beside metadata, by path."""
        schema = self.schema
        return self._declared if schema is None else schema.filterable

    def metadata(self, naive: Naive = "utc") -> Metadata:
        """How filters find metadata in the index: typed, as in new indices of this store, or as `ksparse ingest` does.

        Args:
            naive: As in `TypedMetadata`.

        Raises:
            IndexMappingError: The typed metadata has the format of an earlier version.
        """
        schema = self.schema
        if META_FIELD in self._declared and (schema is None or TERMS_FIELD in schema.fields):
            return TypedMetadata(naive)
        fields = {} if schema is None else schema.filterable
        if META_FIELD in fields and TERMS_FIELD not in fields:
            raise IndexMappingError(
                f"Index {self.index!r} has metadata in the format of an earlier version of ksparse, which this "
                "version cannot filter; write the documents into a new index."
            )
        return WordsMetadata(fields)

    @property
    def retriever(self) -> Retriever | None:
        """The retriever; None if the index does not exist."""
        return self._index.retriever if self.exists() else None

    def _ask(self, request: Callable[[], T], otherwise: T) -> T:
        """The result of a request; `otherwise` if the index does not exist, or was deleted since a search read it."""
        if not self.exists():
            return otherwise
        try:
            with store_errors(self.client, self.index):
                return request()
        except (IndexMappingError, SearchError, BulkWriteError):
            if self._index.exists():
                raise
            return otherwise


@contextmanager
def store_errors(client: OpenSearch, index: str) -> Iterator[None]:
    """Translate errors of opensearch-py."""
    try:
        with explained(client):
            yield
    except NotFoundError as error:
        raise IndexMappingError(no_index(index)) from error
    except RequestError as error:
        raise QueryRefusedError(f"Index {index!r} rejects this: {reason_of(error)}") from error
    except TransportError as error:
        raise ClusterError(f"Index {index!r} failed ({error.status_code}): {reason_of(error)}.") from error
    except OpenSearchException as error:
        raise ClusterError(f"Index {index!r} failed: {error}.") from error
    except BusyError:
        raise
    except SearchError as error:
        raise QueryRefusedError(str(error)) from error
