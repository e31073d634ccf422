"""Create indices from `mappings/`, and read and check the schema of existing ones."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from opensearchpy import OpenSearch
from opensearchpy.exceptions import NotFoundError, RequestError

from connector.connection.client import explained, is_elasticsearch, reason_of
from connector.errors import EncoderMismatchError, IndexMappingError
from connector.index.companion import Companion
from connector.index.create import check_mapping, create_index
from connector.index.derived import derived_in
from connector.index.meta import META_KEY, IndexMeta, check_format, space_of
from connector.index.names import check_field_name, check_index_name, check_sendable, no_index
from connector.index.new_index import DEFAULT_INDEX, NewIndex
from connector.index.probe import probe_write
from connector.query.body import FEATURES_FIELD, SPACE_FIELD
from connector.query.paths import METADATA_KEYS, TEXT_TYPES, FieldType
from connector.query.rescore import CODE_FIELD, code_mapping
from connector.query.settings import SearchSettings
from connector.query.terms import TERMS_FIELD
from connector.source_tree import mappings_folder
from connector.types import WHOLE_FIELD, EncoderFingerprint
from connector.vectors.codes import RotatedCode
from connector.vectors.statistics import CorpusStatistics

STORED_FIELDS = ("title", "text", "metadata")
"""Fields of every index, besides declared ones."""

_OWN_FIELDS = ("_id", *STORED_FIELDS, FEATURES_FIELD, CODE_FIELD, SPACE_FIELD)
_RESERVED_FIELDS = (*_OWN_FIELDS, WHOLE_FIELD)


@dataclass(frozen=True, slots=True)
class IndexSchema:
    """The schema of an index or alias.

    Attributes:
        index: The given name.
        names: Names of the indices behind it.
        encoder: Fingerprint of the encoder that wrote it.
        fields: Types of the declared top-level fields, by name.
        statistics: Corpus statistics of the encoder; None if it has none.
        code: Quantizer of the stored codes; None without codes.
        weight_exponent: Exponent of the power of two by which stored weights are multiplied.
        search: Default search settings; None if not set.
        encoder_name: Name for `load_encoder`; empty if not recorded.
        space: Digest of what a query must share with the index: encoder, weight scale and codes.
        dictionary: Location of the encoder's dictionary in the cluster; None for other encoders.
        subfields: Types of the declared fields' subfields that all of the indices have, by path (`author.keyword`).
        metadata: Type of the field `metadata`: `flat_object`, or `flattened` on Elasticsearch.
    """

    index: str
    encoder: EncoderFingerprint
    fields: Mapping[str, str]
    statistics: CorpusStatistics | None = None
    code: RotatedCode | None = None
    weight_exponent: int = 0
    search: SearchSettings | None = None
    names: tuple[str, ...] = ()
    encoder_name: str = ""
    space: str = ""
    dictionary: Companion | None = None
    subfields: Mapping[str, str] = field(default_factory=dict)
    metadata: str = "flat_object"

    @property
    def filterable(self) -> dict[str, str]:
        """Types of what a filter can name, by path: declared fields, their subfields, and `METADATA_KEYS`."""
        return {**self.fields, **self.subfields, METADATA_KEYS: self.metadata}


def load_mapping(name: str) -> dict[str, Any]:
    """Read an index body from `mappings/`, e.g. `rank_features`."""
    body: dict[str, Any] = json.loads((mappings_folder() / f"{name}.json").read_text(encoding="utf-8"))
    return body


def index_body(meta: IndexMeta, new: NewIndex = DEFAULT_INDEX) -> dict[str, Any]:
    """Build the body that creates an index.

    Args:
        meta: Content of the mapping's `_meta` (about 20 KB with statistics).
        new: Fields, mappings and settings; also the default search settings if `meta` has none.

    Raises:
        ValueError: A field name is reserved or contains a dot.
    """
    if meta.search is None:
        meta = replace(meta, search=new.search)
    body = load_mapping("rank_features")
    body["mappings"]["properties"] |= _declared(new)
    body["mappings"] = dict(new.mappings) | body["mappings"]
    if TERMS_FIELD in derived_in(body["mappings"]["properties"]):
        _exclude(body, TERMS_FIELD)
    if meta.code is not None:
        body["mappings"]["properties"][CODE_FIELD] = code_mapping()
        _exclude(body, CODE_FIELD)
    stored = meta.to_json()
    body["mappings"]["_meta"] = {META_KEY: stored}
    body["mappings"]["properties"][SPACE_FIELD] = {"type": "constant_keyword", "value": space_of(stored)}
    if new.settings:
        body["settings"] = {"index": dict(new.settings)}
    return body


def check_new_index(client: OpenSearch, index: str, new: NewIndex = DEFAULT_INDEX) -> None:
    """Check the name and fields of a new index before slow work starts.

    Raises:
        IndexMappingError: The name or a field is invalid.
        ValueError: As in `index_body`.
    """
    check_index_name(index, new=True)
    properties = _declared(new)
    if properties:
        check_mapping(client, index, {"properties": properties}, new.settings)


def _declared(new: NewIndex) -> dict[str, Any]:
    """The additional properties of an index."""
    properties = {name: {"type": kind} for name, kind in new.fields.items()}
    properties |= {name: dict(definition) for name, definition in new.mappings.get("properties", {}).items()}
    for name in properties:
        check_field_name(name, _RESERVED_FIELDS)
    return properties


def _own_in(properties: Mapping[str, Any]) -> set[str]:
    """The fields of ksparse in a mapping; in an older index, a user's field may have the name of a newer one."""
    return {*_OWN_FIELDS, *({WHOLE_FIELD} & derived_in(properties))}


