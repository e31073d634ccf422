"""A document store, embedders and a retriever for Haystack: `pip install 'ksparse[haystack]'`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

try:
    import haystack  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(f"{error}; pip install 'ksparse[haystack]'", name=error.name) from error

import numpy as np
from haystack import Document, component, default_from_dict, default_to_dict
from haystack.dataclasses import ByteStream, SparseEmbedding
from haystack.document_stores.errors import DuplicateDocumentError
from haystack.document_stores.types import DuplicatePolicy, FilterPolicy
from haystack.document_stores.types.filter_policy import apply_filter_policy
from haystack.utils import Secret, deserialize_secrets_inplace
from opensearchpy import OpenSearch

from connector.encoders.load import DEFAULT_ENCODER, load_encoder
from connector.encoders.text import TextEncoder
from connector.integrations.filters import META_FIELD, typed_mappings
from connector.integrations.haystack_filters import to_clause
from connector.integrations.store import IndexStore
from connector.types import Document as OurDocument
from connector.types import SparseVectors
from connector.vectors.codes import Bits

_REST_FIELD = "haystack"
"""What the index need not look into: a document's blob and dense embedding."""


class KSparseDocumentStore:
    """Documents in an index of sparse features.

    Written documents are encoded by the store, or keep the `sparse_embedding` that a `KSparseDocumentEmbedder` gave
    them; those that are read carry none, since features are kept in the postings alone.

    Args:
        index: Its name; made by the first documents if it is not there.
        encoder: Name or folder for `load_encoder`.
        url: Of the server.
        username: For basic authentication.
        password: The same.
        rescore: Of a new index: bits a dimension of a code that puts the first hits into the dense order.
        settings: Of a new index, e.g. `{"number_of_shards": 1}`.
        refresh: Make what is written visible at once.
        client: A ready client instead; it is not serialized.
    """

    def __init__(
        self,
        *,
        index: str = "haystack",
        encoder: str = DEFAULT_ENCODER,
        url: str = "http://localhost:9200",
        username: Secret | None = Secret.from_env_var("OPENSEARCH_USERNAME", strict=False),  # noqa: B008
        password: Secret | None = Secret.from_env_var("OPENSEARCH_PASSWORD", strict=False),  # noqa: B008
        rescore: Bits | None = None,
        settings: dict[str, Any] | None = None,
        refresh: bool = True,
        client: OpenSearch | None = None,
    ) -> None:
        self._params: dict[str, Any] = {
            "index": index,
            "encoder": encoder,
            "url": url,
            "username": username,
            "password": password,
            "rescore": rescore,
            "settings": settings,
            "refresh": refresh,
        }
        credentials: dict[str, Any] = {
            name: secret.resolve_value() if secret is not None else None
            for name, secret in (("username", username), ("password", password))
        }
        self.store = IndexStore(
            index,
            encoder=encoder,
            client=client,
            url=url,
            rescore=rescore,
            settings=settings,
            mappings=typed_mappings(_REST_FIELD),
            refresh=refresh,
            **(credentials if client is None else {}),
        )

    def to_dict(self) -> dict[str, Any]:
        """Serialize; secrets are named, not written."""
        secrets = {
            name: secret.to_dict() if (secret := self._params[name]) is not None else None
            for name in ("username", "password")
        }
        return default_to_dict(self, **(self._params | secrets))

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> KSparseDocumentStore:
        """Make a store of what `to_dict` returned."""
        deserialize_secrets_inplace(data["init_parameters"], keys=["username", "password"])
        return default_from_dict(cls, data)

    def count_documents(self) -> int:
        """Return how many documents there are."""
        if not self.store.exists():
            return 0
        return int(self.store.client.count(index=self.store.index)["count"])

    def filter_documents(self, filters: dict[str, Any] | None = None) -> list[Document]:
        """Return all documents that match Haystack's filters, in no order.

        Raises:
            FilterError: They are not what Haystack takes.
        """
        clauses = [to_clause(filters)] if filters else []
        return [_to_haystack(doc_id, source) for doc_id, source in self.store.matching(clauses)]

    def write_documents(self, documents: list[Document], policy: DuplicatePolicy = DuplicatePolicy.NONE) -> int:
        """Write documents with a text; return how many.

        Args:
            documents: To write.
            policy: What becomes of those whose ids are there already; `NONE` is `FAIL`.

        Raises:
            ValueError: One is no document, or some have a sparse embedding and others have none.
            DuplicateDocumentError: By policy; nothing is written.
            BulkWriteError: Some were refused, for instance one without a text. The others are written.
        """
        if not isinstance(documents, list) or not all(isinstance(document, Document) for document in documents):
            raise ValueError("write_documents takes a list of Haystack's Documents.")
        if policy != DuplicatePolicy.OVERWRITE:
            documents = self._without_duplicates(documents, skip=policy == DuplicatePolicy.SKIP)
        sparse = [document.sparse_embedding for document in documents if document.sparse_embedding is not None]
        if sparse and len(sparse) != len(documents):
            raise ValueError(
                f"{len(sparse)} of {len(documents)} documents have a sparse embedding; embed all of them, or none."
            )
        self.store.write([_from_haystack(document) for document in documents], _vectors(sparse) if sparse else None)
        return len(documents)

    def delete_documents(self, document_ids: list[str]) -> None:
        """Delete documents; one that is not there is no error."""
        self.store.delete(document_ids)

    def delete_all_documents(self) -> None:
        """Delete every document, and keep the index."""
        self.store.delete_all()

    def _without_duplicates(self, documents: Sequence[Document], *, skip: bool) -> list[Document]:
        known = set(self.store.get([document.id for document in documents]))
        fresh: list[Document] = []
        for document in documents:
            if document.id not in known:
                known.add(document.id)
                fresh.append(document)
            elif not skip:
                raise DuplicateDocumentError(
                    f"document {document.id!r} is in index {self.store.index!r} already, or twice among those given; "
                    "choose DuplicatePolicy.OVERWRITE or SKIP."
                )
        return fresh


