"""Bodies of `ksparse connect`, and what it refuses before it sends anything."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from connector.cli.main import cli
from connector.connection.client import connect
from connector.errors import IndexMappingError
from connector.service.connect import connect_index, disconnect_index
from connector.service.escape import ESCAPE, unescape_all
from connector.service.resources import Connected, connector_body, is_same_connector

CONNECTED = Connected("docs", "ab" * 8, has_codes=True, has_terms=False, service="http://127.0.0.1:8080")


def test_another_key_is_another_connector_and_no_key_is_shown() -> None:
    old, new, without = (connector_body(CONNECTED, "search", key) for key in ("old-secret", "new-secret", None))
    assert is_same_connector(old, connector_body(CONNECTED, "search", "old-secret"))
    assert not is_same_connector(old, new) and not is_same_connector(old, without)
    assert "secret" not in json.dumps(old | {"credential": {}})


@pytest.mark.parametrize("index", ["*", "docs*", "docs,wiki", "<docs-{now}>", "-docs", ""])
def test_only_one_index_is_connected_or_removed(index: str) -> None:
    """A wildcard would match the pipelines of others."""
    with connect("http://127.0.0.1:1") as client:
        with pytest.raises(IndexMappingError, match="Invalid index name"):
            disconnect_index(client, index)
        with pytest.raises(IndexMappingError, match="Invalid index name"):
            connect_index(client, index, "http://127.0.0.1:8080")


@pytest.mark.parametrize(
    "service", ["127.0.0.1:8080", "ftp://host", "http://", "http://ada:lace@host", "http://host:8080?x=1", "http://h:0"]
)
def test_what_is_no_address_of_a_service_is_refused_without_its_password(service: str) -> None:
    result = CliRunner().invoke(cli, ["connect", "docs", "--service", service])
    assert result.exit_code == 2 and "lace" not in result.output
    with connect("http://127.0.0.1:1") as client, pytest.raises(ValueError, match="service") as refused:
        connect_index(client, "docs", service)
    assert "lace" not in str(refused.value)


def test_every_string_of_metadata_comes_out_as_it_went_in() -> None:
    escaped = {f"{ESCAPE}{{a}}": [f"{ESCAPE}{ESCAPE}", {"b": f"x {ESCAPE}{{y}}"}], "n": 3, "none": None}
    assert unescape_all(escaped) == {"${a}": [ESCAPE, {"b": "x ${y}"}], "n": 3, "none": None}
