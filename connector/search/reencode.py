"""Blue and green: the documents of an index in the features of another encoder, checked before searches go there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from opensearchpy import OpenSearch
from opensearchpy.helpers import scan

from connector.connection.client import explained
from connector.errors import IndexMappingError
from connector.index.derived import restored
from connector.index.drop import companions_of
from connector.index.schema import IndexSchema
from connector.index.sizes import all_of, count_matching
from connector.query.clauses import at_random
from connector.search.retriever import Retriever
from connector.types import Document

_OWN = ("title", "text", "metadata")
_COPIED_SETTINGS = ("number_of_shards", "number_of_replicas", "analysis")
_KEPT_OF_ALIASES = ("filter", "index_routing", "search_routing", "is_hidden")
_WORDS = 12


@dataclass(frozen=True, slots=True)
class Comparison:
    """How a new index compares with the one whose place it is to take.

    Attributes:
        documents: Of the old index.
        new_documents: Of the new one.
        sampled: Documents drawn at random from the old one.
        differing: Ids of these that the new one lacks, or holds with another content or routing.
        found: The share of these that the old one finds among the first 10 by their own first words.
        new_found: The same of the new one.
    """

    documents: int
    new_documents: int
    sampled: int
    differing: tuple[str, ...]
    found: float
    new_found: float

    def objections(self, tolerance: float) -> list[str]:
        """Why the new index should not take the place of the old one.

        Args:
            tolerance: How much lower `new_found` may be.
        """
        said = []
        if self.new_documents != self.documents:
            said.append(f"it holds {self.new_documents:,} documents instead of {self.documents:,}")
        if self.differing:
            names = ", ".join(self.differing[:3])
            said.append(f"{len(self.differing)} of {self.sampled} sampled documents are missing or differ ({names})")
        if self.new_found < self.found - tolerance:
            said.append(f"it finds {self.new_found:.1%} of them by their own words, the old one {self.found:.1%}")
        return said


def read_index(client: OpenSearch, index: str) -> Iterator[Document]:
    """Read all documents of an index, with their versions and routings.

    A document that is written into another index with its version does not overwrite a newer one there.

    Args:
        client: A ready client.
        index: The index, or several joined by commas; an alias would leave out what its filter and routing do.

    Raises:
        ClusterError: The server is away or does not permit it.
    """
    with explained(client):
        for hit in scan(client, index=index, query=all_of(()) | {"version": True}):
            yield _to_document(hit)


def copied_settings(client: OpenSearch, index: str) -> dict[str, Any]:
    """Read the settings of an index that one in its place should have.

    Raises:
        ClusterError: The server is away or does not permit it.
        IndexMappingError: It is an alias of several indices.
    """
    with explained(client):
        replies = list(client.indices.get_settings(index=index).values())
    if len(replies) > 1:
        raise IndexMappingError(f"{index} joins {len(replies)} indices; name one of them.")
    own = replies[0]["settings"]["index"]
    return {name: own[name] for name in _COPIED_SETTINGS if name in own}


def compare_indices(client: OpenSearch, old: Retriever, new: Retriever, *, sample: int = 200) -> Comparison:
    """Compare counts, the content of random documents, and whether these are found.

    Raises:
        ClusterError, SearchError: As the server has it.
    """
    # Not an alias, which may hide documents.
    names = [",".join(each.schema.names) for each in (old, new)]
    with explained(client):
        client.indices.refresh(index=",".join(names))
        counts = [count_matching(client, name) for name in names]
        hits = client.search(index=names[0], body={"query": at_random(), "size": sample})["hits"]["hits"]
        wanted = [{"_id": hit["_id"]} | ({"routing": hit["_routing"]} if "_routing" in hit else {}) for hit in hits]
        copies = client.mget(index=names[1], body={"docs": wanted})["docs"] if hits else []
    ids = [hit["_id"] for hit in hits]
    differing = tuple(hit["_id"] for hit, copy in zip(hits, copies, strict=True) if not _is_same(hit, copy))
    queries = [_first_words(hit["_source"]) for hit in hits]
    found, new_found = (_share_found(each, queries, ids) for each in (old, new))
    return Comparison(counts[0], counts[1], len(hits), differing, found, new_found)


def check_switch(client: OpenSearch, name: str, index: str, *, delete_old: bool = False) -> None:
    """Make sure that `switch_alias` can do the same later, before documents are encoded for it.

    Raises:
        ClusterError: The server is away or does not permit it.
        IndexMappingError: `name` is an index and is not to be deleted.
    """
    with explained(client):
        taken = bool(client.indices.exists(index=name)) and not client.indices.exists_alias(name=name)
    if taken and not delete_old:
        raise IndexMappingError(
            f"{name} is an index, and no alias can have its name while it exists. Delete it at the end "
            f"(--delete-old), or keep both (--no-switch) and search {index}."
        )


def check_target(schema: IndexSchema, index: str, there: IndexSchema | None) -> None:
    """Make sure that an index can take the place of what a schema describes: it is another one, and no alias.

    Args:
        schema: Of what is to be replaced.
        index: The name of the new index.
        there: What is found under this name, None if nothing is.

    Raises:
        IndexMappingError: It is not.
    """
    if index == schema.index:
        raise IndexMappingError(f"{index} is the source; give the new index another name, e.g. {index}-2.")
    if index in schema.names:
        raise IndexMappingError(f"{schema.index} already names {index}; give the new index another name.")
    if there is not None and there.names != (index,):
        raise IndexMappingError(f"{index} is an alias of {', '.join(there.names)}; give the name of an index.")


def switch_alias(client: OpenSearch, name: str, index: str, *, delete_old: bool = False) -> list[str]:
    """Let an alias name an index, and no other any more, in one step; it keeps its filter and its routing.

    Args:
        client: A ready client.
        name: The alias. It may be the name of an index if that is to be deleted.
        index: The index that it is to name.
        delete_old: Delete the indices that it named; their other aliases then name the new one as well.

    Returns:
        The indices that it named before.

    Raises:
        ClusterError: The server is away or does not permit it.
        IndexMappingError: As for `check_switch`, or it is an alias that says something else of each of its indices.
    """
    check_switch(client, name, index, delete_old=delete_old)
    with explained(client):
        is_alias = bool(client.indices.exists_alias(name=name))
        replies = client.indices.get_alias(name=name) if is_alias else {}
        named = sorted(replies) if is_alias else [name] if client.indices.exists(index=name) else []
        old = [each for each in named if each != index]
        kept = {name: _said_of_documents(name, [replies[each]["aliases"][name] for each in old if each in replies])}
        if delete_old:
            # They would go with the index that is deleted.
            for each in old:
                others = client.indices.get_alias(index=each)[each]["aliases"]
                kept = {alias: _said_of_documents(alias, [said]) for alias, said in others.items()} | kept
        companions = companions_of(client, old) if delete_old else []
        taken = "remove_index" if delete_old else "remove"
        actions: list[dict[str, Any]] = [
            {"add": {"index": index, "alias": alias, "is_write_index": True, **said}} for alias, said in kept.items()
        ]
        actions += [{taken: {"index": each} | ({} if delete_old else {"alias": name})} for each in old]
        actions += [{taken: {"index": each}} for each in companions]
        client.indices.update_aliases(body={"actions": actions})
    return old


def _said_of_documents(name: str, aliases: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The filter and routing of an alias, which must be the same for all of its indices."""
    said = [{key: alias[key] for key in _KEPT_OF_ALIASES if key in alias} for alias in aliases]
    if any(each != said[0] for each in said):
        raise IndexMappingError(
            f"The alias {name!r} has another filter or routing for each of its indices; point it at the new index by "
            "hand."
        )
    return said[0] if said else {}


