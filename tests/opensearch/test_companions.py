"""The hidden index of a dictionary in a cluster that people manage: templates, clones, restores, lost shards."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from opensearchpy import OpenSearch

from connector.connection.client import connect
from connector.errors import BusyError, ClusterError, IndexMappingError
from connector.index.companion import Companion, fetch_companion, store_companion
from connector.index.drop import companions_of, drop_index
from connector.index.meta import META_KEY
from connector.index.patience import RetryPolicy
from tests.fault_proxy import (
    Fault,
    FaultProxy,
    broken_before,
    empty,
    fault_proxy,
    half_json,
    page,
    reset_after,
    status,
    without_last_item,
)
from tests.opensearch.shards import shard_away

pytestmark = [pytest.mark.opensearch, pytest.mark.usefixtures("own_cache")]

DATA = bytes(range(256)) * 5_000
"""Three parts."""


@pytest.fixture
def owner(client: OpenSearch, index: str) -> Iterator[str]:
    """The name of an index; all whose names contain it are deleted at the end."""
    yield index
    everything = {"expand_wildcards": "all", "filter_path": "*.settings.index.uuid"}
    for name in client.indices.get_settings(index=f"*{index}*", params=everything):
        client.indices.delete(index=name)


@pytest.fixture
def stored(client: OpenSearch, owner: str) -> Companion:
    companion, created = store_companion(client, owner, DATA)
    assert created
    return companion


def fail_to_store(opensearch_url: str, owner: str) -> None:
    proxy: FaultProxy
    with fault_proxy(opensearch_url) as proxy, connect(proxy.url) as through:
        proxy.always = status(403, "no permissions")
        with pytest.raises(ClusterError, match="no permissions"):
            store_companion(through, owner, DATA)


def claim(client: OpenSearch, index: str, stored: Companion) -> None:
    """Create an index that names this dictionary as its own."""
    meta = {META_KEY: {"dictionary": stored.to_json()}}
    client.indices.create(index=index, body={"mappings": {"_meta": meta}})


def test_a_search_for_other_copies_reads_no_system_index(client: OpenSearch, owner: str, stored: Companion) -> None:
    claim(client, owner, stored)
    everything: dict[str, Any] = {"query": {"match_all": {}}}
    task = client.delete_by_query(index=owner, body=everything, params={"wait_for_completion": "false"})["task"]
    while not client.tasks.get(task_id=task)["completed"]:  # its result is then in the system index .tasks
        time.sleep(0.05)
    assert companions_of(client, [owner]) == [stored.index], "a deprecation warning is an error"


@pytest.mark.parametrize("pattern", ["restored-{}", "{}-restored"])
def test_a_dictionary_that_was_restored_under_another_name_is_found(
    client: OpenSearch, stored: Companion, pattern: str
) -> None:
    copy = {"source": {"index": stored.index}, "dest": {"index": pattern.format(stored.index)}}
    client.indices.refresh(index=stored.index)
    client.reindex(body=copy, params={"refresh": "true"})
    client.indices.delete(index=stored.index)
    assert fetch_companion(client, stored) == DATA


def test_a_dictionary_in_a_closed_index_is_said_to_be_closed(client: OpenSearch, stored: Companion) -> None:
    client.indices.close(index=stored.index)
    with pytest.raises(IndexMappingError, match=rf"cannot be read from '{stored.index}' \(.*closed"):
        fetch_companion(client, stored)


def test_a_dictionary_whose_shard_is_away_is_not_lost(client: OpenSearch, stored: Companion) -> None:
    lost = f"The dictionary of the index cannot be read from '{stored.index}'"
    with shard_away(client, stored.index), pytest.raises(BusyError, match=lost):
        fetch_companion(client, stored)
    assert fetch_companion(client, stored) == DATA


def test_a_dictionary_that_a_copy_of_the_index_needs_is_kept(client: OpenSearch, owner: str, stored: Companion) -> None:
    for name in (owner, f"{owner}-clone"):
        claim(client, name, stored)
    drop_index(client, owner)
    assert fetch_companion(client, stored) == DATA
    drop_index(client, f"{owner}-clone")
    assert not client.indices.exists(index=stored.index)


def test_a_dictionary_goes_with_the_last_of_several_indices(client: OpenSearch, owner: str, stored: Companion) -> None:
    both = [owner, f"{owner}-clone"]
    for name in both:
        claim(client, name, stored)
    assert companions_of(client, both) == [stored.index]


def test_a_dictionary_that_is_gone_or_was_renamed_hinders_no_deletion(
    client: OpenSearch, owner: str, stored: Companion
) -> None:
    claim(client, owner, stored)
    copy = f"restored-{stored.index}"
    client.indices.refresh(index=stored.index)
    client.reindex(body={"source": {"index": stored.index}, "dest": {"index": copy}})
    client.indices.delete(index=stored.index)
    assert companions_of(client, [owner]) == [copy]
    claim(client, f"{owner}-clone", stored)
    assert companions_of(client, [owner]) == [], "the clone needs it"
    client.indices.delete(index=f"{owner}-clone,{copy}")
    assert companions_of(client, [owner]) == []
    drop_index(client, owner)
    assert not client.indices.exists(index=owner)


def test_a_dictionary_that_was_there_is_kept_if_it_cannot_be_stored_again(
    opensearch_url: str, client: OpenSearch, owner: str, stored: Companion, tmp_path: Path
) -> None:
    fail_to_store(opensearch_url, owner)
    assert store_companion(client, owner, DATA) == (stored, False)
    assert fetch_companion(client, stored, folder=tmp_path) == DATA


TEMPLATES: dict[str, dict[str, Any]] = {
    "pipeline": {"settings": {"index.default_pipeline": "PIPELINE"}},
    "final pipeline": {"settings": {"index.final_pipeline": "PIPELINE"}},
    "alias": {"aliases": {"ALIAS": {}}},
    "strict": {"mappings": {"dynamic": "strict", "properties": {"data": {"type": "keyword"}}}},
    "refresh": {"settings": {"index.refresh_interval": "-1"}},
    "routing": {"mappings": {"_routing": {"required": True}}},
    "source": {"mappings": {"_source": {"enabled": False}}},
}


@pytest.mark.parametrize("kind", TEMPLATES)
def test_a_template_for_the_documents_does_not_apply_to_the_dictionary(
    client: OpenSearch, owner: str, kind: str, template: Callable[[dict[str, Any]], None]
) -> None:
    template(TEMPLATES[kind])
    stored, _ = store_companion(client, owner, DATA)
    assert fetch_companion(client, stored) == DATA
    assert client.indices.get_alias(index=stored.index) == {stored.index: {"aliases": {}}}


@pytest.fixture
def template(client: OpenSearch, owner: str) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Puts a template for all indices whose names begin with the owner's."""
    client.ingest.put_pipeline(id=owner, body={"processors": [{"drop": {}}]})

    def put(body: dict[str, Any]) -> None:
        names = {"PIPELINE": owner, "ALIAS": f"all-{owner}"}

        def named(value: Any) -> Any:  # noqa: ANN401
            if isinstance(value, dict):
                return {names.get(key, key): named(each) for key, each in value.items()}
            return names.get(value, value) if isinstance(value, str) else value

        client.indices.put_index_template(
            name=owner, body={"index_patterns": [f"{owner}*"], "priority": 700, "template": named(body)}
        )

    yield put
    client.indices.delete_index_template(name=owner)
    client.ingest.delete_pipeline(id=owner)


