"""docker-compose.yml and the Dockerfile, read as Docker reads them; run where there is an engine by hand."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from connector.cli.serve import serve
from connector.service.gate import OPEN_ROUTES

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    return loaded


@pytest.fixture(scope="module")
def dockerfile() -> dict[str, list[str]]:
    """The arguments of each instruction."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            name, _, rest = line.partition(" ")
            found.setdefault(name, []).append(rest.strip())
    return found


def test_every_service_is_watched_and_bound_to_this_machine(compose: dict[str, Any]) -> None:
    assert set(compose["services"]) == {"opensearch", "ksparse"}
    for name, service in compose["services"].items():
        assert {"test", "interval", "timeout", "retries"} <= set(service["healthcheck"]), name
        assert all(port.startswith("127.0.0.1:") for port in service["ports"]), name
        for volume in service["volumes"]:
            assert volume.partition(":")[0] in compose["volumes"], name


def test_the_service_starts_after_opensearch_and_talks_to_it(compose: dict[str, Any]) -> None:
    service = compose["services"]["ksparse"]
    assert service["depends_on"] == {"opensearch": {"condition": "service_healthy"}}
    assert service["environment"]["OPENSEARCH_URL"] == "http://opensearch:9200"
    assert (ROOT / service["build"] / "Dockerfile").is_file()


def test_opensearch_may_call_the_service_and_nothing_else(compose: dict[str, Any]) -> None:
    settings = compose["services"]["opensearch"]["environment"]
    # $$ is how a compose file writes $.
    trusted = settings["plugins.ml_commons.trusted_connector_endpoints_regex"].replace("$$", "$")
    assert re.fullmatch(trusted, "http://ksparse:8080/indices/docs/pipeline/search?space=0")
    assert not re.fullmatch(trusted, "http://ksparse.example:8080/indices/docs/pipeline/search")
    assert not re.fullmatch(trusted, "http://another:8080/ksparse:8080/x")


def test_the_command_of_the_service_is_one(compose: dict[str, Any], dockerfile: dict[str, list[str]]) -> None:
    program, command, *arguments = shlex.split(compose["services"]["ksparse"]["command"])
    context = serve.make_context("serve", arguments)
    assert (program, command, context.params["host"], context.params["port"]) == ("ksparse", "serve", "0.0.0.0", 8080)
    assert dockerfile["EXPOSE"] == ["8080"]
    assert yaml.safe_load(dockerfile["CMD"][-1])[:2] == ["ksparse", "serve"]


def test_both_health_checks_ask_a_route_that_needs_no_key(
    compose: dict[str, Any], dockerfile: dict[str, list[str]]
) -> None:
    for check in (compose["services"]["ksparse"]["healthcheck"]["test"][-1], dockerfile["HEALTHCHECK"][0]):
        [path] = re.findall(r"http://127\.0\.0\.1:8080(/\w+)", check)
        assert path in OPEN_ROUTES
        compile(re.sub(r'.*"(import [^"]+)".*', r"\1", check), "check", "exec")


def test_the_image_runs_as_nobody_special_and_keeps_models_in_the_volume(
    compose: dict[str, Any], dockerfile: dict[str, list[str]]
) -> None:
    assert dockerfile["USER"] == ["ksparse"]
    assert dockerfile["VOLUME"] == ["/models"]
    assert compose["services"]["ksparse"]["volumes"] == ["models:/models"]
    assert all(part.partition("=")[2].startswith("/models/") for part in dockerfile["ENV"][0].split())
    assert "[serve,minilm,cpu]" in dockerfile["RUN"][0]
