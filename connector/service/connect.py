"""Set up OpenSearch to call the service, and undo that."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, get_args
from urllib.parse import quote

from opensearchpy import OpenSearch
from opensearchpy.exceptions import AuthorizationException, ConnectionTimeout, NotFoundError, TransportError

from connector.connection.address import parse_address
from connector.connection.client import check_server, explained, reason_of, version_tuple
from connector.errors import ClusterError, ConnectorError
from connector.index.names import check_index_name
from connector.index.pipelines import PIPELINE_PREFIX, final_pipelines_in
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
_PATIENCE_S = 90.0
_UNDEPLOYED_S = 2.0
"""After this time, a model is undeployed again: a deployment that had only begun goes on."""

_PASSING = ("not ready", "timed out")
"""Parts of the reasons of a model or service that is still being loaded."""

_SECRET = "********"
_IN_USE = ("DEPLOYING", "DEPLOYED", "PARTIALLY_DEPLOYED")
_SETTINGS = (
    ("trusted", "plugins.ml_commons.trusted_connector_endpoints_regex"),
    ("private", "plugins.ml_commons.connector.private_ip_enabled"),
)
"""Parts of rejection messages, and the setting that resolves them."""


class Server:
    """Sends the requests of the set-up; in a rehearsal, changing requests are only reported.

    Args:
        client: A connected client.
        say: Called with each changing request, with secrets masked.
        rehearse: Do not send changing requests.
    """

    def __init__(self, client: OpenSearch, say: Callable[[str], None], *, rehearse: bool) -> None:
        self.client = client
        self.rehearse = rehearse
        self.say = say
        self.changes = 0

    def read(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:  # noqa: ANN401
        """Send a reading request; None if the resource does not exist."""
        try:
            with _said(self.client, method, path):
                return self.client.transport.perform_request(method, path, body=body)
        except NotFoundError:
            return None

    def change(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Send a changing request; empty if nothing was sent or there is nothing to delete."""
        self.say(f"{method} {path}" + (f"\n{json.dumps(_masked(body), indent=2)}" if body is not None else ""))
        self.changes += 1
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
    """Let OpenSearch encode documents and queries of an index with a service; idempotent.

    Args:
        client: A connected client with permission to manage ML Commons, pipelines and the index.
        index: The index or alias.
        service: Address of `ksparse serve` as seen from OpenSearch.
        key: API key of the service.
        say: Called with each changing request, with secrets masked.
        rehearse: Do not send changing requests.

    Returns:
        The common name of both pipelines. The ingest pipeline is the index's final pipeline; requests name the search
        pipeline.

    Raises:
        ClusterError: The server lacks ML Commons, is too old or unreachable, or rejects a request.
        IndexMappingError: The name is not that of one index or alias, it does not exist, or ksparse did not create it.
        ConnectorError: The index has another final pipeline, or OpenSearch cannot reach the service.
        ValueError: The address of the service is invalid or contains credentials.
    """
    check_index_name(index)
    check_service(service)
    plugins = _check_plugins(client)
    schema = existing_schema(client, index)
    server = Server(client, say, rehearse=rehearse)
    connected = Connected(index, schema.space, schema.code is not None, TERMS_FIELD in schema.fields, service)
    final = _final_pipelines(server, ",".join(schema.names))
    _check_final(connected, final)
    models = {task: _model(server, connected, task, key) for task in _TASKS}
    pipelines = {
        "_ingest": ingest_pipeline(connected, models["document"].model_id),
        "_search": search_pipeline(connected, models["search"].model_id, fuses=_FUSING_PLUGIN in plugins),
    }
    for kind, body in pipelines.items():
        path = _pipeline_path(kind, connected)
        if server.read("GET", path) != {connected.name: body}:
            server.change("PUT", path, body)
    for name in schema.names:
        if final.get(name) != connected.name:
            server.change("PUT", f"/{quote(name, safe='')}/_settings", {"index.final_pipeline": connected.name})
    # Only now: the pipelines called them until here.
    for model in models.values():
        _delete(server, model.old_models, model.old_connectors)
    return connected.name


