"""The write target of a name: an index, or an alias with its write index and routing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from logging import getLogger
from typing import Any, NamedTuple

from opensearchpy import OpenSearch
from opensearchpy.exceptions import AuthorizationException, NotFoundError, RequestError

from connector.errors import IndexMappingError
from connector.index.aliases import hides_from_writes
from connector.index.derived import DERIVED_MAPPING, derived_in
from connector.index.meta import META_KEY, check_format
from connector.types import Deletion, Document, SparseDocument

_log = getLogger("ksparse.index")

_SETTINGS = ",".join(
    f"*.settings.index.{name}" for name in ("uuid", "number_of_shards", "default_pipeline", "final_pipeline")
)
_MAPPING = ",".join(
    f"*.mappings.{name}"
    for name in (
        "_routing",
        *(f"_meta.{META_KEY}.{key}" for key in ("format", "weight_exponent", "encoder.digest")),
        *(f"properties.{path}" for path in DERIVED_MAPPING),
    )
)


class IndexState(NamedTuple):
    """Properties of an index that may change while it is written.

    Attributes:
        uuid: UUID of the index.
        has_pipeline: Whether an ingest pipeline processes documents.
        shards: Number of primary shards; 0 if unknown.
    """

    uuid: str
    has_pipeline: bool
    shards: int = 0


class StoredFormat(NamedTuple):
    """What all documents of an index share.

    Attributes:
        encoder: Digest of the encoder's fingerprint; empty if ksparse did not create the index.
        weight_exponent: Exponent of the power of two by which stored weights are multiplied.
    """

    encoder: str = ""
    weight_exponent: int = 0


@dataclass(frozen=True, slots=True)
class WriteTarget:
    """The write target of a name.

    Attributes:
        name: Name of an index or alias.
        states: States of the indices behind it, by name.
        formats: Formats of the indices, by name.
        derived: Derived fields of the indices (`connector.index.derived`).
        is_alias: Whether the name is known to be an alias.
        index: The write index; None if unknown or missing.
        routing: Routing that the alias sets for writes.
        hides_documents: Whether writes can reach documents that the alias hides from searches.
        routing_required: Whether documents must have a routing.
    """

    name: str
    states: Mapping[str, IndexState] = field(default_factory=dict)
    formats: Mapping[str, StoredFormat] = field(default_factory=dict)
    derived: frozenset[str] = frozenset()
    is_alias: bool = False
    index: str | None = None
    routing: str | None = None
    hides_documents: bool = False
    routing_required: bool = False

    @property
    def has_pipeline(self) -> bool:
        """Whether an ingest pipeline may process documents."""
        return any(state.has_pipeline for state in self.states.values())

    @property
    def weight_exponent(self) -> int:
        """The exponent of the power of two by which stored weights are multiplied.

        Raises:
            IndexMappingError: The indices have different exponents.
        """
        exponents = {each.weight_exponent for each in self.formats.values()}
        if len(exponents) > 1:
            raise IndexMappingError(
                f"{self.name} spans indices that store weights on different scales; name one of "
                f"{', '.join(self.formats)}."
            )
        return next(iter(exponents), 0)

    @property
    def finds_by_id(self) -> bool:
        """Whether an id alone finds a document with any routing: the write index is known to have only one shard."""
        state = self.states.get(self.index or "")
        return state is not None and state.shards == 1 and not self.routing_required

    def takes(self, index: str) -> bool:
        """Whether a write to an index belongs to this target."""
        return index == self.index if self.index is not None else not self.states or index in self.states

    def routing_of(self, record: Document | SparseDocument | Deletion) -> str | None:
        """The routing for writing or deleting a document.

        Raises:
            ValueError: The document's routing contradicts the alias, or a required routing is missing.
        """
        if self.routing is not None:
            if record.routing not in (None, self.routing):
                raise ValueError(
                    f"'_routing' is {record.routing!r}, but the alias {self.name!r} writes by {self.routing!r}; leave "
                    f"it out, or write to the index {self.index!r}"
                )
            return self.routing
        if record.routing is None and self.routing_required:
            raise ValueError(f"has no '_routing', which the index {self.index or self.name!r} requires")
        return record.routing

    def check_single(self, verb: str) -> None:
        """Check that there is only one index in which to look up ids.

        Raises:
            IndexMappingError: There are several indices.
        """
        if len(self.states) > 1:
            raise IndexMappingError(
                f"{self.name} spans {len(self.states)} indices, but a document is {verb} by id in one; name the "
                f"one that has it: {', '.join(sorted(self.states))}."
            )


def read_states(client: OpenSearch, name: str) -> dict[str, IndexState]:
    """Read the state of each index behind a name. Errors pass through."""
    replies = client.indices.get_settings(index=name, params={"filter_path": _SETTINGS})
    return {index: _state(reply["settings"]["index"]) for index, reply in replies.items()}


def read_target(client: OpenSearch, name: str) -> WriteTarget:
    """Read the write target of a name; without indices if there are none. Errors pass through."""
    try:
        states = read_states(client, name)
        mappings = client.indices.get_mapping(index=name, params={"filter_path": _MAPPING})
    except (NotFoundError, RequestError):
        return WriteTarget(name)  # the next request reports the error
    # The reply omits indices without any of the requested parts.
    found = {index: mappings.get(index, {}).get("mappings", {}) for index in states}
    definitions = {} if name in states else _read_aliases(client, name)
    aliases = definitions or {}
    written = _write_index(states, aliases)
    return WriteTarget(
        name,
        states,
        {index: _format(index, mapping) for index, mapping in found.items()},
        _derived(found.values()),
        is_alias=bool(aliases),
        index=written,
        routing=aliases.get(written or "", {}).get("index_routing"),
        hides_documents=definitions is None or hides_from_writes(aliases),
        routing_required=any(mapping.get("_routing", {}).get("required", False) for mapping in found.values()),
    )


def _read_aliases(client: OpenSearch, name: str) -> dict[str, dict[str, Any]] | None:
    """Alias definitions by index; empty if the API is missing, None if they may not be read."""
    try:
        replies = client.indices.get_alias(name=name)
    except (NotFoundError, RequestError):
        return {}
    except AuthorizationException:
        _log.warning("Whether the alias %s hides documents cannot be read, so writes are slow.", name)
        return None
    return {index: reply["aliases"][name] for index, reply in replies.items() if name in reply["aliases"]}


def _write_index(states: Mapping[str, IndexState], aliases: Mapping[str, Mapping[str, Any]]) -> str | None:
    if not aliases:
        return next(iter(states)) if len(states) == 1 else None
    chosen = [index for index, alias in aliases.items() if alias.get("is_write_index", len(aliases) == 1)]
    return chosen[0] if chosen else None


def _state(settings: Mapping[str, Any]) -> IndexState:
    pipelines = {settings.get(f"{name}_pipeline", "_none") for name in ("default", "final")}
    return IndexState(str(settings["uuid"]), pipelines != {"_none"}, int(settings.get("number_of_shards", 0)))


def _derived(mappings: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    """The derived fields common to all indices."""
    found = [derived_in(mapping.get("properties", {})) for mapping in mappings]
    return frozenset.intersection(*found) if found else frozenset()


def _format(index: str, mapping: Mapping[str, Any]) -> StoredFormat:
    meta = mapping.get("_meta", {}).get(META_KEY, {})
    check_format(index, meta)
    return StoredFormat(meta.get("encoder", {}).get("digest", ""), int(meta.get("weight_exponent", 0)))