def _exclude(body: dict[str, Any], field: str) -> None:
    """Exclude a field from `_source`."""
    for excludes in body["mappings"]["_source"].values():
        excludes.append(field)


def read_schema(client: OpenSearch, index: str, *, timeout_s: float | None = None) -> IndexSchema | None:
    """Read the schema of an index; None if it does not exist.

    Args:
        client: A connected client.
        index: The index or alias.
        timeout_s: Timeout of the request in seconds; None means that of the client.

    Raises:
        ClusterError: The server is unreachable or denies access.
        IndexMappingError: The name is not valid Unicode, ksparse did not create the index, or an alias spans indices of
            several encoders.
    """
    check_sendable(index)
    try:
        with explained(client):
            params = {} if timeout_s is None else {"request_timeout": timeout_s}
            replies = client.indices.get_mapping(index=index, params=params)
    except NotFoundError:
        return None
    except RequestError as error:
        raise IndexMappingError(f"The server rejects index {index!r}: {reason_of(error)}") from error
    if not replies:
        return None
    try:
        schemas = [_parse(name, reply["mappings"]) for name, reply in sorted(replies.items())]
    except IndexMappingError as error:
        if index in replies:
            raise
        raise IndexMappingError(f"{index} names {', '.join(sorted(replies))}. {error}") from error
    digests = {schema.encoder.digest for schema in schemas}
    if len(digests) > 1:
        raise IndexMappingError(f"{index} spans indices of {len(digests)} encoders; name one of {', '.join(replies)}.")
    _only_exponent(index, {schema.index: schema.weight_exponent for schema in schemas})
    if len({schema.space for schema in schemas}) > 1:
        raise IndexMappingError(f"{index} spans indices with different codes; name one of {', '.join(replies)}.")
    fields = {name: kind for schema in reversed(schemas) for name, kind in schema.fields.items()}
    # Analysed in one of the indices: there, no filter on the field itself compares whole values.
    fields |= {name: kind for schema in schemas for name, kind in schema.fields.items() if kind in TEXT_TYPES}
    subfields = {
        path: kind
        for path, kind in schemas[0].subfields.items()
        if all(schema.subfields.get(path) == kind for schema in schemas)
    }
    return replace(schemas[0], index=index, fields=fields, names=tuple(sorted(replies)), subfields=subfields)


def read_spaces(client: OpenSearch, index: str) -> dict[str, tuple[str, str]]:
    """Read the minimum needed to decide whether a known schema is still current.

    Returns:
        Space and encoder digest of each index of ksparse behind `index`, by name.

    Raises:
        ClusterError: The server is unreachable or denies access.
    """
    meta = f"*.mappings._meta.{META_KEY}"
    kept = (f"{meta}.encoder.digest", f"{meta}.weight_exponent", f"{meta}.code", f"*.mappings.properties.{SPACE_FIELD}")
    try:
        with explained(client):
            replies = client.indices.get_mapping(index=index, params={"filter_path": ",".join(kept)})
    except (NotFoundError, RequestError):
        return {}
    ours = {name: reply["mappings"] for name, reply in replies.items() if "_meta" in reply["mappings"]}
    return {
        name: (_space(mappings), mappings["_meta"][META_KEY]["encoder"]["digest"]) for name, mappings in ours.items()
    }