def _to_document(hit: Mapping[str, Any]) -> Document:
    source = restored(hit["_source"])
    fields = {name: value for name, value in source.items() if name not in _OWN}
    title, text, metadata = source.get("title", ""), source.get("text", ""), source.get("metadata", {})
    return Document(hit["_id"], text, title, metadata, fields, hit["_version"], hit.get("_routing"))


def _is_same(hit: Mapping[str, Any], copy: Mapping[str, Any]) -> bool:
    if not copy.get("found") or copy.get("_routing") != hit.get("_routing"):
        return False
    return _digest(restored(copy["_source"])) == _digest(restored(hit["_source"]))


def _digest(source: Mapping[str, Any]) -> str:
    """Of what a document is, whatever the order of its keys and whether empty ones are left out."""
    content = {name: value for name, value in source.items() if value not in ("", {}, None)}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _first_words(source: Mapping[str, Any]) -> str:
    return " ".join(f"{source.get('title', '')} {source.get('text', '')}".split()[:_WORDS])


def _share_found(retriever: Retriever, queries: Sequence[str], ids: Sequence[str]) -> float:
    if not queries:
        return 1.0
    found = retriever.search_many(queries, top_k=10)
    held = [doc_id in {hit.doc_id for hit in hits} for hits, doc_id in zip(found, ids, strict=True)]
    return sum(held) / len(held)
