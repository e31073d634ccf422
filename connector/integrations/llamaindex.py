"""A vector store for LlamaIndex: `pip install '.[llamaindex]'` in a clone."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

try:
    import llama_index.core  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(f"{error}; pip install 'ksparse[llamaindex]'", name=error.name) from error

from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.schema import BaseNode, MetadataMode, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
    VectorStoreQueryResult,
)
from llama_index.core.vector_stores.utils import metadata_dict_to_node, node_to_metadata_dict
from opensearchpy import OpenSearch

from connector.arguments import refuse_unknown
from connector.corpus.values import numeric, to_ids
from connector.integrations.filters import Metadata
from connector.integrations.llamaindex_filters import to_clause
from connector.integrations.store import IndexStore, check_search_options, read_metadata
from connector.limits import MAX_HITS
from connector.query.clauses import Clause
from connector.query.settings import DEFAULT_SETTINGS
from connector.query.terms import META_FIELD, typed_mappings
from connector.types import Document, Hit

_NODE_FIELD = "llamaindex"
"""Unindexed field for the serialized node without its text."""

_MODES = (
    VectorStoreQueryMode.DEFAULT,
    VectorStoreQueryMode.SPARSE,
    VectorStoreQueryMode.HYBRID,
    VectorStoreQueryMode.TEXT_SEARCH,
    VectorStoreQueryMode.MMR,
)


class KSparseVectorStore(BasePydanticVectorStore):
    """A LlamaIndex vector store on a ksparse index.

    The store encodes the same content as an embedding model of LlamaIndex: a node's text and its metadata without the
    keys excluded from embedding. A `VectorStoreIndex` still calls its embedding model for every inserted node, and this
    store drops the result: pass `embed_model=MockEmbedding(embed_dim=1)` to the index.

    It also searches indices of `ksparse ingest`, whose metadata can be filtered but not compared numerically.

    Args:
        index: Name of the index; the first write creates it. Alias: `index_name`.
        **options: As in `IndexStore`: `encoder`, `client` or `url` (alias `opensearch_url`), `new`, `sample`,
            `refresh`, and those of `connector.connect` (username, password, ca_certs, ...).

    Raises:
        TypeError: An option is unknown.
        ValueError, IndexMappingError: As in `IndexStore`.
    """

    stores_text: bool = True
    is_embedding_query: bool = False
    _store: IndexStore = PrivateAttr()

    def __init__(self, index: str | None = None, **options: Any) -> None:
        super().__init__(stores_text=True)
        self._store = IndexStore.of(type(self).__name__, index, options, mappings=typed_mappings(_NODE_FIELD))

    def __getstate__(self) -> dict[str, Any]:
        # LlamaIndex would leave out what cannot be pickled.
        raise TypeError("a KSparseVectorStore holds a connection and cannot be pickled; create another.")

    @classmethod
    def class_name(cls) -> str:
        """Name of the class in LlamaIndex."""
        return "KSparseVectorStore"

    @property
    def client(self) -> OpenSearch:
        """The OpenSearch client."""
        return self._store.client

    def add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """Write any number of nodes; they replace nodes with the same ids.

        All nodes are checked before any is written. Of duplicates, the last is written.

        Args:
            nodes: Nodes with text. Their embeddings are not stored.
            **kwargs: Not supported.

        Returns:
            The ids.

        Raises:
            RefusedDocumentsError: Nodes were refused; the message tells whether others were written.
            TypeError: An option is unknown.
        """
        refuse_unknown(kwargs, (), "add()")
        if isinstance(nodes, BaseNode):
            raise ValueError("nodes must be a list of nodes, got a single one; put it in a list.")
        nodes = list(nodes)
        if any(node.embedding is not None and len(node.embedding) > 1 for node in nodes):
            warnings.warn(
                "The embeddings of nodes are not stored: this store encodes texts itself. Avoid computing them with "
                "embed_model=MockEmbedding(embed_dim=1).",
                stacklevel=2,
            )
        self._store.write([_document(node) for node in nodes])
        return [node.node_id for node in nodes]

    async def async_add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """Run `add` in a thread."""
        return await asyncio.to_thread(self.add, nodes, **kwargs)

    def delete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """Delete all nodes of a source document."""
        refuse_unknown(delete_kwargs, (), "delete()")
        self._store.delete_matching([self._of_documents([ref_doc_id])])

    async def adelete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """Run `delete` in a thread."""
        await asyncio.to_thread(self.delete, ref_doc_id, **delete_kwargs)

    def delete_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, **delete_kwargs: Any
    ) -> None:
        """Delete the nodes with these ids that match the filters; none if neither is given.

        Raises:
            ValueError: As in `to_clause`, or the filters match every node (use `clear`).
        """
        refuse_unknown(delete_kwargs, (), "delete_nodes()")
        if filters is not None:
            self._store.delete_matching(self._clauses(node_ids, filters))
        elif node_ids:
            self._store.delete(node_ids)

    async def adelete_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, **delete_kwargs: Any
    ) -> None:
        """Run `delete_nodes` in a thread."""
        await asyncio.to_thread(self.delete_nodes, node_ids, filters, **delete_kwargs)

    def clear(self) -> None:
        """Delete all nodes but keep the index."""
        self._store.delete_all()

    async def aclear(self) -> None:
        """Run `clear` in a thread."""
        await asyncio.to_thread(self.clear)

    def get_nodes(self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None) -> list[BaseNode]:
        """Return the nodes with these ids that match the filters, unordered; all nodes if neither is given.

        Raises:
            ValueError: As in `to_clause`.
        """
        return [_node(doc_id, source) for doc_id, source in self._store.matching(self._clauses(node_ids, filters))]

    async def aget_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None
    ) -> list[BaseNode]:
        """Run `get_nodes` in a thread."""
        return await asyncio.to_thread(self.get_nodes, node_ids, filters)

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """Return the most similar nodes with scores.

        Args:
            query: Supported modes: `DEFAULT` and `SPARSE` (features), `HYBRID` (fusion with BM25; `alpha` weighs
                the features), `TEXT_SEARCH` (BM25) and `MMR` (features with diversity). The embedding is ignored.
                `sparse_top_k` is the number of hits of `SPARSE`, and of each ranking that `HYBRID` fuses. An empty
                query with filters, as of an auto-retriever whose question is only about metadata, returns matching
                nodes in any order, with a similarity of 1.
            **kwargs: Passed to `Retriever.search` or `search_hybrid` (`settings`, `options`, `bm25_weight`); retrievers
                pass their `vector_store_kwargs`. For `MMR`: `mmr_threshold` (weight of relevance, 0 to 1, default 0.5)
                and `mmr_prefetch_k` or `mmr_prefetch_factor` (number of candidates, default 4 times the hits).

        Raises:
            ValueError: `query_str` is missing, the mode is not supported, the query is too long, or empty without
                filters, or as in `to_clause`.
            TypeError: An option is unknown.
        """
        hits = self._hits(query, **kwargs)
        return VectorStoreQueryResult(
            nodes=[_node(hit.doc_id, hit.source) for hit in hits],
            similarities=[hit.score for hit in hits],
            ids=[hit.doc_id for hit in hits],
        )

    async def aquery(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """Run `query` in a thread."""
        return await asyncio.to_thread(self.query, query, **kwargs)

    def _hits(self, query: VectorStoreQuery, **kwargs: Any) -> list[Hit]:
        text, mode, top_k = query.query_str, VectorStoreQueryMode(query.mode), query.similarity_top_k
        if mode not in _MODES:
            raise ValueError(f"mode {mode.value!r} must be one of {', '.join(each.value for each in _MODES)}.")
        if text is None:
            raise ValueError("this store encodes queries itself: set query_str instead of an embedding.")
        if "hybrid" in kwargs:
            raise TypeError(
                f"query() has no option 'hybrid', got {kwargs['hybrid']!r}; choose the mode of a hybrid search by "
                'vector_store_query_mode="hybrid", or by the mode of the VectorStoreQuery.'
            )
        diversity = _diversity(query, kwargs) if mode == VectorStoreQueryMode.MMR else None
        hybrid = mode == VectorStoreQueryMode.HYBRID
        if mode == VectorStoreQueryMode.TEXT_SEARCH:
            refuse_unknown(kwargs, (), "query() in mode 'text_search'")
        else:
            check_search_options(kwargs, "query()", _MMR_OPTIONS if diversity else (), hybrid=hybrid)
        # A VectorStoreIndex without own nodes passes no ids and means all nodes.
        filters = self._clauses(query.node_ids or None, query.filters)
        if query.doc_ids is not None:
            filters.append(self._of_documents(query.doc_ids))
        if not text.strip() and (query.node_ids or query.doc_ids or (query.filters and query.filters.filters)):
            return [Hit(doc_id, 1.0, source) for doc_id, source in islice(self._store.matching(filters), top_k)]
        if mode == VectorStoreQueryMode.TEXT_SEARCH:
            return self._store.search_words(text, top_k=top_k, filters=filters)
        if diversity is not None:
            return self._store.search_diverse(text, top_k=top_k, filters=filters, **diversity, **kwargs)
        if mode == VectorStoreQueryMode.SPARSE and query.sparse_top_k is not None:
            top_k = query.sparse_top_k
        if hybrid:
            top_k = top_k if query.hybrid_top_k is None else query.hybrid_top_k
            kwargs = _with_depth(query.sparse_top_k, top_k, kwargs)
            if query.alpha is not None:
                kwargs = {"alpha": query.alpha, **kwargs}
        return self._store.search(text, top_k=top_k, filters=filters, hybrid=hybrid, **kwargs)

    def _clauses(self, node_ids: Sequence[Any] | None, filters: MetadataFilters | None) -> list[Clause]:
        clauses: list[Clause] = []
        if node_ids is not None:
            clauses.append({"ids": {"values": to_ids(node_ids)}})
        if filters is not None:
            clauses.append(to_clause(filters, self._metadata))
        return clauses

    def _of_documents(self, ref_doc_ids: Sequence[Any]) -> Clause:
        return self._metadata.any_string("ref_doc_id", to_ids(ref_doc_ids))

    @property
    def _metadata(self) -> Metadata:
        return self._store.metadata()


_MMR_OPTIONS = ("mmr_threshold", "mmr_prefetch_k", "mmr_prefetch_factor")
_MMR_FACTOR = 4
"""The default of LlamaIndex's stores."""


