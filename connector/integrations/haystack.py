"""A document store, embedders and a retriever for Haystack: `pip install '.[haystack]'` in a clone."""

from __future__ import annotations

import re
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
from connector.connection.address import without_password
from connector.corpus.values import numeric, plain, to_id
from connector.encoders.load import DEFAULT_ENCODER, load_encoder
from connector.encoders.text import TextEncoder
from connector.errors import ConnectorError
from connector.index.new_index import NewIndex
from connector.integrations.haystack_filters import to_clause
from connector.integrations.store import IndexStore, read_metadata
from connector.query.terms import META_FIELD, typed_mappings
from connector.search.threads import in_thread
from connector.types import Document as OurDocument
from connector.types import SparseVectors
from connector.vectors.codes import CodeBits

_REST_FIELD = "haystack"
"""Unindexed field for a document's blob and dense embedding."""

_SECRETS = ("username", "password", "api_key", "bearer_token")


_SECRET_HEADER = re.compile("auth|cookie|key|secret|token", re.IGNORECASE)

_USERNAME = Secret.from_env_var("OPENSEARCH_USERNAME", strict=False)
_PASSWORD = Secret.from_env_var("OPENSEARCH_PASSWORD", strict=False)


class KSparseStoreError(DocumentStoreError, ConnectorError):
    """An operation of a document store or retriever failed on the server."""


@contextmanager
def _haystack_errors() -> Iterator[None]:
    """Translate ksparse and server errors to Haystack's."""
    try:
        yield
    except ConnectorError as error:
        raise KSparseStoreError(str(error)) from error


class KSparseDocumentStore:
    """A Haystack document store on a ksparse index.

    The store encodes documents, or uses their `sparse_embedding` from a `KSparseDocumentEmbedder`. Documents that are
    read have none, since features are only in the postings.

    Args:
        index: Name of the index; the first write creates it. Alias: `index_name`.
        encoder: Name or folder for `load_encoder`; None as in `IndexStore`.
        url: URL of the server; None reads OPENSEARCH_URL, then falls back to http://localhost:9200. Aliases: `hosts`,
            `opensearch_url`.
        username: User for basic authentication.
        password: Password for basic authentication.
        code_bits: As in `NewIndex`.
        settings: Settings of a new index, e.g. `{"number_of_shards": 1}`.
        refresh: Make writes visible immediately.
        client: A connected client to use instead; it is not serialized.
        **options: As in `connector.connect`: `ca_certs`, `verify_certs`, `timeout_s`, ... `api_key`, `bearer_token` and
            both values of `http_auth` (for `username` and `password`) are Haystack `Secret`s, and `proxy` may be one,
            as may `http_auth` (`USER:PASSWORD`).

    Raises:
        TypeError: An option is unknown, or a secret is not a `Secret` (also a password in a URL, or a header with one).
        ValueError: Both a client and connection arguments are given.
        KSparseStoreError: The index name or the address is invalid.
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
        if "new" in options:
            raise TypeError(f"{owner} has no option 'new', which cannot be serialized; use code_bits and settings.")
        named = {name: value for name, value in (("index", index), ("url", url)) if value is not None}
        self._params: dict[str, Any] = {
            "index": "haystack",
            "encoder": encoder,
            "url": None,
            "code_bits": code_bits,
            "settings": settings,
            "refresh": refresh,
            **_with_credentials({"username": username, "password": password} | rename(named | options, owner), owner),
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
        """Serialize; secrets are stored by name only."""
        return default_to_dict(
            self,
            **{
                name: value.to_dict() if isinstance(value, Secret) else plain(value)
                for name, value in self._params.items()
            },
        )

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> KSparseDocumentStore:
        """Create a store from the output of `to_dict`."""
        params = dict(data["init_parameters"])
        secrets = [name for name in (*_SECRETS, "http_auth", "proxy") if isinstance(params.get(name), dict)]
        deserialize_secrets_inplace(params, keys=secrets)
        return default_from_dict(cls, data | {"init_parameters": params})

    def count_documents(self) -> int:
        """Return the number of documents."""
        with _haystack_errors():
            return self.store.count()

    def filter_documents(self, filters: dict[str, Any] | None = None) -> list[Document]:
        """Return all documents that match Haystack filters, unordered.

        Raises:
            FilterError: The filters are not valid Haystack filters.
            KSparseStoreError: The server is unreachable or rejects the request.
        """
        with _haystack_errors():
            return [_to_haystack(doc_id, source) for doc_id, source in self.store.matching(self.clauses(filters))]

    def write_documents(self, documents: list[Document], policy: DuplicatePolicy = DuplicatePolicy.NONE) -> int:
        """Write documents with text; return their number.

        All documents are checked before any is written.

        Args:
            documents: The documents.
            policy: Handling of existing and duplicate ids: `OVERWRITE` writes the last, `SKIP` keeps the first; `NONE`
                means `FAIL`.

        Raises:
            ValueError: A value is not a document, the policy is invalid, or only some have a sparse embedding.
            DuplicateDocumentError: An id exists and the policy is `FAIL`; nothing is written.
            KSparseStoreError: Documents were refused, e.g. without text; the message tells whether others were written.
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
        """Delete documents; missing ids are ignored."""
        with _haystack_errors():
            self.store.delete(document_ids)

    def delete_all_documents(self) -> None:
        """Delete all documents but keep the index."""
        with _haystack_errors():
            self.store.delete_all()

    def delete_by_filter(self, filters: dict[str, Any]) -> int:
        """Delete the documents that match Haystack filters; return their number.

        Raises:
            FilterError: The filters are invalid, or match every document (use `delete_all_documents`).
            KSparseStoreError: The server is unreachable or rejects the request.
        """
        with _haystack_errors():
            try:
                return self.store.delete_matching(self.clauses(filters))
            except ValueError as error:
                raise FilterError(str(error)) from error

    def count_documents_by_filter(self, filters: dict[str, Any]) -> int:
        """Return the number of documents that match Haystack filters."""
        with _haystack_errors():
            return self.store.count(self.clauses(filters))

    # Haystack's components call these in asynchronous pipelines.
    count_documents_async = in_thread(count_documents)
    filter_documents_async = in_thread(filter_documents)
    write_documents_async = in_thread(write_documents)
    delete_documents_async = in_thread(delete_documents)
    delete_all_documents_async = in_thread(delete_all_documents)
    delete_by_filter_async = in_thread(delete_by_filter)
    count_documents_by_filter_async = in_thread(count_documents_by_filter)

    def clauses(self, filters: dict[str, Any] | None) -> list[dict[str, Any]]:
        """Convert Haystack filters to query clauses.

        Raises:
            FilterError: The filters are not valid Haystack filters.
        """
        if not filters:
            return []
        return [to_clause(filters, self.store.metadata(naive="any"), self._with_text)]

    def _with_text(self, text: str) -> list[str]:
        """Ids of the documents with exactly this text, among those that contain its words."""
        # A text without words, such as "!", is compared with all documents.
        found = self.store.matching([{"match_phrase": {"text": {"query": text, "zero_terms_query": "all"}}}])
        return [doc_id for doc_id, source in found if source.get("text") == text]

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
                    f"document {doc_id!r} exists in index {self.store.index!r}, or was given twice; "
                    "choose DuplicatePolicy.OVERWRITE or SKIP."
                )
        return fresh