def test_a_server_that_is_busy_is_asked_again(opensearch_url: str, client: OpenSearch, owner: str) -> None:
    proxy: FaultProxy
    with fault_proxy(opensearch_url) as proxy, connect(proxy.url) as through:
        proxy.faults.append(status(429, "the queue is full"))
        stored, _ = store_companion(through, owner, DATA)
        assert len(proxy.bulks) == 2
    assert fetch_companion(client, stored) == DATA


FAULTS = [status(408), status(500), status(503), broken_before, reset_after, half_json, empty, page, without_last_item]


def test_a_request_that_fails_for_the_moment_is_sent_again(
    opensearch_url: str, client: OpenSearch, owner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connector.index.companion.RetryPolicy", lambda: RetryPolicy(0.01, 0.01))
    proxy: FaultProxy
    with fault_proxy(opensearch_url) as proxy, connect(proxy.url) as through:
        proxy.faults.extend(FAULTS)
        stored, _ = store_companion(through, owner, DATA)
        assert len(proxy.bulks) == len(FAULTS) + 1
    assert fetch_companion(client, stored) == DATA


@pytest.mark.parametrize("fault", [status(429), status(503), broken_before, reset_after])
def test_a_creation_that_fails_for_the_moment_is_repeated(
    opensearch_url: str, client: OpenSearch, owner: str, monkeypatch: pytest.MonkeyPatch, fault: Fault
) -> None:
    monkeypatch.setattr("connector.index.patience.RetryPolicy", lambda: RetryPolicy(0.01, 0.01))
    proxy: FaultProxy
    with fault_proxy(opensearch_url) as proxy, connect(proxy.url) as through:
        proxy.creations.append(fault)
        stored, _ = store_companion(through, owner, DATA)
        assert not proxy.creations
    assert fetch_companion(client, stored) == DATA


def test_a_creation_that_is_denied_is_not_repeated(opensearch_url: str, client: OpenSearch, owner: str) -> None:
    proxy: FaultProxy
    with fault_proxy(opensearch_url) as proxy, connect(proxy.url) as through:
        proxy.creations.extend([status(403, "no permissions")] * 2)
        with pytest.raises(ClusterError, match="no permissions"):
            store_companion(through, owner, DATA)
        assert len(proxy.creations) == 1
    assert not client.indices.get(index=f"{owner}*", params={"expand_wildcards": "all"})


def test_a_dictionary_that_cannot_be_stored_leaves_no_index(
    opensearch_url: str, client: OpenSearch, owner: str
) -> None:
    fail_to_store(opensearch_url, owner)
    assert not client.indices.get(index=f"{owner}*", params={"expand_wildcards": "all"})