@component
class KSparseRetriever:
    """Finds the documents of a `KSparseDocumentStore` that are nearest to a query.

    Args:
        document_store: To search.
        filters: Haystack's.
        top_k: Documents asked for.
        filter_policy: What becomes of `filters` where `run` is given others.
        hybrid: Fuse the ranking with BM25's.
    """

    def __init__(
        self,
        *,
        document_store: KSparseDocumentStore,
        filters: dict[str, Any] | None = None,
        top_k: int = 10,
        filter_policy: str | FilterPolicy = FilterPolicy.REPLACE,
        hybrid: bool = False,
    ) -> None:
        if not isinstance(document_store, KSparseDocumentStore):
            raise ValueError("document_store must be a KSparseDocumentStore.")
        self.document_store = document_store
        self.filters = filters or {}
        self.top_k = top_k
        self.filter_policy = (
            filter_policy if isinstance(filter_policy, FilterPolicy) else FilterPolicy.from_str(filter_policy)
        )
        self.hybrid = hybrid

    def to_dict(self) -> dict[str, Any]:
        """Serialize, the store included."""
        return default_to_dict(
            self,
            document_store=self.document_store.to_dict(),
            filters=self.filters,
            top_k=self.top_k,
            filter_policy=self.filter_policy.value,
            hybrid=self.hybrid,
        )

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> KSparseRetriever:
        """Make a retriever of what `to_dict` returned."""
        params = data["init_parameters"]
        params["document_store"] = KSparseDocumentStore.from_dict(params["document_store"])
        return default_from_dict(cls, data)

    @component.output_types(documents=list[Document])
    def run(self, query: str, filters: dict[str, Any] | None = None, top_k: int | None = None) -> dict[str, Any]:
        """Return the nearest documents, with scores, under `documents`.

        Raises:
            FilterError: The filters are not what Haystack takes.
            SearchError: The query is empty or too long, or the server refuses it.
        """
        merged = apply_filter_policy(self.filter_policy, self.filters, filters)
        clauses = [to_clause(merged)] if merged else []
        retriever = self.document_store.store.retriever
        if retriever is None:
            return {"documents": []}
        search = retriever.search_hybrid if self.hybrid else retriever.search
        hits = search(query, top_k=top_k or self.top_k, filters=clauses)
        return {"documents": [replace(_to_haystack(hit.doc_id, hit.source), score=hit.score) for hit in hits]}


