"""Blue-green re-encoding: copy an index with another encoder and check the copy before the alias switches."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from opensearchpy import OpenSearch

from connector.connection.client import explained
from connector.errors import IndexMappingError
from connector.index.drop import companions_of
from connector.index.guard import WithoutFeaturesError
from connector.index.hits import hits_with_ids, read_hits
from connector.index.pipelines import PIPELINE_PREFIX, pipelines_in
from connector.index.schema import IndexSchema
from connector.index.sizes import all_of, count_matching
from connector.ingest.sample import MAX_SAMPLED
from connector.query.clauses import at_random
from connector.search.retriever import Retriever
from connector.types import Document, content_of, restored

_OWN = ("title", "text", "metadata")
_COPIED_SETTINGS = (
    "number_of_shards",
    "number_of_replicas",
    "analysis",
    "similarity",
    "mapping",
    "max_result_window",
    "refresh_interval",
)
"""Settings that a replacement has from the start. Declared fields may need their analyzers, normalizers, similarities
and limits, such as that of the number of fields (`mapping`)."""

_KEPT_OF_ALIASES = ("filter", "index_routing", "search_routing", "is_hidden")
_WORDS = 12
_COMPARED = 500
_SIGNIFICANT = 2.33
"""Standard errors of a drop that chance exceeds in one of 100 samples."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """How a new index compares with the index it is to replace.

    Attributes:
        documents: Number of documents in the old index.
        new_documents: Number of documents in the new index.
        sampled: Number of documents sampled from the old index.
        differing: Ids of sampled documents that the new index lacks or holds with other content or routing.
        found: Known-item recall of the old index: the fraction of the sample found in the top 10 by their first words.
        new_found: Known-item recall of the new index.
        lost: Number of sampled documents that only the old index finds.
        gained: Number of sampled documents that only the new index finds.
        kept: Ids of documents whose newer versions in the new index differ from those in the old index.
    """

    documents: int
    new_documents: int
    sampled: int
    differing: tuple[str, ...]
    found: float
    new_found: float
    lost: int
    gained: int
    kept: tuple[str, ...] = ()

    def objections(self, tolerance: float) -> list[str]:
        """Return the reasons why the new index should not replace the old one.

        Args:
            tolerance: Largest allowed drop from `found` to `new_found`. A larger one counts only if it is significant
                (p < 0.01, one-sided): two equally good indices find different documents.
        """
        said = []
        if self.new_documents != self.documents:
            said.append(f"it holds {self.new_documents:,} documents instead of {self.documents:,}")
        if self.differing:
            names = ", ".join(self.differing[:3])
            said.append(f"{len(self.differing)} of {self.sampled} sampled documents are missing or differ ({names})")
        if self.kept:
            said.append(
                f"it keeps newer versions of {len(self.kept):,} documents ({', '.join(self.kept[:3])}), which differ; "
                "unless another writer will write them to both indices, delete the new index and run this again"
            )
        if self.found - self.new_found > max(tolerance, _SIGNIFICANT * self.drop_error):
            said.append(f"its known-item recall is {self.new_found:.1%}, that of the old index {self.found:.1%}")
        return said

    @property
    def drop_error(self) -> float:
        """Standard error of the drop from `found` to `new_found`, of paired samples."""
        difference = self.lost - self.gained
        return math.sqrt(self.lost + self.gained - difference**2 / self.sampled) / self.sampled if self.sampled else 0.0


def read_index(client: OpenSearch, index: str) -> Iterator[Document]:
    """Read all documents of an index with their versions and routings.

    Writing a document with its version to another index does not overwrite a newer one there.

    Args:
        client: A connected client.
        index: One index, or several joined by commas. Not an alias: its filter and routing would hide documents.

    Raises:
        BulkWriteError: The server stayed busy or unreachable for ten minutes.
        ClusterError: The server denies access, or no longer has the index or the open search.
    """
    for hit in read_hits(client, index, all_of(()) | {"version": True}, patient=True):
        yield _to_document(hit)


class RandomTexts:
    """Texts of random documents of an index, for the statistics and the dictionary of its replacement.

    The first documents would not represent an index whose subject changed as it grew.

    Args:
        client: A connected client.
        index: As in `read_index`.
        seed: Random seed; the same documents are drawn while the index does not change.
    """

    def __init__(self, client: OpenSearch, index: str, *, seed: int = 0) -> None:
        self._client = client
        self._index = index
        self._seed = seed
        self._drawn: list[str] = []
        self._all_drawn = False

    def __call__(self, most: int = MAX_SAMPLED) -> list[str]:
        """Return up to `most` texts; the index is read only if more are wanted than before.

        Raises:
            BulkWriteError, ClusterError: As in `read_index`.
        """
        if len(self._drawn) < most and not self._all_drawn:
            self._drawn = self._draw(most)
            self._all_drawn = len(self._drawn) < most
        return self._drawn[:most]

    def _draw(self, most: int) -> list[str]:
        share = 1.0
        if total := count_matching(self._client, self._index):
            # Enough that fewer than `most` are improbable.
            share = (most + 4 * math.sqrt(most)) / total
        drawn = at_random(seed=self._seed)
        drawn["function_score"]["min_score"] = max(0.0, 1 - share)
        body = {"query": drawn, "_source": ["title", "text"]}
        sources = [hit["_source"] for hit in read_hits(self._client, self._index, body, patient=True)]
        texts = [content_of(source) for source in sources]
        return [texts[row] for row in np.random.default_rng(self._seed).permutation(len(texts))[:most]]


def copied_settings(client: OpenSearch, index: str) -> dict[str, Any]:
    """Read the settings of an index that its replacement should share.

    Raises:
        ClusterError: The server is unreachable or denies access.
        IndexMappingError: The name is an alias of several indices.
    """
    with explained(client):
        replies = list(client.indices.get_settings(index=index).values())
    if len(replies) > 1:
        raise IndexMappingError(f"{index} is an alias of {len(replies)} indices; name one of them.")
    own = replies[0]["settings"]["index"]
    return {name: own[name] for name in _COPIED_SETTINGS if name in own}


def compare_indices(
    client: OpenSearch, old: Retriever, new: Retriever, *, sample: int = 200, superseded: Sequence[str] = ()
) -> Comparison:
    """Compare the counts, the content of sampled documents and known-item recall.

    Args:
        client: A connected client.
        old: Searches the index to replace.
        new: Searches the new index.
        sample: Number of documents to compare.
        superseded: Ids of documents that were not copied because the new index had newer versions; all are compared.
            Versions of a document that was deleted and written again start anew, so they may be older.

    Raises:
        ClusterError, SearchError: The server rejected a request.
    """
    # Not by the alias, which may hide documents.
    names = [",".join(each.schema.names) for each in (old, new)]
    with explained(client):
        client.indices.refresh(index=",".join(names))
        counts = [count_matching(client, name) for name in names]
        hits = client.search(index=names[0], body={"query": at_random(), "size": sample})["hits"]["hits"]
        differing = _differing(client, names[1], hits)
        kept: tuple[str, ...] = ()
        for start in range(0, len(superseded), _COMPARED):
            some = hits_with_ids(client, names[0], superseded[start : start + _COMPARED])
            kept += _differing(client, names[1], list(some))
    ids = [hit["_id"] for hit in hits]
    queries = [_first_words(hit["_source"]) for hit in hits]
    held, new_held = (_found(each, queries, ids) for each in (old, new))
    lost, gained = (int(np.sum(one & ~other)) for one, other in ((held, new_held), (new_held, held)))
    return Comparison(counts[0], counts[1], len(hits), differing, _share(held), _share(new_held), lost, gained, kept)


def check_switch(client: OpenSearch, name: str, index: str, *, delete_old: bool = False) -> None:
    """Check before encoding that `switch_alias` will be possible afterwards.

    Raises:
        ClusterError: The server is unreachable or denies access.
        IndexMappingError: `name` is an index and `delete_old` is not set.
    """
    with explained(client):
        taken = bool(client.indices.exists(index=name)) and not client.indices.exists_alias(name=name)
    if taken and not delete_old:
        raise IndexMappingError(
            f"{name} is an index, so no alias can take its name while it exists. Delete it at the end "
            f"(--delete-old), or keep both (--no-switch) and search {index}."
        )


def check_target(schema: IndexSchema, index: str, there: IndexSchema | None) -> None:
    """Check that an index can replace the one that a schema describes: a different index, not an alias.

    Args:
        schema: Schema of the index to replace.
        index: Name of the new index.
        there: Schema found under this name, None if there is none.

    Raises:
        IndexMappingError: It cannot.
    """
    if index == schema.index:
        raise IndexMappingError(f"{index} is the source; give the new index another name, e.g. {index}-2.")
    if index in schema.names:
        raise IndexMappingError(f"{schema.index} already names {index}; give the new index another name.")
    if there is not None and there.names != (index,):
        raise IndexMappingError(f"{index} is an alias of {', '.join(there.names)}; give the name of an index.")


def switch_alias(client: OpenSearch, name: str, index: str, *, delete_old: bool = False) -> list[str]:
    """Point an alias at one index only, atomically; the alias keeps its filter and routing.

    The index takes over the final pipeline that `ksparse connect` made for the alias, and the default pipeline of the
    indices before it if they have the same; only now, so that it does not process copied documents again.

    Args:
        client: A connected client.
        name: The alias, or the name of an index that `delete_old` deletes.
        index: The index to point at.
        delete_old: Delete the indices behind the alias; their other aliases move to the new index, which they write if
            they wrote an old one.

    Returns:
        The indices that the alias named before.

    Raises:
        ClusterError: The server is unreachable or denies access.
        IndexMappingError: As in `check_switch`, or the alias has a different filter or routing for each index.
    """
    check_switch(client, name, index, delete_old=delete_old)
    with explained(client):
        is_alias = bool(client.indices.exists_alias(name=name))
        replies = client.indices.get_alias(name=name) if is_alias else {}
        named = sorted(replies) if is_alias else [name] if client.indices.exists(index=name) else []
        old = [each for each in named if each != index]
        said = _said_of_documents(name, [replies[each]["aliases"][name] for each in old or named if each in replies])
        kept = {**(_aliases_of(client, old) if delete_old else {}), name: said | {"is_write_index": True}}
        companions = companions_of(client, old) if delete_old else []
        pipelines: dict[str, str] = {}
        pipeline = f"{PIPELINE_PREFIX}{name}"
        if pipeline in final_pipelines(client, old).values() and not final_pipelines(client, [index]):
            # Without it, other clients' documents would be stored without features. With another encoder it refuses
            # them until `ksparse connect` runs again.
            pipelines["index.final_pipeline"] = pipeline
        defaults = set(_pipelines(client, old, "default_pipeline").values())
        if len(defaults) == 1 and not _pipelines(client, [index], "default_pipeline"):
            pipelines["index.default_pipeline"] = defaults.pop()
        if pipelines:
            client.indices.put_settings(index=index, body=pipelines)
        taken = "remove_index" if delete_old else "remove"
        actions: list[dict[str, Any]] = [
            {"add": {"index": index, "alias": alias, **facts}} for alias, facts in kept.items()
        ]
        actions += [{taken: {"index": each} | ({} if delete_old else {"alias": name})} for each in old]
        actions += [{taken: {"index": each}} for each in companions]
        client.indices.update_aliases(body={"actions": actions})
    return old


def final_pipelines(client: OpenSearch, indices: Sequence[str]) -> dict[str, str]:
    """Return the final ingest pipeline of each index that has one. Errors pass through."""
    return _pipelines(client, indices, "final_pipeline")


def _pipelines(client: OpenSearch, indices: Sequence[str], setting: str) -> dict[str, str]:
    if not indices:
        return {}
    return pipelines_in(client.indices.get_settings(index=",".join(indices), name=f"index.{setting}"), setting)


def _aliases_of(client: OpenSearch, indices: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Definition of each alias of indices that are to be deleted; of several, the first one, which writes if one does.

    Errors pass through.
    """
    found: dict[str, dict[str, Any]] = {}
    for index in indices:
        for alias, said in client.indices.get_alias(index=index)[index]["aliases"].items():
            kept = found.setdefault(alias, _said_of_documents(alias, [said]))
            if "is_write_index" in said:
                kept["is_write_index"] = kept.get("is_write_index", False) or said["is_write_index"]
    return found


