from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from urllib.parse import quote

import pytest
from opensearchpy import OpenSearch
from opensearchpy.exceptions import RequestError, TransportError

from connector.connection.client import check_server, connect
from connector.errors import ClusterError, EncoderMismatchError, IndexMappingError
from connector.index.meta import IndexMeta
from connector.index.new_index import NewIndex
from connector.index.schema import (
    IndexSchema,
    check_encoder,
    existing_schema,
    index_body,
    prepare_index,
    read_schema,
    read_weight_exponent,
)
from connector.index.writer import BulkWriter
from connector.query.settings import SearchSettings
from connector.types import EncoderFingerprint, SparseDocument

pytestmark = pytest.mark.opensearch

BAD_NAMES = [
    *(f"a{character}b" for character in '\\/*?"<>| ,#:'),
    *(f"{character}ab" for character in "_-+"),
    *(".", "..", "x" * 256, "é" * 128),
]


@pytest.fixture
def other(fingerprint: EncoderFingerprint) -> EncoderFingerprint:
    return replace(fingerprint, base_model="other", weights_sha256="cd" * 32)


def test_the_server_is_new_enough(client: OpenSearch) -> None:
    assert check_server(client).version.startswith("3.")


def test_a_missing_index_is_made_with_our_mapping(
    client: OpenSearch, index: str, fingerprint: EncoderFingerprint
) -> None:
    schema = prepare_index(
        client, index, IndexMeta(fingerprint), NewIndex(fields={"year": "integer"}, settings={"number_of_shards": 2})
    )
    assert schema == IndexSchema(index, fingerprint, {"year": "integer"}, names=(index,), space=schema.space)
    mapping = client.indices.get_mapping(index=index)[index]["mappings"]
    assert mapping["dynamic"] == "strict"
    # With `recovery_source_excludes`, a copy of a shard that is recovered by its operations loses the features.
    assert mapping["_source"] == {"excludes": ["features"]}
    assert {name: facts["type"] for name, facts in mapping["properties"].items()} == {
        "title": "text",
        "text": "text",
        "metadata": "flat_object",
        "unindexed": "object",
        "features": "rank_features",
        "year": "integer",
        "ksparse_space": "constant_keyword",
    }
    assert mapping["properties"]["ksparse_space"]["value"] == schema.space
    settings = client.indices.get_settings(index=index)[index]["settings"]["index"]
    assert settings["number_of_shards"] == "2"


@pytest.mark.parametrize("k", [8, None])
def test_the_fingerprint_comes_back_whole(
    client: OpenSearch, index: str, fingerprint: EncoderFingerprint, k: int | None
) -> None:
    written = replace(fingerprint, k=k, max_seq_length=k, revision="abc")
    prepare_index(client, index, IndexMeta(written))
    assert existing_schema(client, index).encoder == written
    meta = client.indices.get_mapping(index=index)[index]["mappings"]["_meta"]
    assert meta["ksparse"]["encoder"]["digest"] == written.digest


def test_an_index_that_is_there_is_taken_again(client: OpenSearch, index: str, fingerprint: EncoderFingerprint) -> None:
    first = prepare_index(client, index, IndexMeta(fingerprint), NewIndex(fields={"year": "integer"}))
    assert prepare_index(client, index, IndexMeta(fingerprint)) == first
    assert (
        prepare_index(
            client, index, IndexMeta(replace(fingerprint, base_model="copy")), NewIndex(fields={"year": "integer"})
        )
        == first
    )
    assert client.count(index=index)["count"] == 0, "the probe left a document"


def test_another_encoder_is_refused_with_both_named(
    client: OpenSearch, index: str, fingerprint: EncoderFingerprint, other: EncoderFingerprint
) -> None:
    schema = prepare_index(client, index, IndexMeta(fingerprint))
    for check in (lambda: prepare_index(client, index, IndexMeta(other)), lambda: check_encoder(schema, other)):
        with pytest.raises(EncoderMismatchError, match="their features do not match") as caught:
            check()
        assert str(fingerprint) in str(caught.value)
        assert str(other) in str(caught.value)


def test_a_missing_index_is_none_or_an_error_with_the_next_step(client: OpenSearch, index: str) -> None:
    assert read_schema(client, index) is None
    with pytest.raises(IndexMappingError, match=f"no index '{index}'. Create it with `ksparse ingest CORPUS --index"):
        existing_schema(client, index)
    assert not client.indices.exists(index=index)