@component
class KSparseDocumentEmbedder:
    """Gives documents the sparse embedding of an encoder, for example on a machine with a GPU.

    The store would encode them as well; but it measures the statistics of a new index on the first documents it gets,
    and an embedder has none to go by. So give it the `sample` that they are to be measured on.

    Args:
        encoder: Name or folder for `load_encoder`.
        sample: Texts that the statistics are measured on.
        batch_size: Texts per forward pass.
    """

    def __init__(
        self, *, encoder: str = DEFAULT_ENCODER, sample: list[str] | None = None, batch_size: int = 32
    ) -> None:
        self.encoder = encoder
        self.sample = sample
        self.batch_size = batch_size
        self._loaded: TextEncoder | None = None

    def warm_up(self) -> None:
        """Load the encoder."""
        if self._loaded is None:
            loaded = load_encoder(self.encoder)
            self._loaded = loaded.calibrate(self.sample) if self.sample else loaded

    def to_dict(self) -> dict[str, Any]:
        """Serialize."""
        return default_to_dict(self, encoder=self.encoder, sample=self.sample, batch_size=self.batch_size)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> KSparseDocumentEmbedder:
        """Make an embedder of what `to_dict` returned."""
        return default_from_dict(cls, data)

    @component.output_types(documents=list[Document])
    def run(self, documents: list[Document]) -> dict[str, Any]:
        """Return copies of the documents with a `sparse_embedding` each, under `documents`."""
        self.warm_up()
        assert self._loaded is not None
        vectors = self._loaded.encode_document(
            [_from_haystack(document).content for document in documents], batch_size=self.batch_size
        )
        embedded = [
            replace(document, sparse_embedding=_sparse(features, weights))
            for document, features, weights in zip(documents, vectors.features, vectors.weights, strict=True)
        ]
        return {"documents": embedded}


def _sparse(features: Any, weights: Any) -> SparseEmbedding:  # noqa: ANN401
    used = weights > 0
    return SparseEmbedding(indices=features[used].tolist(), values=weights[used].tolist())


def _vectors(sparse: Sequence[SparseEmbedding]) -> SparseVectors:
    width = max(1, *(len(each.indices) for each in sparse)) if sparse else 1
    vectors = SparseVectors(np.zeros((len(sparse), width), np.int32), np.zeros((len(sparse), width), np.float32))
    for row, each in enumerate(sparse):
        order = np.argsort(-np.asarray(each.values), kind="stable")
        vectors.features[row, : len(order)] = np.asarray(each.indices)[order]
        vectors.weights[row, : len(order)] = np.asarray(each.values)[order]
    return vectors


def _from_haystack(document: Document) -> OurDocument:
    fields: dict[str, Any] = {META_FIELD: document.meta} if document.meta else {}
    rest = {
        name: value
        for name, value in (
            ("blob", document.blob.to_dict() if document.blob is not None else None),
            ("embedding", document.embedding),
        )
        if value is not None
    }
    if rest:
        fields[_REST_FIELD] = rest
    return OurDocument(document.id, document.content or "", fields=fields)


def _to_haystack(doc_id: str, source: dict[str, Any] | Any) -> Document:  # noqa: ANN401
    rest = source.get(_REST_FIELD, {})
    return Document(
        id=doc_id,
        content=source.get("text"),
        meta=source.get(META_FIELD, {}),
        blob=ByteStream.from_dict(rest["blob"]) if "blob" in rest else None,
        embedding=rest.get("embedding"),
    )