def read_further_mappings(client: OpenSearch, index: str) -> dict[str, Any]:
    """Read the user's parts of an index's mapping, in the form that `index_body` takes.

    Raises:
        ClusterError: The server is unreachable or denies access.
    """
    with explained(client):
        mappings = next(iter(client.indices.get_mapping(index=index).values()))["mappings"]
    own = _own_in(mappings["properties"])
    properties = {name: facts for name, facts in mappings["properties"].items() if name not in own}
    ours = ("_meta", "_source", "dynamic", "properties")
    return {name: part for name, part in mappings.items() if name not in ours} | {"properties": properties}


def save_search_defaults(client: OpenSearch, index: str, defaults: SearchSettings) -> None:
    """Store default search settings in an index (or in all indices of an alias).

    Raises:
        ClusterError: The server is unreachable or denies access.
        IndexMappingError: The index does not exist, or ksparse did not create it.
    """
    existing_schema(client, index)
    with explained(client):
        for name, reply in client.indices.get_mapping(index=index).items():
            # The server replaces `_meta` as a whole.
            meta = reply["mappings"]["_meta"]
            meta[META_KEY]["search"] = defaults.to_json()
            client.indices.put_mapping(index=name, body={"_meta": meta})


def uuids_of(client: OpenSearch, index: str) -> dict[str, str]:
    """Return the UUID of each index behind a name. Errors pass through."""
    replies = client.indices.get_settings(index=index, params={"filter_path": "*.settings.index.uuid"})
    return {name: str(reply["settings"]["index"]["uuid"]) for name, reply in replies.items()}


def read_uuid(client: OpenSearch, index: str) -> str:
    """Read the UUID of an index; the joined UUIDs for an alias of several.

    Raises:
        ClusterError: The server is unreachable or denies access.
        IndexMappingError: The index does not exist.
    """
    try:
        with explained(client):
            return ",".join(sorted(uuids_of(client, index).values()))
    except NotFoundError as error:
        raise IndexMappingError(no_index(index)) from error


def read_weight_exponent(client: OpenSearch, index: str) -> int:
    """Read the exponent of the power of two by which stored weights are multiplied; 0 if not recorded.

    Raises:
        ClusterError: The server is unreachable or denies access.
        IndexMappingError: An alias spans indices with different exponents.
    """
    try:
        with explained(client):
            meta = f"*.mappings._meta.{META_KEY}"
            # The digest is in every index of ksparse; the reply would omit an index without an exponent.
            filter_path = f"{meta}.weight_exponent,{meta}.format,{meta}.encoder.digest"
            replies = client.indices.get_mapping(index=index, params={"filter_path": filter_path})
    except (NotFoundError, RequestError):
        return 0  # the next request reports the error
    metas = {name: reply["mappings"]["_meta"][META_KEY] for name, reply in replies.items()}
    for name, meta_of in metas.items():
        check_format(name, meta_of)
    return _only_exponent(index, {name: int(meta_of.get("weight_exponent", 0)) for name, meta_of in metas.items()})


def existing_schema(client: OpenSearch, index: str, *, timeout_s: float | None = None) -> IndexSchema:
    """Read the schema of an index that must exist; arguments as for `read_schema`.

    Raises:
        ClusterError: The server is unreachable or denies access.
        IndexMappingError: The index does not exist, or ksparse did not create it.
    """
    schema = read_schema(client, index, timeout_s=timeout_s)
    if schema is None:
        raise IndexMappingError(no_index(index))
    return schema


def check_encoder(schema: IndexSchema, encoder: EncoderFingerprint) -> None:
    """Check that this encoder wrote an index.

    Raises:
        EncoderMismatchError: Another encoder wrote it.
    """
    if schema.encoder.digest != encoder.digest:
        raise EncoderMismatchError(
            f"Index {schema.index!r} was written by encoder {schema.encoder}, this is {encoder}: their features do not "
            "match. Load the encoder that wrote the index, with the same k, or ingest into a new index."
        )