def disconnect_index(
    client: OpenSearch, index: str, *, say: Callable[[str], None] = lambda _: None, rehearse: bool = False
) -> bool:
    """Undo `connect_index`; parts that do not exist, including the index, are skipped.

    Returns:
        Whether there was anything to undo.

    Raises:
        ClusterError: The server is unreachable or rejects a request.
        IndexMappingError: The name is not that of one index or alias: a wildcard would match other pipelines.
    """
    check_index_name(index)
    server = Server(client, say, rehearse=rehearse)
    connected = Connected(index, "", False, False, "")
    for name, pipeline in _final_pipelines_everywhere(server, index).items():
        if pipeline == connected.name:
            server.change("PUT", f"/{quote(name, safe='')}/_settings", {"index.final_pipeline": None})
    for kind in ("_ingest", "_search"):
        path = _pipeline_path(kind, connected)
        if server.read("GET", path):
            server.change("DELETE", path)
    for task in _TASKS if _PLUGIN in _plugins(client) else ():
        models, connectors = (dict(_named(server, kind, connected.name_of(task))) for kind in ("models", "connectors"))
        _delete(server, tuple(models), tuple(connectors))
    return server.changes > 0


def check_service(service: str) -> None:
    """Check the address of a service.

    Raises:
        ValueError: It is not an http or https URL, or it contains credentials, which OpenSearch would show to others.
    """
    try:
        _, credentials = parse_address(service, name="The service")
    except ClusterError as error:
        raise ValueError(str(error)) from None
    if credentials is not None:
        raise ValueError("The address of the service contains credentials; give an API key instead.")


class _Model(NamedTuple):
    """A working model, and the outdated models and connectors of the same name."""

    model_id: str
    old_models: tuple[str, ...] = ()
    old_connectors: tuple[str, ...] = ()


def _model(server: Server, connected: Connected, task: Task, key: str | None) -> _Model:
    """Return a working model, existing or new."""
    name, wanted = connected.name_of(task), connector_body(connected, task, key)
    connectors = dict(_named(server, "connectors", name))
    models = dict(_named(server, "models", name))
    for model_id, model in models.items():
        stored = connectors.get(model.get("connector_id", ""), {})
        if is_same_connector(stored, wanted) and _answers(server, model_id, task) is None:
            others = (set(models) - {model_id}, set(connectors) - {model["connector_id"]})
            return _Model(model_id, *(tuple(sorted(each)) for each in others))
    made = server.change("POST", f"{_ML}/connectors/_create", wanted)
    connector_id = made.get("connector_id", f"<id of connector {name}>")
    registered = server.change("POST", f"{_ML}/models/_register?deploy=true", model_body(connected, task, connector_id))
    model_id = str(registered.get("model_id", f"<id of model {name}>"))
    if not server.rehearse:
        reason = _wait_for_answer(server, model_id, task)
        if reason is not None:
            try:
                _delete(server, (model_id,), (connector_id,))
            except ClusterError as error:  # must not hide the reason
                server.say(f"{error} ksparse does not use it; the next run tries again.")
            raise ConnectorError(
                f"OpenSearch cannot reach {connected.service}: {reason} The index was not changed. Start "
                f"`ksparse serve {connected.index}` at an address that OpenSearch can reach, and rerun."
            )
    return _Model(model_id, tuple(models), tuple(connectors))


def _delete(server: Server, models: Iterable[str], connectors: Iterable[str]) -> None:
    for model_id in models:
        _delete_model(server, model_id)
    for connector_id in connectors:
        _delete_connector(server, connector_id)


def _pipeline_path(kind: str, connected: Connected) -> str:
    return f"/{kind}/pipeline/{quote(connected.name, safe='')}"


def _delete_model(server: Server, model_id: str) -> None:
    path = f"{_ML}/models/{model_id}"
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        server.change("POST", f"{path}/_undeploy")
        # The nodes undeploy it one by one and report it with a delay.
        asked_again = min(deadline, time.monotonic() + _UNDEPLOYED_S)
        while not server.rehearse and time.monotonic() < asked_again:
            if (server.read("GET", path) or {}).get("model_state") not in _IN_USE:
                break
            time.sleep(0.1)
        try:
            server.change("DELETE", path)
        except ClusterError as error:
            if "undeploy model first" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.2)
        else:
            return


