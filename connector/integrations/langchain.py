"""A vector store for LangChain: `pip install 'ksparse[langchain]'`."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
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
from connector.types import Document as OurDocument
from connector.types import Hit


class KSparseVectorStore(VectorStore):
    """Documents in an index of sparse features, searched by meaning.

    The encoder makes features of texts itself, so LangChain's `Embeddings` have no part in it. As with any LangChain
    store, `as_retriever()` makes a retriever, and the async methods run the others in threads.

    Args:
        index: Its name; created by the first documents if it does not exist. `index_name` is the same.
        **options: As for `IndexStore`: `encoder`, `client` or `url` (or `opensearch_url`), `new`, `sample`,
            `refresh`, and those of `connector.connect` (username, password, ca_certs, ...).

    Raises:
        TypeError: An option is unknown.
        ValueError, IndexMappingError: As for `IndexStore`.
    """

    def __init__(self, index: str | None = None, **options: Any) -> None:
        if any(options.pop(name, None) is not None for name in _EMBEDDINGS):
            raise _no_embeddings()
        self.store = IndexStore.of(type(self).__name__, index, options, mappings=None)

    @property
    def embeddings(self) -> Embeddings | None:
        """None: features come from the encoder."""
        return None

    def as_retriever(self, **kwargs: Any) -> VectorStoreRetriever:
        """Make a retriever of `search_type` and `search_kwargs`, as of LangChain.

        Raises:
            TypeError: An option is unknown. Those of a search stand in `search_kwargs`.
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
        """Write texts, with as many metadatas and ids as there are texts; the rest as in `add_documents`."""
        if isinstance(texts, str):
            raise ValueError("texts must be a list of strings, got a single string; put it in a list.")
        listed = list(texts)
        if metadatas and len(metadatas) != len(listed):
            raise ValueError(f"{len(listed)} texts need as many metadatas, got {len(metadatas)}.")
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
        """Write documents, any number of them, in the place of those with the same ids.

        All are checked before any is written. Of several with one id the last is written.

        Args:
            documents: With a text each.
            ids: Of the documents; else their own, else new ones. Integers and UUIDs are written out.
            batch_size: Documents that are encoded and sent at a time, as LangChain's indexing API gives it.
            **kwargs: None.

        Returns:
            The ids.

        Raises:
            ValueError: There are more or fewer ids than documents.
            RefusedDocumentsError: Some cannot be indexed; the message says whether others are written. `ids` are those
                that the documents have, new ones among them.
            TypeError: An option is unknown.
        """
        refuse_unknown(kwargs, {"ids", "batch_size"}, "add_documents()")
        if ids is not None and len(ids) != len(documents):
            raise ValueError(f"{len(documents)} documents need as many ids, got {len(ids)}.")
        given = ids if ids is not None else [document.id for document in documents]
        named = [str(uuid.uuid4()) if doc_id is None or doc_id == "" else to_id(doc_id) for doc_id in given]
        self.store.write(
            [
                OurDocument(doc_id, document.page_content, metadata=document.metadata)
                for doc_id, document in zip(named, documents, strict=True)
            ],
            batch_size=batch_size,
        )
        return named

    def delete(self, ids: list[str] | None = None, *, filter: Filters = None, **kwargs: Any) -> bool:
        """Delete documents by ids or by a filter; all of them where neither is given. A missing one is not an error.

        Args:
            ids: Of the documents.
            filter: As for a search; one that matches everything is an error.
            **kwargs: None.

        Raises:
            ValueError: There are both, or the filter matches every document.
            TypeError: An option is unknown.
        """
        refuse_unknown(kwargs, {"ids", "filter"}, "delete()")
        if filter is not None:
            if ids is not None:
                raise ValueError("delete by ids or by a filter, not by both.")
            self.store.delete_matching(self._clauses(filter))
        elif ids is None:
            self.store.delete_all()
        else:
            self.store.delete(ids)
        return True

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Return documents in the order of their ids, without those that are not there."""
        named = to_ids(ids)
        found = self.store.get(named)
        return [_document(doc_id, found[doc_id]) for doc_id in named if doc_id in found]

    def similarity_search(self, query: str, k: int = 4, **kwargs: Any) -> list[Document]:
        """Return the `k` nearest documents; arguments as for `similarity_search_with_score`."""
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
        """Return the `k` nearest documents with their scores.

        Args:
            query: Not empty.
            k: Documents asked for, 1 to 10,000.
            filter: What documents must match (`connector.query.filters.filter_clauses`): metadata
                (`{"lang": ["en", "de"]}`), clauses of OpenSearch's query language, or several of either in a list.
            hybrid: Fuse the ranking with BM25's.
            score_threshold: Leave out what scores less: a dot product, or 1 plus the cosine where the index has codes.
            **kwargs: Passed on to `Retriever.search` (`settings`, `options`), or to `search_hybrid` (`bm25_weight`).

        Raises:
            ValueError: The query is empty or too long, the filter is none, or the server refuses either.
            TypeError: An option is unknown.
        """
        check_search_options(kwargs, "similarity_search()", {"k", "filter", "score_threshold"}, hybrid=hybrid)
        hits = self.store.search(query, top_k=k, filters=self._clauses(filter), hybrid=hybrid, **kwargs)
        return [
            (_document_of(hit), hit.score) for hit in hits if score_threshold is None or hit.score >= score_threshold
        ]

    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        """Scores have no upper bound; relevance has."""
        return lambda score: score / (1.0 + score)

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
        """Return documents that are near to the query and far from each other.

        They are compared by the codes that the index keeps of their embeddings; without any, they are encoded again.

        Args:
            query: Not empty.
            k: Documents asked for.
            fetch_k: The nearest documents that they are chosen of.
            lambda_mult: What nearness to the query weighs, 0 to 1.
            filter: As in `similarity_search_with_score`, and so are the others.
            hybrid: The same.
            **kwargs: The same.
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
        return [_document_of(hit) for hit in hits]

    def similarity_search_by_vector(self, embedding: list[float], k: int = 4, **kwargs: Any) -> NoReturn:
        """Raise NotImplementedError: an index of features cannot be asked for a dense embedding."""
        raise _no_vectors("similarity_search")

    def max_marginal_relevance_search_by_vector(
        self, embedding: list[float], k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, **kwargs: Any
    ) -> NoReturn:
        """Raise NotImplementedError: an index of features cannot be asked for a dense embedding."""
        raise _no_vectors("max_marginal_relevance_search")

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
        """Make a store and write texts.

        Args:
            texts: Of the documents.
            embedding: None: features come from the `encoder`.
            metadatas: As many, if any.
            ids: As many, if any.
            index: Its name, `langchain` if None. `index_name` is the same.
            **kwargs: As for the class.

        Raises:
            ValueError: There is an `embedding`, or the numbers differ.
            TypeError: An option is unknown.
        """
        if embedding is not None:
            raise _no_embeddings()
        given = rename(({} if index is None else {"index": index}) | kwargs, f"{cls.__name__}.from_texts()")
        store = cls(**({"index": "langchain"} | given))
        store.add_texts(texts, metadatas, ids=ids)
        return store

    def _clauses(self, filter: Filters) -> list[dict[str, Any]]:
        if filter is None:
            return []
        schema = self.store.schema
        return filter_clauses(filter, fields=schema.fields if schema is not None else ())


_EMBEDDINGS = ("embedding", "embeddings", "embedding_function")
"""What LangChain's stores call the model that embeds."""


def _no_embeddings() -> ValueError:
    return ValueError("this store encodes texts itself; leave the embedding out, and choose how with encoder=...")


def _no_vectors(instead: str) -> NotImplementedError:
    return NotImplementedError(
        f"this store encodes queries itself, and its index cannot be searched by a dense embedding; use {instead}()."
    )


def _document(doc_id: str, source: Mapping[str, Any]) -> Document:
    return Document(id=doc_id, page_content=source.get("text", ""), metadata=dict(source.get("metadata", {})))


def _document_of(hit: Hit) -> Document:
    return _document(hit.doc_id, hit.source)