@component
class KSparseRetriever:
    """Retrieves documents of a `KSparseDocumentStore` by similarity to a query.

    Args:
        document_store: The store to search.
        filters: Haystack filters.
        top_k: Number of documents.
        filter_policy: Whether filters passed to `run` replace or extend `filters`.
        hybrid: Combine with BM25 by normalized scores.
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
        """Serialize, including the store."""
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
        """Create a retriever from the output of `to_dict`."""
        params = dict(data["init_parameters"])
        params["document_store"] = KSparseDocumentStore.from_dict(params["document_store"])
        return default_from_dict(cls, data | {"init_parameters": params})

    @component.output_types(documents=list[Document])
    def run(self, query: str, filters: dict[str, Any] | None = None, top_k: int | None = None) -> dict[str, Any]:
        """Return `{"documents": [...]}` with scores.

        Raises:
            FilterError: The filters are not valid Haystack filters.
            KSparseStoreError: The query is empty or too long, or the server is unreachable or rejects it.
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
    """Computes sparse embeddings of documents, e.g. on a machine with a GPU.

    The store can encode documents itself and calibrates a new index on the first ones. An embedder has no access to
    them, so pass it a `sample` for calibration. Embeddings have no codes: an index that has codes refuses them.

    Args:
        encoder: Name or folder for `load_encoder`.
        sample: Texts for calibration.
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
        """Create an embedder from the output of `to_dict`."""
        return default_from_dict(cls, data)

    @component.output_types(documents=list[Document])
    def run(self, documents: list[Document]) -> dict[str, Any]:
        """Return `{"documents": [...]}`: copies with `sparse_embedding`."""
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
    """Split `http_auth` into user and password, and refuse secrets that would be serialized."""
    serialized = f"{owner} is serialized, so"
    if isinstance(params.get("http_auth"), list | tuple):
        pair = params.pop("http_auth")
        if len(pair) != 2:
            raise TypeError(f"{serialized} 'http_auth' must be two Secrets: user and password.")
        params["username"], params["password"] = pair
    for name in _SECRETS:
        value = params.get(name)
        if value is not None and not isinstance(value, Secret):
            raise TypeError(f"{serialized} {name!r} must be a Secret, e.g. Secret.from_env_var(...).")
    if isinstance(params.get("http_auth"), str):
        raise TypeError(f"{serialized} 'http_auth' must be two Secrets: user and password.")
    if _holds_credentials(params.get("url")):
        raise TypeError(f"{serialized} 'url' must hold no password; pass username and password as Secrets.")
    if _holds_credentials(params.get("proxy")):
        raise TypeError(f"{serialized} a 'proxy' with a password must be a Secret.")
    secret = [name for name in params.get("headers") or {} if _SECRET_HEADER.search(name)]
    if secret:
        raise TypeError(f"{serialized} it takes no header {secret[0]!r}; pass api_key or bearer_token as a Secret.")
    return params


def _holds_credentials(url: Any) -> bool:  # noqa: ANN401
    urls = url if isinstance(url, list | tuple) else [url]
    return any(isinstance(each, str) and without_password(each) != each for each in urls)


def _resolved(params: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of `IndexStore` with resolved secrets."""
    if params["url"] is None and (params["username"], params["password"]) == (_USERNAME, _PASSWORD):
        params = {**params, "username": None, "password": None}  # those of the environment, which belong to its address
    resolved = {name: value.resolve_value() if isinstance(value, Secret) else value for name, value in params.items()}
    return {name: value for name, value in resolved.items() if value is not None}


def _without_defaults(params: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters for a given client, without credentials from the environment."""
    return {
        name: value
        for name, value in params.items()
        if value is not None and not (name in ("username", "password") and value in (_USERNAME, _PASSWORD))
    }


def _with_new_index(params: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters with a `NewIndex` made of the serializable ones."""
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
    fields: dict[str, Any] = {META_FIELD: numeric(document.meta)} if document.meta else {}
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
        meta=read_metadata(source, _REST_FIELD),
        blob=ByteStream.from_dict(rest["blob"]) if "blob" in rest else None,
        embedding=rest.get("embedding"),
    )
