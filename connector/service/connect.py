"""Set up OpenSearch to call the service by itself, and undo that."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, get_args

from opensearchpy import OpenSearch
from opensearchpy.exceptions import NotFoundError, TransportError

from connector.connection.client import check_server, explained, reason_of, version_tuple
from connector.errors import ClusterError, ConnectorError
from connector.index.schema import existing_schema
from connector.query.terms import TERMS_FIELD
from connector.service.resources import (
    Connected,
    Task,
    connector_body,
    ingest_pipeline,
    is_same_connector,
    model_body,
    sample_of,
    search_pipeline,
)

_TASKS: tuple[Task, ...] = get_args(Task)
_ML = "/_plugins/_ml"
_PLUGIN, _FUSING_PLUGIN = "opensearch-ml", "opensearch-neural-search"
_MINIMUM_VERSION = (3, 0)
_PATIENCE_S = 30.0
_SECRET = "********"
_IN_USE = ("DEPLOYING", "DEPLOYED", "PARTIALLY_DEPLOYED")
_SETTINGS = (
    ("trusted", "plugins.ml_commons.trusted_connector_endpoints_regex"),
    ("private", "plugins.ml_commons.connector.private_ip_enabled"),
)
"""Words of a refusal, and what to set."""


class Server:
    """The requests of a set-up: what reads is sent, what changes something is said, and sent unless it is a rehearsal.

    Args:
        client: A ready client.
        say: Told each request that changes something, its secrets masked.
        rehearse: Send none of these.
    """

    def __init__(self, client: OpenSearch, say: Callable[[str], None], *, rehearse: bool) -> None:
        self.client = client
        self.rehearse = rehearse
        self.say = say

    def read(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:  # noqa: ANN401
        """Return the answer; None where there is no such thing."""
        try:
            with _said(self.client, method, path):
                return self.client.transport.perform_request(method, path, body=body)
        except NotFoundError:
            return None

    def change(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the answer; empty where nothing is sent, or there is nothing to delete."""
        self.say(f"{method} {path}" + (f"\n{json.dumps(_masked(body), indent=2)}" if body is not None else ""))
        if self.rehearse:
            return {}
        try:
            with _said(self.client, method, path):
                reply: dict[str, Any] = self.client.transport.perform_request(method, path, body=body)
                return reply
        except NotFoundError:
            if method == "DELETE":
                return {}
            raise


def connect_index(
    client: OpenSearch,
    index: str,
    service: str,
    *,
    key: str | None = None,
    say: Callable[[str], None] = lambda _: None,
    rehearse: bool = False,
) -> str:
    """Let OpenSearch encode the documents and the searches of an index by a service; the same again changes nothing.

    Args:
        client: A ready client, permitted to manage ML Commons, pipelines and the index.
        index: The index, or an alias.
        service: Address of `ksparse serve`, as OpenSearch reaches it.
        key: API key of the service.
        say: Told each request that changes something, secrets masked.
        rehearse: Send none of these.

    Returns:
        The name of both pipelines. The ingest pipeline is the index's final one; the search pipeline is for requests
        to name.

    Raises:
        ClusterError: The server lacks ML Commons, is too old, away, or refuses a request.
        IndexMappingError: There is no such index, or it is not one of ours.
        ConnectorError: The index has another final pipeline, or OpenSearch gets no answer from the service.
    """
    plugins = _check_plugins(client)
    schema = existing_schema(client, index)
    server = Server(client, say, rehearse=rehearse)
    connected = Connected(index, schema.space, schema.code is not None, TERMS_FIELD in schema.fields, service)
    final = _final_pipelines(server, ",".join(schema.names))
    _check_final(connected, final)
    models = {task: _model(server, connected, task, key) for task in _TASKS}
    pipelines = {
        "_ingest": ingest_pipeline(connected, models["document"]),
        "_search": search_pipeline(connected, models["search"], fuses=_FUSING_PLUGIN in plugins),
    }
    for kind, body in pipelines.items():
        path = f"/{kind}/pipeline/{connected.name}"
        if server.read("GET", path) != {connected.name: body}:
            server.change("PUT", path, body)
    for name in schema.names:
        if final.get(name) != connected.name:
            server.change("PUT", f"/{name}/_settings", {"index.final_pipeline": connected.name})
    return connected.name


def disconnect_index(
    client: OpenSearch, index: str, *, say: Callable[[str], None] = lambda _: None, rehearse: bool = False
) -> None:
    """Undo `connect_index`, as far as anything of it is there; the index itself may be gone.

    Raises:
        ClusterError: The server is away, or refuses a request.
    """
    server = Server(client, say, rehearse=rehearse)
    connected = Connected(index, "", False, False, "")
    for name, pipeline in _final_pipelines(server, index).items():
        if pipeline == connected.name:
            server.change("PUT", f"/{name}/_settings", {"index.final_pipeline": None})
    for kind in ("_ingest", "_search"):
        if server.read("GET", f"/{kind}/pipeline/{connected.name}"):
            server.change("DELETE", f"/{kind}/pipeline/{connected.name}")
    if _PLUGIN not in _plugins(client):
        return
    for task in _TASKS:
        for model_id, _ in _named(server, "models", connected.name_of(task)):
            _delete_model(server, model_id)
        for connector_id, _ in _named(server, "connectors", connected.name_of(task)):
            _delete_connector(server, connector_id)


