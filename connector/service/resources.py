"""Bodies of the OpenSearch resources that call the service. Pure functions."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote, urlencode

from connector.index.pipelines import PIPELINE_PREFIX
from connector.query.body import FEATURES_FIELD
from connector.query.rescore import CODE_FIELD
from connector.query.terms import META_FIELD, TERMS_FIELD
from connector.service.escape import ESCAPE

Task = Literal["document", "search"]

INPUT_FIELD = "ksparse_input"
"""Temporary field of a document in the pipeline, with the model's input."""

_REQUEST = "ksparse_request"
_READ_TIMEOUTS_S: Mapping[Task, int] = {"document": 30, "search": 5}
"""Timeouts in seconds: searches should be answered soon; documents may wait for earlier ones."""


@dataclass(frozen=True, slots=True)
class Connected:
    """An index connected to a service.

    Attributes:
        index: Name of the index or alias.
        space: Space of its features; the service refuses to encode for another one.
        has_codes: Whether its documents have codes.
        has_terms: Whether its documents have terms of typed metadata.
        service: Address of the service as seen from OpenSearch.
    """

    index: str
    space: str
    has_codes: bool
    has_terms: bool
    service: str

    @property
    def name(self) -> str:
        """Name of both pipelines and prefix of the other names."""
        return f"{PIPELINE_PREFIX}{self.index}"

    def name_of(self, task: Task) -> str:
        """Name of the connector and model of a task."""
        return f"{self.name}-{task}"

    def url_of(self, task: Task) -> str:
        """URL of the route that the connector of a task calls."""
        route = f"indices/{quote(self.index, safe='')}/pipeline/{task}"
        return f"{self.service.rstrip('/')}/{route}?{urlencode({'space': self.space})}"


def connector_body(connected: Connected, task: Task, key: str | None) -> dict[str, Any]:
    """Build the connector of a task; the key is only in its credential, and the description has a mark of it.

    It has no `request_body`: the processor's `http_body` is sent unchanged. In a template, ML Commons would substitute
    variables in the text of documents.
    """
    headers = {"Content-Type": "application/json"}
    description = f"Encodes for index {connected.index} (made by ksparse connect)"
    if key is not None:
        headers["Authorization"] = "Bearer ${credential.key}"
        description += f", key {_mark(key, connected.name_of(task))}"
    return {
        "name": connected.name_of(task),
        "description": description,
        "version": "1",
        "protocol": "http",
        "parameters": {},
        # A connector without credentials is rejected.
        "credential": {"key": key if key is not None else "none"},
        "client_config": {"connection_timeout": 5, "read_timeout": _READ_TIMEOUTS_S[task], "max_connection": 64},
        "actions": [{"action_type": "predict", "method": "POST", "url": connected.url_of(task), "headers": headers}],
    }


def _mark(key: str, name: str) -> str:
    """Distinguish keys, which the server does not return: four bytes of a slow, salted digest, which reveal no key."""
    return hashlib.scrypt(key.encode(), salt=name.encode(), n=2**14, r=8, p=1, dklen=4).hex()


def is_same_connector(stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether a stored connector equals the wanted one; the description tells which key it has."""
    [action] = wanted["actions"]
    kept = stored.get("actions") or [{}]
    same_action = len(kept) == 1 and all(kept[0].get(name) == action[name] for name in ("method", "url", "headers"))
    same_key = stored.get("description") == wanted["description"]
    return (
        same_action and same_key and wanted["client_config"].items() <= dict(stored.get("client_config") or {}).items()
    )


def model_body(connected: Connected, task: Task, connector_id: str) -> dict[str, Any]:
    """Build the model of a connector."""
    return {
        "name": connected.name_of(task),
        "function_name": "remote",
        "description": f"Encodes for index {connected.index} (made by ksparse connect)",
        "connector_id": connector_id,
    }


def ingest_pipeline(connected: Connected, model_id: str) -> dict[str, Any]:
    """Build the pipeline that encodes documents without features; those of ksparse's writer pass through."""
    output = {FEATURES_FIELD: FEATURES_FIELD}
    if connected.has_codes:
        output[CODE_FIELD] = CODE_FIELD
    if connected.has_terms:
        output[TERMS_FIELD] = TERMS_FIELD
    return {
        "description": f"Encodes documents of {connected.index} (made by ksparse connect)",
        "processors": [
            {"script": {"if": f"ctx.{FEATURES_FIELD} == null", "source": _input_script(connected)}},
            {
                "ml_inference": {
                    "if": f"ctx.{INPUT_FIELD} != null",
                    "model_id": model_id,
                    "function_name": "remote",
                    "input_map": [{"http_body": INPUT_FIELD}],
                    "output_map": [output],
                }
            },
            {"remove": {"field": INPUT_FIELD, "ignore_missing": True}},
        ],
    }


def _input_script(connected: Connected) -> str:
    """Script that collects the model's input and escapes `${`, which ML Commons interprets as a variable."""
    meta = f"asked.meta = ctx.{META_FIELD} == null ? new HashMap() : safe(ctx.{META_FIELD}); "
    return (
        "def safe(def value) { "
        f"if (value instanceof String) {{ return value.replace('{ESCAPE}', '{ESCAPE}{ESCAPE}')"
        f".replace('${{', '{ESCAPE}{{'); }} "
        "if (value instanceof List) { List made = new ArrayList(); for (def each : value) { made.add(safe(each)); } "
        "return made; } "
        "if (value instanceof Map) { Map made = new HashMap(); "
        "for (def each : value.entrySet()) { made.put(safe(each.getKey()), safe(each.getValue())); } return made; } "
        "return value; } "
        "Map asked = new HashMap(); asked.id = safe(ctx._id); asked.title = safe(ctx.title); "
        f"asked.text = safe(ctx.text); {meta if connected.has_terms else ''}ctx.{INPUT_FIELD} = asked;"
    )


def search_pipeline(connected: Connected, model_id: str, *, fuses: bool) -> dict[str, Any]:
    """Build the pipeline that replaces the text of a search by features.

    Args:
        connected: The index.
        model_id: Id of the query model.
        fuses: Whether the server has neural-search, which fuses the rankings of `hybrid` queries.
    """
    pipeline: dict[str, Any] = {
        "description": f"Searches {connected.index} by text (made by ksparse connect)",
        "request_processors": [
            {
                "ml_inference": {
                    "model_id": model_id,
                    "function_name": "remote",
                    "input_map": [{"http_body": "$"}],
                    "output_map": [{_REQUEST: "request"}],
                    "query_template": f"${{{_REQUEST}}}",
                }
            }
        ],
    }
    if fuses:
        # As in `connector.query.hybrid.fuse`.
        techniques = {"normalization": {"technique": "min_max"}, "combination": {"technique": "arithmetic_mean"}}
        pipeline["phase_results_processors"] = [{"normalization-processor": techniques}]
    return pipeline


def sample_of(task: Task) -> dict[str, Any]:
    """A test input for the model."""
    asked = '{"text": "a text"}' if task == "document" else '{"query": {"match": {"ksparse": "a text"}}}'
    return {"parameters": {"http_body": asked}}
