"""A vector store for LangChain: `pip install 'ksparse[langchain]'`."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Self

try:
    import langchain_core  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(f"{error}; pip install 'ksparse[langchain]'", name=error.name) from error

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore

from connector.integrations.store import IndexStore
from connector.query.body import parse_filter
from connector.types import Document as OurDocument
from connector.types import Hit

Filters = Mapping[str, Any] | Sequence[Mapping[str, Any]] | None
"""A clause of OpenSearch's query language, several, or metadata that a document must have (`{"lang": "en"}`)."""

_CLAUSES = frozenset(
    ("bool", "exists", "ids", "match", "match_phrase", "prefix", "range", "term", "terms", "wildcard", "query_string")
)


class KSparseVectorStore(VectorStore):
    """Documents in an index of sparse features, searched by meaning.

    The encoder makes features of texts itself, so LangChain's `Embeddings` have no part in it. As with any LangChain
    store, `as_retriever()` makes a retriever, and the async methods run the others in threads.

    Args:
        index: Its name; made by the first documents if it is not there.
        **options: As of `IndexStore`: `encoder`, `client` or `url`, `rescore`, `sample`, `settings`, `refresh`, and
            those of `connector.connect` (username, password, ca_certs, ...).
    """

    def __init__(self, index: str, **options: Any) -> None:
        self.store = IndexStore(index, **options)

    @property
    def embeddings(self) -> Embeddings | None:
        """None: features come from the encoder."""
        return None

    def add_documents(self, documents: list[Document], *, ids: list[str] | None = None, **kwargs: Any) -> list[str]:
        """Write documents, any number of them, in the place of those with the same ids.

        Args:
            documents: With a text each.
            ids: Of the documents; else their own, else new ones.
            **kwargs: Not looked at.

        Returns:
            The ids.

        Raises:
            ValueError: There are more or fewer ids than documents.
            BulkWriteError: Some were refused. The others are written.
        """
        if ids is not None and len(ids) != len(documents):
            raise ValueError(f"{len(documents)} documents need as many ids, got {len(ids)}.")
        given = ids if ids is not None else [document.id for document in documents]
        named = [doc_id or str(uuid.uuid4()) for doc_id in given]
        self.store.write(
            [
                OurDocument(doc_id, document.page_content, metadata=document.metadata)
                for doc_id, document in zip(named, documents, strict=True)
            ]
        )
        return named

    def delete(self, ids: list[str] | None = None, **kwargs: Any) -> bool:
        """Delete documents; all of them where `ids` is None. One that is not there is no error.

        Raises:
            TypeError: There are further arguments, such as a filter, which would not be heeded.
        """
        if kwargs:
            raise TypeError(f"delete takes ids, and not {', '.join(sorted(kwargs))}; nothing was deleted.")
        if ids is None:
            self.store.delete_all()
        else:
            self.store.delete(ids)
        return True

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Return documents in the order of their ids, without those that are not there."""
        found = self.store.get(ids)
        return [_document(doc_id, found[doc_id]) for doc_id in ids if doc_id in found]

    def similarity_search(self, query: str, k: int = 4, **kwargs: Any) -> list[Document]:
        """Return the `k` nearest documents; arguments as of `similarity_search_with_score`."""
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
            filter: What documents must match.
            hybrid: Fuse the ranking with BM25's.
            score_threshold: Leave out what scores less: a dot product, or 1 plus the cosine where the index has codes.
            **kwargs: Passed on to `Retriever.search` (`k_query`, `pruning`, `window`).

        Raises:
            SearchError: The query is empty or too long, or the server refuses it.
        """
        retriever = self.store.retriever
        if retriever is None:
            return []
        filters = to_clauses(filter, tuple(retriever.schema.fields))
        search = retriever.search_hybrid if hybrid else retriever.search
        hits = search(query, top_k=k, filters=filters, **kwargs)
        return [
            (_document_of(hit), hit.score) for hit in hits if score_threshold is None or hit.score >= score_threshold
        ]

    def _similarity_search_with_relevance_scores(
        self, query: str, k: int = 4, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        # The threshold is one of relevance; the caller applies it.
        kwargs.pop("score_threshold", None)
        return [
            (found, score / (1.0 + score)) for found, score in self.similarity_search_with_score(query, k, **kwargs)
        ]

    @classmethod
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings | None = None,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        index: str = "langchain",
        **kwargs: Any,
    ) -> Self:
        """Make a store and write texts.

        Args:
            texts: Of the documents.
            embedding: None: features come from the `encoder`.
            metadatas: As many, if any.
            ids: As many, if any.
            index: Its name.
            **kwargs: As of the class.

        Raises:
            ValueError: There is an `embedding`, or the numbers differ.
        """
        if embedding is not None:
            raise ValueError("this store encodes texts itself; pass embedding=None, and encoder=... to choose how.")
        store = cls(index, **kwargs)
        store.add_texts(texts, metadatas, ids=ids)
        return store


def to_clauses(filter: Filters, fields: Sequence[str]) -> list[dict[str, Any]]:
    """Turn a filter into query clauses: clauses stay as they are, metadata becomes `term` clauses.

    Args:
        filter: A clause, several, or a mapping from name to value.
        fields: Top-level fields of the index; any other name is one of metadata.
    """
    if filter is None:
        return []
    if not isinstance(filter, Mapping):
        return [clause for each in filter for clause in to_clauses(each, fields)]
    if len(filter) == 1 and next(iter(filter)) in _CLAUSES:
        return [dict(filter)]
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in filter.items()}
    return [parse_filter(f"{name}={text}", fields=fields) for name, text in texts.items()]


def _document(doc_id: str, source: Mapping[str, Any]) -> Document:
    return Document(id=doc_id, page_content=source.get("text", ""), metadata=dict(source.get("metadata", {})))


def _document_of(hit: Hit) -> Document:
    return _document(hit.doc_id, hit.source)
