"""docker-compose.yml and the Dockerfile, read as Docker reads them; run where there is an engine by hand."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
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


def test_variables_have_defaults_and_other_dollars_are_doubled(compose: dict[str, Any]) -> None:
    """So `docker compose up` needs no .env file, and no value is taken for a variable."""
    for text in _strings(compose):
        plain = text.replace("$$", "")
        assert "$" not in re.sub(r"\$\{[A-Z_]+:-[^${}]*\}", "", plain), text


def test_durations_ports_and_limits_are_as_the_specification_has_them(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        check = service["healthcheck"]
        for name in {"interval", "timeout", "start_period"} & set(check):
            assert re.fullmatch(r"(\d+(us|ms|s|m|h))+", check[name]), check[name]
        assert isinstance(check["retries"], int)
        for port in service["ports"]:
            assert re.fullmatch(r"127\.0\.0\.1:(\d+):(\d+)", re.sub(r"\$\{[A-Z_]+:-(\d+)\}", r"\1", port)), port
        # A value that YAML takes for a number or a boolean is an error or another value in the container.
        assert all(isinstance(value, str) for value in service["environment"].values())


def test_settings_reach_opensearch_by_the_rules_of_its_image(compose: dict[str, Any]) -> None:
    """Its entry point hands on variables with two lower-case words and a point between them, unless they are empty."""
    settings = {name: value for name, value in compose["services"]["opensearch"]["environment"].items() if "." in name}
    assert "discovery.type" in settings
    for name, value in settings.items():
        assert re.match(r"[a-z0-9_]+\.[a-z0-9_]+", name) and value and "\n" not in value and not value.endswith("=")


def test_health_checks_call_what_the_images_have(compose: dict[str, Any], dockerfile: dict[str, list[str]]) -> None:
    assert dockerfile["FROM"][0].startswith("python:")
    assert compose["services"]["ksparse"]["healthcheck"]["test"][:2] == ["CMD", "python"]
    program, *arguments = shlex.split(compose["services"]["opensearch"]["healthcheck"]["test"])
    assert program == "curl" and arguments[-1].endswith("/_cluster/health?wait_for_status=yellow&timeout=5s")


def _strings(value: Any) -> Iterator[str]:  # noqa: ANN401
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _strings(item)


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
