"""A document store, embedders and a retriever for Haystack: `pip install 'ksparse[haystack]'`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

try:
    import haystack  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(f"{error}; pip install 'ksparse[haystack]'", name=error.name) from error

import numpy as np
from haystack import Document, component, default_from_dict, default_to_dict
from haystack.dataclasses import ByteStream, SparseEmbedding
from haystack.document_stores.errors import DocumentStoreError, DuplicateDocumentError
from haystack.document_stores.types import DuplicatePolicy, FilterPolicy
from haystack.document_stores.types.filter_policy import apply_filter_policy
from haystack.errors import FilterError
from haystack.utils import Secret, deserialize_secrets_inplace
from opensearchpy import OpenSearch

from connector.arguments import rename
from connector.corpus.values import to_id
from connector.encoders.load import DEFAULT_ENCODER, load_encoder
from connector.encoders.text import TextEncoder
from connector.errors import ConnectorError
from connector.index.new_index import NewIndex
from connector.integrations.filters import TypedMetadata, WordsMetadata
from connector.integrations.haystack_filters import to_clause
from connector.integrations.store import IndexStore
from connector.query.terms import META_FIELD, typed_mappings
from connector.types import Document as OurDocument
from connector.types import SparseVectors
from connector.vectors.codes import CodeBits

_REST_FIELD = "haystack"
"""What the index need not look into: a document's blob and dense embedding."""

_SECRETS = ("username", "password", "api_key", "bearer_token")


_USERNAME = Secret.from_env_var("OPENSEARCH_USERNAME", strict=False)
_PASSWORD = Secret.from_env_var("OPENSEARCH_PASSWORD", strict=False)


class KSparseStoreError(DocumentStoreError, ConnectorError):
    """The server or its index cannot do what a document store or a retriever asks for."""


@contextmanager
def _haystack_errors() -> Iterator[None]:
    """Our errors, and through them the server's, become Haystack's."""
    try:
        yield
    except ConnectorError as error:
        raise KSparseStoreError(str(error)) from error