def prepare_index(client: OpenSearch, index: str, meta: IndexMeta, new: NewIndex = DEFAULT_INDEX) -> IndexSchema:
    """Create an index unless it exists, and check that it accepts writes.

    Args:
        client: A connected client.
        index: Name of the index.
        meta: The encoder of the index; the rest applies only to a new index.
        new: Fields, which an existing index must have; the rest applies only to a new index.

    Raises:
        ClusterError: The server is unreachable, or denies creating the index or writing to it.
        IndexMappingError: The index exists with another mapping, or its name or a field is invalid.
        EncoderMismatchError: Another encoder wrote it.
    """
    check_index_name(index)
    schema = read_schema(client, index)
    if schema is None:
        check_index_name(index, new=True)
        body = index_body(meta, new)
        if is_elasticsearch(client):
            for definition in body["mappings"]["properties"].values():
                if definition.get("type") == "flat_object":
                    definition["type"] = "flattened"
        if not create_index(client, index, body):
            return prepare_index(client, index, meta, new)
        return _parse(index, body["mappings"])
    check_encoder(schema, meta.encoder)
    check_fields(schema, new.fields)
    probe_write(client, index)
    return schema


def check_fields(schema: IndexSchema, fields: Mapping[str, str]) -> None:
    """Check that an index declares fields of the given types.

    Raises:
        IndexMappingError: A field is missing, has another type, or a name that no index can declare.
    """
    missing = {name: kind for name, kind in fields.items() if schema.fields.get(name) != kind}
    for name in missing:
        try:
            check_field_name(name, _RESERVED_FIELDS)
        except ValueError as error:
            raise IndexMappingError(str(error)) from error
    if missing:
        wanted = ", ".join(f"{name}:{kind}" for name, kind in missing.items())
        raise IndexMappingError(
            f"Index {schema.index!r} exists and does not declare {wanted}. Leave it out, or ingest into a new index."
        )


def _only_exponent(index: str, exponents: Mapping[str, int]) -> int:
    """The common exponent of all indices behind a name; 0 without indices."""
    if len(set(exponents.values())) > 1:
        raise IndexMappingError(
            f"{index} spans indices that store weights on different scales; name one of {', '.join(exponents)}."
        )
    return next(iter(exponents.values()), 0)


def _space(mappings: Mapping[str, Any]) -> str:
    """The space recorded in an index, or its value for an older index without that field."""
    said = mappings.get("properties", {}).get(SPACE_FIELD, {}).get("value")
    return said if said is not None else space_of(mappings["_meta"][META_KEY])


def _parse(name: str, mappings: Mapping[str, Any]) -> IndexSchema:
    meta = mappings.get("_meta", {}).get(META_KEY)
    properties = mappings.get("properties", {})
    kind = properties.get(FEATURES_FIELD, {}).get("type")
    ours = isinstance(meta, dict)
    if ours:
        check_format(name, meta)
    if not ours or kind != "rank_features":
        found = f"{kind} features" if ours else f"its field {FEATURES_FIELD!r} is {kind or 'missing'}"
        raise IndexMappingError(f"Index {name!r} was not created by ksparse ({found}); name another one.")
    if mappings.get("_source", {}).get("enabled") is False:
        raise IndexMappingError(
            f"Index {name!r} does not store its documents (_source is disabled); ingest into a new index whose name "
            "matches no template with that setting."
        )
    known = IndexMeta.from_json(name, meta)
    own = _own_in(properties)
    definitions = {name: definition for name, definition in properties.items() if name not in own}
    declared: dict[str, str] = {name: FieldType.of(definition) for name, definition in definitions.items()}
    return IndexSchema(
        name,
        known.encoder,
        declared,
        known.statistics,
        known.code,
        known.weight_exponent,
        known.search,
        names=(name,),
        encoder_name=known.encoder_name,
        space=_space(mappings),
        dictionary=known.dictionary,
        subfields={path: kind for each in definitions.items() for path, kind in _subfields(*each).items()},
        metadata=properties.get("metadata", {}).get("type", ""),
    )


def _subfields(path: str, definition: Mapping[str, Any]) -> dict[str, str]:
    """Types of the subfields of a field and of the fields of an object, by path."""
    found: dict[str, str] = {}
    if definition.get("type") == "nested":  # no clause on a path finds these
        return found
    for name, inner in (definition.get("fields", {}) | definition.get("properties", {})).items():
        found[f"{path}.{name}"] = FieldType.of(inner)
        found |= _subfields(f"{path}.{name}", inner)
    return found