@pytest.mark.parametrize(
    ("properties", "found"),
    [
        ({"title": {"type": "text"}}, "its field 'features' is missing"),
        ({"features": {"type": "keyword"}}, "its field 'features' is keyword"),
        ({"features": {"type": "rank_features"}}, "its field 'features' is rank_features"),
    ],
)
def test_an_index_of_somebody_else_is_refused(
    client: OpenSearch,
    index: str,
    fingerprint: EncoderFingerprint,
    properties: dict[str, dict[str, str]],
    found: str,
) -> None:
    client.indices.create(index=index, body={"mappings": {"properties": properties}})
    with pytest.raises(IndexMappingError, match=rf"was not created by ksparse \({found}\); name another one"):
        prepare_index(client, index, IndexMeta(fingerprint))


def test_further_parts_of_a_mapping_stand_beside_ours(
    client: OpenSearch, index: str, fingerprint: EncoderFingerprint
) -> None:
    numbers = {"numbers": {"type": "object", "dynamic": True}}
    mappings = {"date_detection": False, "dynamic": True, "properties": numbers}
    prepare_index(client, index, IndexMeta(fingerprint), NewIndex(mappings=mappings))
    found = client.indices.get_mapping(index=index)[index]["mappings"]
    assert found["date_detection"] is False and found["properties"]["numbers"] == numbers["numbers"] | {
        "dynamic": "true"
    }
    assert found["dynamic"] == "strict", "ours stays"
    with pytest.raises(ValueError, match="field 'features' cannot be declared"):
        index_body(IndexMeta(fingerprint), NewIndex(mappings={"properties": {"features": {"type": "keyword"}}}))


@pytest.mark.parametrize("fields", [{"year": "keyword"}, {"colour": "keyword"}])
def test_fields_that_an_index_does_not_declare_are_refused(
    client: OpenSearch, index: str, fingerprint: EncoderFingerprint, fields: dict[str, str]
) -> None:
    prepare_index(client, index, IndexMeta(fingerprint), NewIndex(fields={"year": "integer"}))
    [(name, kind)] = fields.items()
    with pytest.raises(IndexMappingError, match=f"exists and does not declare {name}:{kind}"):
        prepare_index(client, index, IndexMeta(fingerprint), NewIndex(fields=fields))


@pytest.mark.parametrize("name", ["Upper", *BAD_NAMES])
def test_a_bad_name_is_refused_by_us_and_would_be_by_the_server(
    client: OpenSearch, fingerprint: EncoderFingerprint, name: str
) -> None:
    with pytest.raises(IndexMappingError, match="Invalid index name .*: it must .*. Choose another name"):
        prepare_index(client, name, IndexMeta(fingerprint))
    with pytest.raises(TransportError):
        client.transport.perform_request("PUT", f"/{quote(name, safe='')}")


@pytest.mark.parametrize("name", [name for name in BAD_NAMES if name not in (".", "..")])
def test_no_alias_has_a_name_that_we_refuse(
    client: OpenSearch, index: str, fingerprint: EncoderFingerprint, name: str
) -> None:
    prepare_index(client, index, IndexMeta(fingerprint))
    with pytest.raises(RequestError):
        put_alias(client, name, index)


@pytest.mark.parametrize("name", ["{index}-Upper", "{index}.é+_-@!$&'()=;~^`[]{{}}%25", "{index}" + "x" * 238])
def test_what_the_server_takes_as_an_alias_is_written_to(
    client: OpenSearch, index: str, fingerprint: EncoderFingerprint, name: str
) -> None:
    alias = name.format(index=index)
    prepare_index(client, index, IndexMeta(fingerprint))
    put_alias(client, alias, index)
    assert prepare_index(client, alias, IndexMeta(fingerprint)).index == alias


def test_a_pattern_is_no_index_to_write_to(client: OpenSearch, index: str, fingerprint: EncoderFingerprint) -> None:
    prepare_index(client, index, IndexMeta(fingerprint))
    for pattern in (f"{index}*", f"{index},{index}", ""):
        with pytest.raises(IndexMappingError, match="Invalid index name"):
            prepare_index(client, pattern, IndexMeta(fingerprint))


@pytest.mark.parametrize("name", ["title", "text", "metadata", "features", "_id", "a.b", "", " ", "_x"])
def test_a_field_with_a_name_that_is_taken_is_refused(fingerprint: EncoderFingerprint, name: str) -> None:
    with pytest.raises(ValueError, match=f"field '{name}' cannot be declared: .* Rename it"):
        index_body(IndexMeta(fingerprint), NewIndex(fields={name: "keyword"}))


