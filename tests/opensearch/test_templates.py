"""Templates of the server that a new index does not go together with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opensearchpy import OpenSearch
from opensearchpy.exceptions import NotFoundError

from connector.errors import ClusterError, IndexMappingError
from connector.index.meta import IndexMeta
from connector.index.schema import existing_schema, prepare_index
from connector.index.templates import templates_of
from connector.types import EncoderFingerprint

pytestmark = pytest.mark.opensearch

Put = Callable[..., str]


@pytest.fixture
def put(client: OpenSearch, index: str) -> Iterator[Put]:
    """Puts an index template for the index of the test, and returns its name."""
    made: list[str] = []

    def put(template: dict[str, Any], *, priority: int = 500, pattern: str = "", **further: Any) -> str:
        name = f"{index}-template-{len(made)}"
        body = {"index_patterns": [pattern or f"{index}*"], "template": template, "priority": priority}
        client.indices.put_index_template(name=name, body=body | further)
        made.append(name)
        return name

    yield put
    for name in made:
        client.indices.delete_index_template(name=name)


@pytest.fixture
def component(client: OpenSearch, index: str) -> Iterator[str]:
    """The name of a component template whose `features` is an object."""
    name = f"{index}-component"
    body = {"template": {"mappings": {"properties": {"features": {"properties": {"a": {"type": "keyword"}}}}}}}
    client.cluster.put_component_template(name=name, body=body)
    yield name
    # Derived resources are deleted first.
    client.indices.delete_index_template(name=f"{index}-template-0")
    client.cluster.delete_component_template(name=name)


@pytest.fixture
def legacy(client: OpenSearch, index: str) -> Iterator[Callable[[dict[str, Any]], str]]:
    name = f"{index}-legacy"

    def put(body: dict[str, Any]) -> str:
        client.indices.put_template(name=name, body=body | {"index_patterns": [f"{index[:12]}*"]})
        return name

    yield put
    client.indices.delete_template(name=name)


CONFLICTS: dict[str, tuple[dict[str, Any], str]] = {
    "metadata": (
        {"mappings": {"properties": {"metadata": {"type": "object"}}}},
        r"\[metadata\] with an object mapping",
    ),
    "limit": ({"settings": {"index.mapping.total_fields.limit": 2}}, r"Limit of total fields \[2\] has been exceeded"),
    "sort": ({"settings": {"index.sort.field": "year"}}, r"unknown index sort field:\[year\]"),
}


@pytest.mark.parametrize("conflict", CONFLICTS)
def test_a_template_that_conflicts_is_named(
    client: OpenSearch, index: str, fingerprint: EncoderFingerprint, put: Put, conflict: str
) -> None:
    template, reason = CONFLICTS[conflict]
    put({}, priority=1)
    name = put(template)
    put({}, priority=900, pattern="another-name-*")
    message = f"refuses to create index '{index}': .*{reason}. Index template '{name}' applies to this name: correct it"
    with pytest.raises(IndexMappingError, match=message):
        prepare_index(client, index, IndexMeta(fingerprint))
    assert not client.indices.exists(index=index)


def test_a_component_is_named_with_the_template_that_it_is_a_part_of(
    client: OpenSearch, index: str, fingerprint: EncoderFingerprint, component: str
) -> None:
    name = f"{index}-template-0"
    body = {"index_patterns": [f"{index}*"], "composed_of": [component], "priority": 500}
    client.indices.put_index_template(name=name, body=body)
    message = f"Index template '{name}', component template '{component}' applies"
    with pytest.raises(IndexMappingError, match=message):
        prepare_index(client, index, IndexMeta(fingerprint))


def test_a_template_of_an_alias_of_the_same_name_is_named(
    client: OpenSearch, index: str, fingerprint: EncoderFingerprint, put: Put
) -> None:
    name = put({"aliases": {index: {}}})
    with pytest.raises(IndexMappingError, match=f"need to be unique.* Index template '{name}' applies"):
        prepare_index(client, index, IndexMeta(fingerprint))


def test_a_template_of_another_type_gives_way_to_our_mapping(
    client: OpenSearch, index: str, fingerprint: EncoderFingerprint, put: Put
) -> None:
    properties = {"features": {"type": "keyword"}, "text": {"type": "text", "index": False}}
    put({"mappings": {"dynamic": "true", "_source": {"enabled": False}, "properties": properties}})
    prepare_index(client, index, IndexMeta(fingerprint))
    mappings = client.indices.get_mapping(index=index)[index]["mappings"]
    assert mappings["properties"]["features"] == {"type": "rank_features"}
    assert mappings["properties"]["text"] == {"type": "text"}
    assert mappings["dynamic"] == "strict" and "enabled" not in mappings["_source"]


def test_a_legacy_template_that_drops_documents_is_named_and_leaves_no_index(
    client: OpenSearch, index: str, fingerprint: EncoderFingerprint, legacy: Callable[[dict[str, Any]], str]
) -> None:
    name = legacy({"mappings": {"_source": {"enabled": False}}})
    message = rf"would not store its documents \(_source is disabled\)\. Template '{name}' applies to this name"
    with pytest.raises(IndexMappingError, match=message):
        prepare_index(client, index, IndexMeta(fingerprint))
    assert not client.indices.exists(index=index)


def test_a_legacy_template_that_keeps_a_part_of_documents_is_named(
    client: OpenSearch,
    index: str,
    fingerprint: EncoderFingerprint,
    legacy: Callable[[dict[str, Any]], str],
) -> None:
    name = legacy({"mappings": {"_source": {"includes": ["title"]}}})
    message = rf"would not store its documents \(_source includes only \['title'\]\)\. Template '{name}' applies"
    with pytest.raises(IndexMappingError, match=message):
        prepare_index(client, index, IndexMeta(fingerprint))
    assert not client.indices.exists(index=index)


def test_an_index_that_keeps_no_documents_is_refused(
    client: OpenSearch, index: str, fingerprint: EncoderFingerprint
) -> None:
    prepare_index(client, index, IndexMeta(fingerprint))
    body = client.indices.get_mapping(index=index)[index]
    client.indices.delete(index=index)
    body["mappings"]["_source"] = {"enabled": False}
    client.indices.create(index=index, body=body)
    with pytest.raises(
        IndexMappingError, match=rf"Index '{index}' does not store its documents \(_source is disabled\)"
    ):
        existing_schema(client, index)


def test_an_index_that_no_node_may_store_is_refused_with_the_reason_and_left_away(
    client: OpenSearch, index: str, fingerprint: EncoderFingerprint, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connector.index.create._WAIT_S", 3)
    name = put({"settings": {"index.routing.allocation.require.box": "hot"}})
    with pytest.raises(ClusterError, match=f"No node can hold .*box:\"hot\".* Index template '{name}' applies"):
        prepare_index(client, index, IndexMeta(fingerprint))
    with pytest.raises(NotFoundError):
        client.indices.get(index=index)


def test_an_index_whose_writes_wait_for_copies_that_do_not_start_is_refused_and_left_away(
    client: OpenSearch, index: str, fingerprint: EncoderFingerprint, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connector.index.create._WAIT_S", 3)
    name = put({"settings": {"index.write.wait_for_active_shards": "2", "index.number_of_replicas": 1}})
    message = rf"only while 2 copies of each shard are active \(index.write.wait_for.* Index template '{name}' applies"
    with pytest.raises(ClusterError, match=message):
        prepare_index(client, index, IndexMeta(fingerprint))
    with pytest.raises(NotFoundError):
        client.indices.get(index=index)


def test_templates_are_those_that_match_a_name(client: OpenSearch, index: str, put: Put) -> None:
    name = put({}, pattern=f"*{index[3:8]}*{index[-4:]}")
    assert templates_of(client, index) == (f"index template {name!r}",)
    assert templates_of(client, "a-name-of-no-template") == ()