class KSparseDocumentStore:
    """Documents in an index of sparse features.

    Written documents are encoded by the store, or keep the `sparse_embedding` that a `KSparseDocumentEmbedder` gave
    them; those that are read carry none, since features are kept in the postings alone.

    Args:
        index: Its name; created by the first documents if it does not exist. `index_name` is the same.
        encoder: Name or folder for `load_encoder`; None as for `IndexStore`.
        url: Of the server; `hosts` and `opensearch_url` are the same. If None, OPENSEARCH_URL, or
            http://localhost:9200 without that.
        username: For basic authentication.
        password: The same.
        code_bits: As for `NewIndex`.
        settings: Index settings of a new index, e.g. `{"number_of_shards": 1}`.
        refresh: Make what is written visible at once.
        client: A ready client instead; it is not serialized.
        **options: As for `connector.connect`: `ca_certs`, `verify_certs`, `timeout_s`, ... `api_key` and `bearer_token`
            are Haystack's `Secret`s, and so are the two of `http_auth`, which stands for `username` and `password`.

    Raises:
        TypeError: An option is unknown, or what should be secret is no `Secret`.
        ValueError: There are both a client and what a connection is made of.
        KSparseStoreError: The index cannot have its name, or the address cannot be read.
    """

    def __init__(
        self,
        *,
        index: str | None = None,
        encoder: str | None = None,
        url: str | Sequence[str] | None = None,
        username: Secret | None = _USERNAME,
        password: Secret | None = _PASSWORD,
        code_bits: CodeBits = "auto",
        settings: dict[str, Any] | None = None,
        refresh: bool = True,
        client: OpenSearch | None = None,
        **options: Any,
    ) -> None:
        owner = type(self).__name__
        named = {name: value for name, value in (("index", index), ("url", url)) if value is not None}
        self._params: dict[str, Any] = {
            "index": "haystack",
            "encoder": encoder,
            "url": None,
            "username": username,
            "password": password,
            "code_bits": code_bits,
            "settings": settings,
            "refresh": refresh,
            **_with_credentials(rename(named | options, owner), owner),
        }
        with _haystack_errors():
            self.store = IndexStore.of(
                owner,
                None,
                _with_new_index(
                    _resolved(self._params) if client is None else _without_defaults(self._params) | {"client": client}
                ),
                mappings=typed_mappings(_REST_FIELD),
            )

    def to_dict(self) -> dict[str, Any]:
        """Serialize; secrets are named, not written."""
        return default_to_dict(
            self,
            **{name: value.to_dict() if isinstance(value, Secret) else value for name, value in self._params.items()},
        )

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> KSparseDocumentStore:
        """Make a store of what `to_dict` returned."""
        params = data["init_parameters"]
        deserialize_secrets_inplace(params, keys=[name for name in _SECRETS if isinstance(params.get(name), dict)])
        return default_from_dict(cls, data)

    def count_documents(self) -> int:
        """Return how many documents there are."""
        with _haystack_errors():
            return self.store.count()

    def filter_documents(self, filters: dict[str, Any] | None = None) -> list[Document]:
        """Return all documents that match Haystack's filters, in no order.

        Raises:
            FilterError: They are not what Haystack takes.
            KSparseStoreError: The server does not answer, or refuses them.
        """
        with _haystack_errors():
            return [_to_haystack(doc_id, source) for doc_id, source in self.store.matching(self.clauses(filters))]

    def write_documents(self, documents: list[Document], policy: DuplicatePolicy = DuplicatePolicy.NONE) -> int:
        """Write documents with a text; return how many.

        All are checked before any is written.

        Args:
            documents: To write.
            policy: What becomes of those whose ids are there already, or come twice: `OVERWRITE` writes the last,
                `SKIP` keeps the first; `NONE` is `FAIL`.

        Raises:
            ValueError: One is not a document, the policy is none, or some have a sparse embedding and others have none.
            DuplicateDocumentError: By policy; nothing is written.
            KSparseStoreError: Some cannot be indexed, for instance one without a text; the message says whether others
                are written.
        """
        if not isinstance(documents, list) or not all(isinstance(document, Document) for document in documents):
            raise ValueError("write_documents takes a list of Haystack's Documents.")
        if not isinstance(policy, DuplicatePolicy):
            raise ValueError(f"policy must be a DuplicatePolicy, got {policy!r}.")
        with _haystack_errors():
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
        with _haystack_errors():
            self.store.delete(document_ids)

    def delete_all_documents(self) -> None:
        """Delete every document, and keep the index."""
        with _haystack_errors():
            self.store.delete_all()

    def delete_by_filter(self, filters: dict[str, Any]) -> int:
        """Delete the documents that match Haystack's filters; return how many.

        Raises:
            FilterError: They are not what Haystack takes, or match every document, which `delete_all_documents` is for.
            KSparseStoreError: The server does not answer, or refuses them.
        """
        with _haystack_errors():
            try:
                return self.store.delete_matching(self.clauses(filters))
            except ValueError as error:
                raise FilterError(str(error)) from error

    def count_documents_by_filter(self, filters: dict[str, Any]) -> int:
        """Return how many documents match Haystack's filters."""
        with _haystack_errors():
            return self.store.count(self.clauses(filters))

    def clauses(self, filters: dict[str, Any] | None) -> list[dict[str, Any]]:
        """Turn Haystack's filters into query clauses for the index.

        Raises:
            FilterError: They are not what Haystack takes.
        """
        if not filters:
            return []
        return [to_clause(filters, TypedMetadata(naive="any") if self.store.typed else WordsMetadata())]

    def _without_duplicates(self, documents: Sequence[Document], *, skip: bool) -> list[Document]:
        known = set(self.store.get([document.id for document in documents]))
        fresh: list[Document] = []
        for document in documents:
            doc_id = to_id(document.id)
            if doc_id not in known:
                known.add(doc_id)
                fresh.append(document)
            elif not skip:
                raise DuplicateDocumentError(
                    f"document {doc_id!r} is in index {self.store.index!r} already, or twice among those given; "
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
            KSparseStoreError: The query is empty or too long, or the server refuses it or does not answer.
        """
        merged = apply_filter_policy(self.filter_policy, self.filters, filters)
        with _haystack_errors():
            hits = self.document_store.store.search(
                query,
                top_k=self.top_k if top_k is None else top_k,
                filters=self.document_store.clauses(merged),
                hybrid=self.hybrid,
            )
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


def _with_credentials(params: dict[str, Any], owner: str) -> dict[str, Any]:
    """The parameters with `http_auth` taken apart; what should be secret is a `Secret`."""
    if isinstance(params.get("http_auth"), list | tuple):
        params["username"], params["password"] = params.pop("http_auth")
    for name in _SECRETS:
        value = params.get(name)
        if value is not None and not isinstance(value, Secret):
            raise TypeError(f"{owner} takes {name!r} as a Secret, e.g. Secret.from_env_var(...): it is serialized.")
    return params


def _resolved(params: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of `IndexStore`, secrets as they are now."""
    if params["url"] is None and (params["username"], params["password"]) == (_USERNAME, _PASSWORD):
        params = {**params, "username": None, "password": None}  # the environment's, which belong to its address
    resolved = {name: value.resolve_value() if isinstance(value, Secret) else value for name, value in params.items()}
    return {name: value for name, value in resolved.items() if value is not None}


def _without_defaults(params: Mapping[str, Any]) -> dict[str, Any]:
    """The same beside a ready client, for which the environment's credentials are not meant."""
    return {
        name: value
        for name, value in params.items()
        if value is not None and not (name in ("username", "password") and value in (_USERNAME, _PASSWORD))
    }


def _with_new_index(params: Mapping[str, Any]) -> dict[str, Any]:
    """The same with a `NewIndex` of what can be serialized of it; None of `code_bits` is left out before."""
    others = {name: value for name, value in params.items() if name not in ("code_bits", "settings")}
    return others | {"new": NewIndex(code_bits=params.get("code_bits"), settings=params.get("settings", {}))}


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
    return OurDocument(to_id(document.id), document.content or "", fields=fields)


def _to_haystack(doc_id: str, source: dict[str, Any] | Any) -> Document:  # noqa: ANN401
    rest = source.get(_REST_FIELD, {})
    return Document(
        id=doc_id,
        content=source.get("text"),
        meta=source.get(META_FIELD, {}),
        blob=ByteStream.from_dict(rest["blob"]) if "blob" in rest else None,
        embedding=rest.get("embedding"),
    )