@pytest.mark.parametrize(
    ("fields", "settings", "reason"),
    [({"x": "nothing"}, {}, "No handler for type .nothing."), ({}, {"number_of_shards": 0}, "number_of_shards")],
)
def test_what_the_server_does_not_know_is_refused_in_one_line(
    client: OpenSearch,
    index: str,
    fingerprint: EncoderFingerprint,
    fields: dict[str, str],
    settings: dict[str, int],
    reason: str,
) -> None:
    with pytest.raises(IndexMappingError, match=f"refuses to create index '{index}': .*{reason}"):
        prepare_index(client, index, IndexMeta(fingerprint), NewIndex(fields=fields, settings=settings))


@pytest.mark.parametrize(
    "block",
    [
        "write",
        "read_only",
        "read_only_allow_delete",
    ],
)
def test_a_block_is_found_before_anything_is_encoded(
    client: OpenSearch, index: str, fingerprint: EncoderFingerprint, block: str
) -> None:
    prepare_index(client, index, IndexMeta(fingerprint))
    client.indices.put_settings(index=index, body={f"index.blocks.{block}": True})
    with pytest.raises(ClusterError, match=f"Index '{index}' cannot be written to: .* Lift the block"):
        prepare_index(client, index, IndexMeta(fingerprint))


def test_a_closed_index_is_found_before_anything_is_encoded(
    client: OpenSearch, index: str, fingerprint: EncoderFingerprint
) -> None:
    prepare_index(client, index, IndexMeta(fingerprint))
    client.indices.close(index=index)
    with pytest.raises(ClusterError, match=index):
        prepare_index(client, index, IndexMeta(fingerprint))


@pytest.fixture
def second(client: OpenSearch, index: str) -> Iterator[str]:
    yield f"{index}-2"
    client.indices.delete(index=f"{index}-2", ignore_unavailable=True)


def put_alias(client: OpenSearch, alias: str, *indices: str) -> None:
    client.indices.update_aliases(body={"actions": [{"add": {"index": each, "alias": alias}} for each in indices]})


def test_an_alias_has_the_schema_of_its_index(client: OpenSearch, index: str, fingerprint: EncoderFingerprint) -> None:
    schema = prepare_index(client, index, IndexMeta(fingerprint), NewIndex(fields={"year": "integer"}))
    put_alias(client, f"{index}-alias", index)
    assert prepare_index(client, f"{index}-alias", IndexMeta(fingerprint)) == replace(schema, index=f"{index}-alias")


def test_an_alias_of_two_encoders_is_refused(
    client: OpenSearch, index: str, second: str, fingerprint: EncoderFingerprint, other: EncoderFingerprint
) -> None:
    prepare_index(client, index, IndexMeta(fingerprint))
    prepare_index(client, second, IndexMeta(other))
    put_alias(client, f"{index}-alias", index, second)
    with pytest.raises(IndexMappingError, match=f"spans indices of 2 encoders; name one of .*{second}"):
        read_schema(client, f"{index}-alias")


def test_an_alias_that_cannot_be_written_to_is_found_before_anything_is_encoded(
    client: OpenSearch, index: str, second: str, fingerprint: EncoderFingerprint
) -> None:
    for name in (index, second):
        prepare_index(client, name, IndexMeta(fingerprint))
    put_alias(client, f"{index}-alias", index, second)
    with pytest.raises((ClusterError, IndexMappingError), match="write index"):
        prepare_index(client, f"{index}-alias", IndexMeta(fingerprint))


def test_a_server_that_is_unreachable_is_a_cluster_error(fingerprint: EncoderFingerprint) -> None:
    with (
        connect("http://127.0.0.1:1") as nobody,
        pytest.raises(ClusterError, match=r"No OpenSearch answers at http://127\.0\.0\.1:1"),
    ):
        prepare_index(nobody, "docs", IndexMeta(fingerprint))