def _diversity(query: VectorStoreQuery, kwargs: dict[str, Any]) -> dict[str, Any]:
    """Extract the MMR options from the query options."""
    threshold, fetch_k, factor = (kwargs.pop(name, None) for name in _MMR_OPTIONS)
    if fetch_k is not None and factor is not None:
        raise ValueError("mmr_prefetch_k and mmr_prefetch_factor are both set; leave one of them out.")
    if threshold is None:
        threshold = query.mmr_threshold
    if fetch_k is None:
        fetch_k = min(MAX_HITS, int(query.similarity_top_k * (_MMR_FACTOR if factor is None else factor)))
    return {"relevance": 0.5 if threshold is None else threshold, "fetch_k": fetch_k}


def _with_depth(depth: int | None, top_k: int, kwargs: dict[str, Any]) -> dict[str, Any]:
    """The options with the number of hits of each ranking to fuse; a weight for BM25 ranks all documents."""
    settings = kwargs.get("settings", DEFAULT_SETTINGS)
    if depth is None or settings.rank_window_size is not None or kwargs.get("bm25_weight") is not None:
        return kwargs
    return kwargs | {"settings": replace(settings, rank_window_size=max(depth, top_k))}


def _document(node: BaseNode) -> Document:
    node = _plain(node)
    metadata = node_to_metadata_dict(node, remove_text=True)
    rest = {key: metadata.pop(key) for key in ("_node_content", "_node_type")}
    return Document(
        node.node_id,
        node.get_content(metadata_mode=MetadataMode.NONE),
        title=node.get_metadata_str(mode=MetadataMode.EMBED),
        fields={META_FIELD: metadata, _NODE_FIELD: rest},
    )


def _plain(node: BaseNode) -> BaseNode:
    """A copy whose metadata, and that of related nodes, is JSON-serializable."""
    relationships = {
        kind: [_plain_info(each) for each in related] if isinstance(related, list) else _plain_info(related)
        for kind, related in node.relationships.items()
    }
    return node.model_copy(update={"metadata": numeric(node.metadata), "relationships": relationships})


def _plain_info(info: RelatedNodeInfo) -> RelatedNodeInfo:
    return info.model_copy(update={"metadata": numeric(info.metadata)})


def _node(doc_id: str, source: Mapping[str, Any]) -> BaseNode:
    if _NODE_FIELD in source:
        return metadata_dict_to_node(source[_NODE_FIELD], source.get("text") or "")
    return TextNode(id_=doc_id, text=source.get("text") or "", metadata=read_metadata(source, _NODE_FIELD))