def _said_of_documents(name: str, aliases: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The filter and routing of an alias, which must be the same for all of its indices."""
    said = [{key: alias[key] for key in _KEPT_OF_ALIASES if key in alias} for alias in aliases]
    if any(each != said[0] for each in said):
        raise IndexMappingError(
            f"The alias {name!r} has a different filter or routing for each of its indices; switch it by hand."
        )
    return said[0] if said else {}


def _to_document(hit: Mapping[str, Any]) -> Document:
    source = restored(hit["_source"])
    fields = {name: value for name, value in source.items() if name not in _OWN}
    title, text, metadata = source.get("title") or "", source.get("text") or "", source.get("metadata") or {}
    return Document(hit["_id"], text, title, metadata, fields, hit["_version"], hit.get("_routing"))


def _differing(client: OpenSearch, index: str, hits: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Ids of the hits of which an index has no copy with the same content and routing. Errors pass through."""
    wanted = [{"_id": hit["_id"]} | ({"routing": hit["_routing"]} if "_routing" in hit else {}) for hit in hits]
    copies = client.mget(index=index, body={"docs": wanted})["docs"] if hits else []
    return tuple(hit["_id"] for hit, copy in zip(hits, copies, strict=True) if not _is_same(hit, copy))


def _is_same(hit: Mapping[str, Any], copy: Mapping[str, Any]) -> bool:
    if not copy.get("found") or copy.get("_routing") != hit.get("_routing"):
        return False
    return _digest(restored(copy["_source"])) == _digest(restored(hit["_source"]))


def _digest(source: Mapping[str, Any]) -> str:
    """Digest of a document's content, independent of key order and of empty keys."""
    content = {name: value for name, value in source.items() if value not in ("", {}, None)}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _first_words(source: Mapping[str, Any]) -> str:
    return " ".join(content_of(source).split()[:_WORDS])


def _found(retriever: Retriever, queries: Sequence[str], ids: Sequence[str]) -> NDArray[np.bool_]:
    """Whether each document is found by its query, as bool; without documents that have no text."""
    asked = [(query, doc_id) for query, doc_id in zip(queries, ids, strict=True) if query]
    try:
        found = retriever.search_many([query for query, _ in asked], top_k=10) if asked else []
    except WithoutFeaturesError:
        found = [[]] * len(asked)
    held = [doc_id in {hit.doc_id for hit in hits} for hits, (_, doc_id) in zip(found, asked, strict=True)]
    return np.array(held, dtype=bool)


def _share(held: NDArray[np.bool_]) -> float:
    return float(held.mean()) if held.size else 1.0