def _delete_connector(server: Server, connector_id: str) -> None:
    try:
        server.change("DELETE", f"{_ML}/connectors/{connector_id}")
    except ClusterError as error:
        # The server matches ids by analyzed tokens: a model with a similar connector id counts as a user of this one.
        if "still using this connector" not in str(error):
            raise
        server.say(f"{error} ksparse does not use it; the next run tries again.")


def _wait_for_answer(server: Server, model_id: str, task: Task) -> str | None:
    """Wait until the model answers; return None, or the reason of a failure or timeout."""
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        reason = _answers(server, model_id, task)
        if reason is None or not any(each in reason for each in _PASSING) or time.monotonic() > deadline:
            return reason
        time.sleep(0.2)


def _answers(server: Server, model_id: str, task: Task) -> str | None:
    """Return None if the model encodes a text, else the reason."""
    path = f"{_ML}/models/{model_id}/_predict"
    try:
        server.client.transport.perform_request("POST", path, body=sample_of(task), params={"request_timeout": 30})
    except ConnectionTimeout:
        return "not ready: no answer within 30 s."  # e.g. a service that is still loading the model
    except TransportError as error:
        return reason_of(error)
    return None


def _named(server: Server, kind: str, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield id and content of each connector or model with a name; ML Commons allows duplicates."""
    body = {"query": {"term": {"name.keyword": name}}, "size": 100, "_source": {"excludes": ["content"]}}
    found = server.read("POST", f"{_ML}/{kind}/_search", body)
    for hit in (found or {}).get("hits", {}).get("hits", ()):
        yield hit["_id"], hit["_source"]


def _final_pipelines(server: Server, index: str) -> dict[str, str]:
    """The final pipeline of each index behind a name."""
    options = "expand_wildcards=all&ignore_unavailable=true"
    path = f"/{quote(index, safe=',')}/_settings/index.final_pipeline?{options}"
    return final_pipelines_in(server.read("GET", path) or {})


def _final_pipelines_everywhere(server: Server, index: str) -> dict[str, str]:
    """The final pipeline of every index: one that the alias named before would refuse all writes without its pipeline.

    A user who may not read the state of the cluster gets those behind the name.
    """
    try:
        # Unlike `_settings`, without a deprecation warning about system indices.
        wanted = "metadata.indices.*.settings.index.final_pipeline"
        state = server.read("GET", f"/_cluster/state/metadata?filter_path={wanted}") or {}
        return final_pipelines_in(state.get("metadata", {}).get("indices", {}))
    except ClusterError as error:
        if not isinstance(error.__cause__, AuthorizationException):
            raise
        return _final_pipelines(server, index)


def _check_final(connected: Connected, final: dict[str, str]) -> None:
    for name, pipeline in final.items():
        if pipeline not in (connected.name, "_none"):
            advice = "Make that its `index.default_pipeline`"
            if pipeline.startswith(PIPELINE_PREFIX):
                advice = f"Undo it with `ksparse connect {pipeline.removeprefix(PIPELINE_PREFIX)} --remove`"
            raise ConnectorError(f"Index {name!r} already has the final pipeline {pipeline!r}. {advice}, and rerun.")


def _check_plugins(client: OpenSearch) -> list[str]:
    """Return the plugins that every node has.

    Raises:
        ClusterError: ML Commons is missing, or the server is not a supported version of OpenSearch.
    """
    found = check_server(client)
    if found.distribution != "opensearch":
        raise ClusterError(
            f"{found.url} is {found.distribution}, which has no ML Commons; use POST /search of `ksparse serve`."
        )
    if version_tuple(found.version) < _MINIMUM_VERSION:
        raise ClusterError(f"OpenSearch {found.version} has no suitable search pipelines; use 3.0 or newer.")
    plugins = _plugins(client)
    if _PLUGIN not in plugins:
        raise ClusterError(
            f"{found.url} lacks the plugin {_PLUGIN} (ML Commons). `ksparse up --ml` starts an OpenSearch with it; "
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
        advice = f" See the cluster setting {setting}." if setting is not None else ""
        raise ClusterError(f"OpenSearch rejects {method} {path}: {reason}.{advice}") from error


def _masked(body: dict[str, Any]) -> dict[str, Any]:
    return body | {"credential": {name: _SECRET for name in body["credential"]}} if "credential" in body else body