def _model(server: Server, connected: Connected, task: Task, key: str | None) -> str:
    """The id of a model that answers: the one that is there, or a new one, before the old ones are deleted."""
    name, wanted = connected.name_of(task), connector_body(connected, task, key)
    connectors = dict(_named(server, "connectors", name))
    models = dict(_named(server, "models", name))
    for model_id, model in models.items():
        stored = connectors.get(model.get("connector_id", ""), {})
        if is_same_connector(stored, wanted) and _answers(server, model_id, task) is None:
            return model_id
    made = server.change("POST", f"{_ML}/connectors/_create", wanted)
    connector_id = made.get("connector_id", f"<id of connector {name}>")
    registered = server.change("POST", f"{_ML}/models/_register?deploy=true", model_body(connected, task, connector_id))
    model_id = str(registered.get("model_id", f"<id of model {name}>"))
    if not server.rehearse:
        reason = _wait_for_answer(server, model_id, task)
        if reason is not None:
            _delete_model(server, model_id)
            _delete_connector(server, connector_id)
            raise ConnectorError(
                f"OpenSearch gets no answer from {connected.service}: {reason} Nothing of the index was changed. Start "
                f"`ksparse serve {connected.index}` where OpenSearch reaches it, and run the same again."
            )
    for old in models:
        _delete_model(server, old)
    for old in connectors:
        _delete_connector(server, old)
    return model_id


def _delete_model(server: Server, model_id: str) -> None:
    server.change("POST", f"{_ML}/models/{model_id}/_undeploy")
    # The nodes let it go one by one, and say so a little later.
    deadline = time.monotonic() + _PATIENCE_S
    path = f"{_ML}/models/{model_id}"
    while not server.rehearse and time.monotonic() < deadline:
        if (server.read("GET", path) or {}).get("model_state") not in _IN_USE:
            break
        time.sleep(0.1)
    server.change("DELETE", path)


def _delete_connector(server: Server, connector_id: str) -> None:
    try:
        server.change("DELETE", f"{_ML}/connectors/{connector_id}")
    except ClusterError as error:
        # The server compares ids by words: a model whose connector's id has one in common counts as a user of this one.
        if "still using this connector" not in str(error):
            raise
        server.say(f"{error} Nothing of ksparse uses it; the next run tries again.")


def _wait_for_answer(server: Server, model_id: str, task: Task) -> str | None:
    """None once the model answers; else the reason, where it says one or nothing for long."""
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        reason = _answers(server, model_id, task)
        if reason is None or "not ready" not in reason or time.monotonic() > deadline:
            return reason
        time.sleep(0.2)


def _answers(server: Server, model_id: str, task: Task) -> str | None:
    """None if the model encodes a text; else why it does not."""
    path = f"{_ML}/models/{model_id}/_predict"
    try:
        server.client.transport.perform_request("POST", path, body=sample_of(task), params={"request_timeout": 30})
    except TransportError as error:
        return reason_of(error)
    return None


def _named(server: Server, kind: str, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Id and content of each connector or model of a name; ML Commons lets several have it."""
    body = {"query": {"term": {"name.keyword": name}}, "size": 100, "_source": {"excludes": ["content"]}}
    found = server.read("POST", f"{_ML}/{kind}/_search", body)
    for hit in (found or {}).get("hits", {}).get("hits", ()):
        yield hit["_id"], hit["_source"]


def _final_pipelines(server: Server, index: str) -> dict[str, str]:
    """From each index behind a name to its final pipeline."""
    replies = server.read("GET", f"/{index}/_settings/index.final_pipeline") or {}
    return {
        name: reply["settings"]["index"]["final_pipeline"] for name, reply in replies.items() if reply.get("settings")
    }


def _check_final(connected: Connected, final: dict[str, str]) -> None:
    for name, pipeline in final.items():
        if pipeline not in (connected.name, "_none"):
            raise ConnectorError(
                f"Index {name!r} has the final pipeline {pipeline!r}, and an index has one. Make that its "
                "`index.default_pipeline`, and run the same again."
            )


def _check_plugins(client: OpenSearch) -> list[str]:
    """The plugins that every node has.

    Raises:
        ClusterError: ML Commons is missing, or the server is not OpenSearch of a version that has what is used.
    """
    found = check_server(client)
    if found.distribution != "opensearch":
        raise ClusterError(
            f"{found.url} is {found.distribution}, which has no ML Commons; use POST /search of `ksparse serve`."
        )
    if version_tuple(found.version) < _MINIMUM_VERSION:
        raise ClusterError(f"OpenSearch {found.version} is too old: its search pipelines cannot be set up so; use 3.0.")
    plugins = _plugins(client)
    if _PLUGIN not in plugins:
        raise ClusterError(
            f"{found.url} lacks the plugin {_PLUGIN} (ML Commons). `ksparse up --ml` starts an OpenSearch that has it; "
            "without it, use POST /search of `ksparse serve`."
        )
    return plugins


def _plugins(client: OpenSearch) -> list[str]:
    with explained(client):
        rows = client.cat.plugins(params={"format": "json"})
    nodes: dict[str, set[str]] = {}
    for row in rows:
        nodes.setdefault(row["name"], set()).add(row["component"])
    return sorted(set.intersection(*nodes.values())) if nodes else []


@contextmanager
def _said(client: OpenSearch, method: str, path: str) -> Iterator[None]:
    try:
        with explained(client):
            yield
    except NotFoundError:
        raise
    except TransportError as error:
        reason = reason_of(error).rstrip(".")
        setting = next((name for word, name in _SETTINGS if word in reason.lower()), None)
        advice = f" The cluster setting {setting} decides on that." if setting is not None else ""
        raise ClusterError(f"OpenSearch refuses {method} {path}: {reason}.{advice}") from error


def _masked(body: dict[str, Any]) -> dict[str, Any]:
    return body | {"credential": {name: _SECRET for name in body["credential"]}} if "credential" in body else body
