"""Bodies of the OpenSearch resources that call the service. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote, urlencode

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
        return f"ksparse-{self.index}"

    def name_of(self, task: Task) -> str:
        """Name of the connector and model of a task."""
        return f"{self.name}-{task}"

    def url_of(self, task: Task) -> str:
        """URL of the route that the connector of a task calls."""
        route = f"indices/{quote(self.index, safe='')}/pipeline/{task}"
        return f"{self.service.rstrip('/')}/{route}?{urlencode({'space': self.space})}"


def connector_body(connected: Connected, task: Task, key: str | None) -> dict[str, Any]:
    """Build the connector of a task; the key is only in its credential.

    It has no `request_body`: the processor's `http_body` is sent unchanged. In a template, ML Commons would substitute
    variables in the text of documents.
    """
    headers = {"Content-Type": "application/json"}
    if key is not None:
        headers["Authorization"] = "Bearer ${credential.key}"
    return {
        "name": connected.name_of(task),
        "description": f"Encodes for index {connected.index} (made by ksparse connect)",
        "version": "1",
        "protocol": "http",
        "parameters": {},
        # A connector without credentials is rejected.
        "credential": {"key": key if key is not None else "none"},
        "client_config": {"connection_timeout": 5, "read_timeout": _READ_TIMEOUTS_S[task], "max_connection": 64},
        "actions": [{"action_type": "predict", "method": "POST", "url": connected.url_of(task), "headers": headers}],
    }


def is_same_connector(stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether a stored connector equals the wanted one, ignoring secrets, which the server does not return."""
    [action] = wanted["actions"]
    kept = stored.get("actions") or [{}]
    same_action = len(kept) == 1 and all(kept[0].get(name) == action[name] for name in ("method", "url", "headers"))
    return same_action and wanted["client_config"].items() <= dict(stored.get("client_config") or {}).items()


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
    terms = f"asked.meta = ctx.{META_FIELD} == null ? new HashMap() : ctx.{META_FIELD}; " if connected.has_terms else ""
    doubled = f".replace('{ESCAPE}', '{ESCAPE}{ESCAPE}').replace('${{', '{ESCAPE}{{')"
    return (
        "Map asked = new HashMap(); asked.id = ctx._id; for (def name : ['title', 'text']) { def value = ctx[name]; "
        f"asked[name] = value instanceof String ? value{doubled} : value; }} {terms}ctx.{INPUT_FIELD} = asked;"
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
        pipeline["phase_results_processors"] = [{"score-ranker-processor": {"combination": {"technique": "rrf"}}}]
    return pipeline


def sample_of(task: Task) -> dict[str, Any]:
    """A test input for the model."""
    asked = '{"text": "a text"}' if task == "document" else '{"query": {"match": {"ksparse": "a text"}}}'
    return {"parameters": {"http_body": asked}}
