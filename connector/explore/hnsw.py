"""A copy of an index with dense embeddings in a Lucene HNSW graph, for comparison."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray
from opensearchpy import OpenSearch
from opensearchpy.exceptions import NotFoundError, RequestError
from opensearchpy.helpers import BulkIndexError, bulk

from connector.connection.client import explained, reason_of
from connector.encoders.text import TextEncoder
from connector.errors import BulkWriteError, IndexMappingError, SearchError
from connector.index.aliases import read_alias
from connector.index.derived import derived_in, with_derived
from connector.index.names import check_index_name
from connector.index.schema import IndexSchema, load_mapping, read_uuid
from connector.index.searcher import Searcher
from connector.index.sizes import count_matching
from connector.ingest.preparation import to_source
from connector.query.body import FEATURES_FIELD
from connector.query.clauses import every
from connector.query.rescore import CODE_FIELD
from connector.query.terms import TERMS_FIELD
from connector.search.reencode import copied_settings, read_index
from connector.types import Hit

_META = "ksparse_hnsw"
_FIELD = "hnsw_embedding"
_BLOCK = 256
_NO_ALIAS = "{}"


class HnswIndex:
    """The HNSW copy of an index, named `<index>-hnsw`.

    Once complete, its `_meta` records source and encoder, so an interrupted build is not mistaken for a complete one.

    Args:
        client: A connected client.
        schema: Schema of the index.
        encoder: Its encoder: a dense model with a head.
    """

    def __init__(self, client: OpenSearch, schema: IndexSchema, encoder: TextEncoder) -> None:
        self.name = f"{schema.index}-hnsw"
        self._client = client
        self._schema = schema
        self._encoder = encoder
        self._searcher = Searcher(client, self.name, weight_exponent=0)

    def stale_reason(self) -> str:
        """Return the reason why it must be built; empty if it is complete.

        Changed documents are only noticed if their number differs.

        Raises:
            ClusterError: The server is unreachable or denies access.
            IndexMappingError: An index of this name was not created by ksparse.
        """
        try:
            with explained(self._client):
                mappings = self._client.indices.get_mapping(index=self.name).get(self.name, {}).get("mappings", {})
        except NotFoundError:
            return "it does not exist yet"
        meta = mappings.get("_meta", {}).get(_META)
        if meta is None:
            raise IndexMappingError(
                f"{self.name!r} was not created by `ksparse explore --hnsw`. Delete it, or leave --hnsw out."
            )
        source = self._schema.index
        if "documents" not in meta:
            return "its last build was interrupted"
        if meta["encoder"] != self._schema.encoder.digest:
            return f"{source} has another encoder now"
        if meta["source"] != read_uuid(self._client, source):
            return f"{source} was recreated"
        if meta.get("alias", _NO_ALIAS) != self._alias():
            return f"the alias {source} was changed"
        held, there = meta["documents"], count_matching(self._client, source)
        return "" if held == there else f"it holds {held:,} documents, {source} {there:,}"

    def build(self, progress: Callable[[int], None]) -> None:
        """Rebuild it: read, embed and write all documents of the index.

        Args:
            progress: Called with the number of embedded documents.

        Raises:
            BulkWriteError: A document was refused.
            ClusterError: The server is unreachable or denies access.
            IndexMappingError: The server rejects the index, e.g. without the k-NN plugin.
        """
        check_index_name(self.name, new=True)
        made = {
            "encoder": self._schema.encoder.digest,
            "source": read_uuid(self._client, self._schema.index),
            "alias": self._alias(),
        }
        with explained(self._client):
            self._client.indices.delete(index=self.name, ignore_unavailable=True)
            try:
                self._client.indices.create(index=self.name, body=self._body(made))
            except RequestError as error:
                raise IndexMappingError(
                    f"The server rejects the HNSW index ({reason_of(error)}). It needs the k-NN plugin; leave --hnsw "
                    "out."
                ) from error
            try:
                written, _ = bulk(self._client, self._actions(progress))
            except BulkIndexError as error:
                raise BulkWriteError(f"{self.name} refuses documents: {error.args[0]}. Leave --hnsw out.") from error
            self._client.indices.refresh(index=self.name)
            complete = {"_meta": {_META: made | {"documents": written}}}
            self._client.indices.put_mapping(index=self.name, body=complete)

    def search(
        self, embedding: NDArray[np.float32], *, top_k: int = 10, filters: Sequence[Mapping[str, Any]] = ()
    ) -> list[Hit]:
        """Return the nearest documents by HNSW.

        Args:
            embedding: float32 (dim,), embedding of the query.
            top_k: Number of hits, also per shard.
            filters: Query clauses that a document must match.

        Raises:
            ClusterError: The server is unreachable or denies access.
            SearchError: The index does not exist, or the server rejects the query.
        """
        knn: dict[str, Any] = {"vector": embedding.tolist(), "k": top_k}
        if filters:
            knn["filter"] = every(filters)
        try:
            return self._searcher.scan({"knn": {_FIELD: knn}}, top_k=top_k)
        except SearchError as error:
            if isinstance(error.__cause__, NotFoundError):
                raise SearchError(f"{self.name} no longer exists; start again with --hnsw.") from error
            raise

    def _alias(self) -> str:
        """The definition of the alias, whose filter decides what is copied; that of an index is empty."""
        return json.dumps(read_alias(self._client, self._schema.index), sort_keys=True)

    def _body(self, made: Mapping[str, str]) -> dict[str, Any]:
        """The benchmarks' graph plus the fields of the index, so that hits and filters work alike."""
        body = load_mapping("lucene_hnsw")
        fields = self._properties()
        for own in (FEATURES_FIELD, CODE_FIELD):
            fields.pop(own, None)
        [dim] = self._encoder.embed([""]).shape[1:]
        embedding = body["mappings"]["properties"]["embedding"] | {"dimension": dim}
        body["mappings"] |= {"properties": fields | {_FIELD: embedding}, "_meta": {_META: made}}
        body["settings"]["index"] |= copied_settings(self._client, self._schema.names[0])
        # As with features: without this, vectors would be lost when a shard recovers.
        body["mappings"]["_source"] = {"excludes": [_FIELD, *({TERMS_FIELD} & derived_in(fields))]}
        return body

    def _properties(self) -> dict[str, Any]:
        first = self._schema.names[0]
        return dict(self._client.indices.get_mapping(index=first)[first]["mappings"]["properties"])

    def _actions(self, progress: Callable[[int], None]) -> Iterator[dict[str, Any]]:
        documents, done = read_index(self._client, self._schema.index), 0
        derived = derived_in(self._properties())
        while block := list(islice(documents, _BLOCK)):
            embeddings = self._encoder.embed([document.content for document in block])
            for document, embedding in zip(block, embeddings, strict=True):
                source = with_derived(to_source(document), derived) | {_FIELD: embedding.tolist()}
                yield {"_index": self.name, "_id": document.doc_id, "_source": source}
            done += len(block)
            progress(done)