def test_an_alias_of_two_scales_is_refused_by_readers_and_writers(
    client: OpenSearch, index: str, fingerprint: EncoderFingerprint
) -> None:
    """An index of an earlier version stores weights as they are."""
    second, alias = f"{index}-old", f"{index}-alias"
    prepare_index(client, index, IndexMeta(fingerprint, weight_exponent=-120))
    prepare_index(client, second, IndexMeta(fingerprint))
    try:
        for name in (index, second):
            client.indices.put_alias(index=name, name=alias)
        assert (read_weight_exponent(client, index), read_weight_exponent(client, second)) == (-120, 0)
        for read in (read_schema, read_weight_exponent, BulkWriter):
            with pytest.raises(IndexMappingError, match=f"{alias} spans indices that store weights on different"):
                read(client, alias)
    finally:
        client.indices.delete(index=second)


def make_index(client: OpenSearch, index: str, fingerprint: EncoderFingerprint, **meta: object) -> None:
    """An index whose `_meta` has other keys; None takes one away."""
    body = index_body(IndexMeta(fingerprint, search=SearchSettings(k_query=7)))
    kept = body["mappings"]["_meta"]["ksparse"] | meta
    body["mappings"]["_meta"]["ksparse"] = {name: value for name, value in kept.items() if value is not None}
    client.indices.create(index=index, body=body)


def test_a_new_index_records_the_format_and_where_its_encoder_is(
    client: OpenSearch, index: str, fingerprint: EncoderFingerprint
) -> None:
    prepare_index(client, index, IndexMeta(fingerprint, encoder_name="/models/my-head"))
    meta = client.indices.get_mapping(index=index)[index]["mappings"]["_meta"]["ksparse"]
    assert (meta["format"], meta["encoder_name"]) == (1, "/models/my-head")
    assert existing_schema(client, index).encoder_name == "/models/my-head"


@pytest.mark.parametrize("number", [None, 1, "1.7", 1.2])
def test_an_index_of_this_format_is_read_with_keys_that_nobody_knows(
    client: OpenSearch, index: str, fingerprint: EncoderFingerprint, number: object
) -> None:
    later = {"search": {"k_query": 7, "new": 1}, "encoder": asdict(fingerprint) | {"digest": "x", "new": [1]}}
    make_index(client, index, fingerprint, format=number, new={"a": 1}, **later)
    schema = existing_schema(client, index)
    assert schema.encoder == fingerprint
    assert schema.search is not None and schema.search.k_query == 7
    assert BulkWriter(client, index).write([SparseDocument("a", {"1": 1.0})]).indexed == 1


@pytest.mark.parametrize("number", [2, "2.0", 17])
def test_an_index_of_a_newer_format_is_refused(
    client: OpenSearch, index: str, fingerprint: EncoderFingerprint, number: object
) -> None:
    make_index(client, index, fingerprint, format=number)
    for use in (read_schema, prepare, BulkWriter):
        with pytest.raises(IndexMappingError, match=rf"'{index}' has format {number}, .* reads up to 1: upgrade"):
            use(client, index)


def prepare(client: OpenSearch, index: str) -> None:
    """With an encoder that need not exist."""
    prepare_index(client, index, IndexMeta(EncoderFingerprint("tiny", "", "ab" * 32, 8, 64, "mean", 12)))


@pytest.mark.parametrize(
    "meta",
    [{"encoder": None}, {"encoder": 7}, {"encoder": {"k": 8}}, {"search": [1]}, {"code": {}}, {"format": "one"}],
)
def test_a_damaged_index_is_named(
    client: OpenSearch, index: str, fingerprint: EncoderFingerprint, meta: dict[str, object]
) -> None:
    make_index(client, index, fingerprint, **meta)
    with pytest.raises(
        IndexMappingError, match=f"index '{index}'.* ingest into a new index|'{index}' has format 'one'"
    ):
        read_schema(client, index)


def test_subfields_and_fields_of_objects_can_be_filtered(
    client: OpenSearch, index: str, fingerprint: EncoderFingerprint
) -> None:
    exact = {"type": "text", "fields": {"exact": {"type": "keyword"}}}
    properties = {
        "author": exact,
        "person": {"properties": {"name": exact}},
        "many": {"type": "nested", "properties": {"name": exact}},
    }
    new = NewIndex(fields={"year": "integer"}, mappings={"properties": properties})
    created = prepare_index(client, index, IndexMeta(fingerprint), new)
    read = existing_schema(client, index)
    assert read.fields == created.fields == {"year": "integer", "author": "text", "person": "object", "many": "nested"}
    assert read.filterable == dict(read.fields) | {
        "author.exact": "keyword",
        "person.name": "text",
        "person.name.exact": "keyword",
        "metadata.*": "flat_object",
    }
