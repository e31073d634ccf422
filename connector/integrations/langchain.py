"""A vector store for LangChain: `pip install '.[langchain]'` in a clone."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NoReturn, Self

try:
    import langchain_core  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(f"{error}; pip install 'ksparse[langchain]'", name=error.name) from error

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore, VectorStoreRetriever

from connector.arguments import refuse_unknown, rename
from connector.corpus.values import to_id, to_ids
from connector.integrations.store import IndexStore, check_search_options
from connector.query.filters import Filters, filter_clauses
from connector.query.settings import DEFAULT_SETTINGS
from connector.types import Document as OurDocument
from connector.types import Hit


class _Creation(VectorStore):
    """Creates a store and writes its first documents."""

    @classmethod
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings | None = None,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        index: str | None = None,
        **kwargs: Any,
    ) -> Self:
        """Create a store and write texts.

        Args:
            texts: Texts of the documents.
            embedding: Must be None: the store encodes texts itself.
            metadatas: Metadata of each text.
            ids: Id of each text.
            index: Name of the index; `langchain` if None. Alias: `index_name`.
            **kwargs: As in the class.

        Raises:
            ValueError: An `embedding` is given, or the numbers differ.
            TypeError: An option is unknown.
        """
        if embedding is not None:
            raise _no_embeddings()
        given = rename(({} if index is None else {"index": index}) | kwargs, f"{cls.__name__}.from_texts()")
        store = cls(**({"index": "langchain"} | given))
        store.add_texts(texts, metadatas, ids=ids)
        return store

    @classmethod
    async def afrom_texts(
        cls,
        texts: list[str],
        embedding: Embeddings | None = None,
        metadatas: list[dict[str, Any]] | None = None,
        **kwargs: Any,
    ) -> Self:
        """Run `from_texts` in a thread."""
        return await asyncio.to_thread(cls.from_texts, texts, embedding, metadatas, **kwargs)

    @classmethod
    def from_documents(cls, documents: list[Document], embedding: Embeddings | None = None, **kwargs: Any) -> Self:
        """Create a store and write documents with their ids; arguments and errors as in `from_texts`."""
        return super().from_documents(documents, embedding, **kwargs)  # type: ignore[arg-type]

    @classmethod
    async def afrom_documents(
        cls, documents: list[Document], embedding: Embeddings | None = None, **kwargs: Any
    ) -> Self:
        """Run `from_documents` in a thread."""
        return await asyncio.to_thread(cls.from_documents, documents, embedding, **kwargs)


class KSparseVectorStore(_Creation):
    """A LangChain vector store on a ksparse index.

    The store encodes texts itself, so it takes no LangChain `Embeddings`. As usual, `as_retriever()` creates a
    retriever, and asynchronous methods run in threads. Metadata is indexed as strings. Keys that the index declares as
    fields, by `new=NewIndex(fields={"year": "integer"})`, are stored in these, with their type, for ranges:
    `{"year": {"$gt": 2020}}`.

    Args:
        index: Name of the index; the first write creates it. Alias: `index_name`.
        **options: As in `IndexStore`: `encoder`, `client` or `url` (alias `opensearch_url`), `new`, `sample`,
            `refresh`, and those of `connector.connect` (username, password, ca_certs, ...).

    Raises:
        TypeError: An option is unknown.
        ValueError, IndexMappingError: As in `IndexStore`.
    """

    def __init__(self, index: str | None = None, **options: Any) -> None:
        if any(options.pop(name, None) is not None for name in _EMBEDDINGS):
            raise _no_embeddings()
        self.store = IndexStore.of(type(self).__name__, index, options, mappings=None)

    @property
    def embeddings(self) -> Embeddings | None:
        """None: the store encodes texts itself."""
        return None

    def as_retriever(self, **kwargs: Any) -> VectorStoreRetriever:
        """Create a LangChain retriever with `search_type` and `search_kwargs`.

        Raises:
            TypeError: An option is unknown. Pass search options in `search_kwargs`.
        """
        known = {*VectorStoreRetriever.model_fields} - {"vectorstore"}
        refuse_unknown(kwargs, known, "as_retriever()")
        return super().as_retriever(**kwargs)

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Write texts with their metadatas and ids; otherwise as `add_documents`."""
        if isinstance(texts, str):
            raise ValueError("texts must be a list of strings, got a single string; put it in a list.")
        listed = list(texts)
        if metadatas and len(metadatas) != len(listed):
            raise ValueError(f"{len(listed)} texts need the same number of metadatas, got {len(metadatas)}.")
        documents = [
            Document(page_content=text, metadata=metadata)
            for text, metadata in zip(listed, metadatas or [{} for _ in listed], strict=True)
        ]
        return self.add_documents(documents, ids=ids, **kwargs)

    def add_documents(
        self,
        documents: list[Document],
        *,
        ids: Sequence[str | None] | None = None,
        batch_size: int | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Write any number of documents; they replace documents with the same ids.

        All documents are checked before any is written. Of duplicates, the last is written.

        Args:
            documents: Documents with text.
            ids: Ids; None uses the documents' own, or generates them. Integers and UUIDs are converted to strings.
            batch_size: Documents per batch, as passed by LangChain's indexing API.
            **kwargs: Not supported.

        Returns:
            The ids.

        Raises:
            ValueError: The numbers of ids and documents differ.
            RefusedDocumentsError: Documents were refused; the message tells whether others were written. Its `ids`
                include generated ones.
            TypeError: An option is unknown.
        """
        refuse_unknown(kwargs, {"ids", "batch_size"}, "add_documents()")
        if isinstance(documents, Document):
            raise ValueError("documents must be a list of documents, got a single one; put it in a list.")
        documents = list(documents)
        if ids is not None and len(ids) != len(documents):
            raise ValueError(f"{len(documents)} documents need the same number of ids, got {len(ids)}.")
        given = ids if ids is not None else [document.id for document in documents]
        named = [str(uuid.uuid4()) if doc_id is None or doc_id == "" else to_id(doc_id) for doc_id in given]
        declared = self.store.fields
        self.store.write(
            [_from_langchain(doc_id, document, declared) for doc_id, document in zip(named, documents, strict=True)],
            declared=declared,
            batch_size=batch_size,
        )
        return named

    def delete(self, ids: list[str] | None = None, *, filter: Filters = None, **kwargs: Any) -> bool:
        """Delete documents by ids or by a filter, or all documents without arguments. Missing ids are ignored.

        Args:
            ids: Ids of the documents.
            filter: As in a search; a filter that matches everything is an error.
            **kwargs: Not supported.

        Raises:
            ValueError: Both are given, or the filter matches every document.
            TypeError: An option is unknown.
        """
        refuse_unknown(kwargs, {"ids", "filter"}, "delete()")
        if filter is not None:
            if ids is not None:
                raise ValueError("delete by ids or by a filter, not both.")
            self.store.delete_matching(self._clauses(filter))
        elif ids is None:
            self.store.delete_all()
        else:
            self.store.delete(ids)
        return True

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Return documents in the order of the ids; missing ones are omitted."""
        named = to_ids(ids)
        found = self.store.get(named)
        declared = self.store.fields
        return [_to_langchain(doc_id, found[doc_id], declared) for doc_id in named if doc_id in found]

    def similarity_search(self, query: str, k: int = 4, **kwargs: Any) -> list[Document]:
        """Return the `k` most similar documents; arguments as in `similarity_search_with_score`."""
        return [document for document, _ in self.similarity_search_with_score(query, k, **kwargs)]

    def similarity_search_with_score(
        self,
        query: str,
        k: int = 4,
        *,
        filter: Filters = None,
        hybrid: bool = False,
        score_threshold: float | None = None,
        **kwargs: Any,
    ) -> list[tuple[Document, float]]:
        """Return the `k` most similar documents with scores.

        Args:
            query: The query text.
            k: Number of documents, 1 to 10,000.
            filter: Metadata (`{"lang": ["en", "de"]}`), OpenSearch query clauses, or a list of either; see
                `connector.query.filters.filter_clauses`.
            hybrid: Combine with BM25 by normalized scores.
            score_threshold: Minimum score: a dot product, or 1 plus the cosine if the index has codes.
            **kwargs: Passed to `Retriever.search` (`settings`, `options`) or `search_hybrid` (`bm25_weight`).

        Raises:
            ValueError: The query is empty or too long, the filter is invalid, or the server rejects the request.
            TypeError: An option is unknown.
        """
        check_search_options(kwargs, "similarity_search()", {"k", "filter", "score_threshold"}, hybrid=hybrid)
        hits = self.store.search(query, top_k=k, filters=self._clauses(filter), hybrid=hybrid, **kwargs)
        kept = [hit for hit in hits if score_threshold is None or hit.score >= score_threshold]
        return list(zip(self._documents(kept), (hit.score for hit in kept), strict=True))

    def _similarity_search_with_relevance_scores(
        self, query: str, k: int = 4, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """Return documents with relevance from 0 to 1.

        It is the cosine where codes rescore, the score of a hybrid search, which is normalized unless `bm25_weight` is
        given, and else score / (1 + score).
        """
        scored = self.similarity_search_with_score(query, k, **kwargs)
        if kwargs.get("hybrid") and kwargs.get("bm25_weight") is None:
            return scored
        schema, settings = self.store.schema, kwargs.get("settings") or DEFAULT_SETTINGS
        code = None if schema is None or kwargs.get("hybrid") or settings.window == 0 else schema.code
        if code is None:
            return [(document, score / (1.0 + score)) for document, score in scored]
        # Scores are 1 plus an inner product, and embeddings have about the norm of the code.
        return [(document, min(1.0, max(0.0, (score - 1.0) / code.norm**2))) for document, score in scored]

    async def _asimilarity_search_with_relevance_scores(
        self, query: str, k: int = 4, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        return await asyncio.to_thread(self._similarity_search_with_relevance_scores, query, k, **kwargs)

    def max_marginal_relevance_search(
        self,
        query: str,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        *,
        filter: Filters = None,
        hybrid: bool = False,
        **kwargs: Any,
    ) -> list[Document]:
        """Return documents that are relevant to the query but differ from each other.

        Documents are compared by their codes; without codes, they are encoded again.

        Args:
            query: The query text.
            k: Number of documents.
            fetch_k: Number of candidates.
            lambda_mult: Weight of relevance against diversity, 0 to 1.
            filter: As in `similarity_search_with_score`.
            hybrid: As in `similarity_search_with_score`.
            **kwargs: As in `similarity_search_with_score`.
        """
        known = {"k", "fetch_k", "lambda_mult", "filter"}
        check_search_options(kwargs, "max_marginal_relevance_search()", known, hybrid=hybrid)
        hits = self.store.search_diverse(
            query,
            top_k=k,
            fetch_k=fetch_k,
            relevance=lambda_mult,
            filters=self._clauses(filter),
            hybrid=hybrid,
            **kwargs,
        )
        return self._documents(hits)

    def similarity_search_by_vector(self, embedding: list[float], k: int = 4, **kwargs: Any) -> NoReturn:
        """Raise NotImplementedError: the index cannot be searched by a dense embedding."""
        raise _no_vectors("similarity_search")

    def max_marginal_relevance_search_by_vector(
        self, embedding: list[float], k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, **kwargs: Any
    ) -> NoReturn:
        """Raise NotImplementedError: the index cannot be searched by a dense embedding."""
        raise _no_vectors("max_marginal_relevance_search")

    def _clauses(self, filter: Filters) -> list[dict[str, Any]]:
        return filter_clauses(filter, fields=self.store.filterable if filter else ())

    def _documents(self, hits: Sequence[Hit]) -> list[Document]:
        declared = self.store.fields if hits else ()
        return [_to_langchain(hit.doc_id, hit.source, declared) for hit in hits]


_EMBEDDINGS = ("embedding", "embeddings", "embedding_function")
"""Names of LangChain stores for the embedding model."""


def _no_embeddings() -> ValueError:
    return ValueError("this store encodes texts itself; leave the embedding out and choose an encoder by encoder=...")


def _no_vectors(instead: str) -> NotImplementedError:
    return NotImplementedError(
        f"this store encodes queries itself and cannot search by a dense embedding; use {instead}()."
    )


def _from_langchain(doc_id: str, document: Document, declared: Collection[str]) -> OurDocument:
    """The document, with its metadata in the fields that the index declares, and the rest as metadata."""
    fields = {name: document.metadata[name] for name in declared if document.metadata.get(name) is not None}
    metadata = {name: value for name, value in document.metadata.items() if name not in fields}
    return OurDocument(doc_id, document.page_content, metadata=metadata, fields=fields)


def _to_langchain(doc_id: str, source: Mapping[str, Any], declared: Collection[str]) -> Document:
    title = {"title": source["title"]} if source.get("title") else {}
    fields = {name: source[name] for name in declared if name in source}
    # Filters find fields; metadata of documents of earlier versions has copies, which updates leave as they were.
    metadata = title | (source.get("metadata") or {}) | fields
    return Document(id=doc_id, page_content=source.get("text") or "", metadata=metadata)
