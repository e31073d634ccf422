from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import connector
from tests.patience import PATIENCE_S

HEAVY = ("torch", "sentence_transformers", "transformers", "sklearn", "scipy", "openvino", "pyarrow", "rich")


NOT_FOR_A_SEARCH = (
    *(name for name in HEAVY if name != "openvino"),
    "aiohttp",
    "yarl",
    "pydantic",
    "jinja2",
    "openvino.tools.ovc",
    "connector.training",
)


def loaded_by(code: str, modules: tuple[str, ...] = HEAVY) -> set[str]:
    """Which of the heavy modules are loaded once the code has run in a fresh interpreter."""
    printed = f"{code}\nimport sys; print(*(name for name in {modules!r} if name in sys.modules))"
    run = subprocess.run(
        [sys.executable, "-c", printed], capture_output=True, text=True, check=True, timeout=PATIENCE_S
    )
    return set(run.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("name", connector.__all__)
def test_a_public_name_is_the_same_however_often_it_is_imported(name: str) -> None:
    first, second = getattr(connector, name), getattr(connector, name)
    assert first is second
    assert first.__name__ == name


def test_all_is_what_is_declared_to_type_checkers() -> None:
    tree = ast.parse(Path(str(connector.__file__)).read_text())
    [block] = [node for node in tree.body if isinstance(node, ast.If)]
    declared = {alias.name for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert declared == set(connector.__all__)
    assert list(connector.__all__) == sorted(connector.__all__)
    assert dir(connector) == sorted(connector.__all__)


def test_every_error_is_public_and_a_connector_error() -> None:
    from connector import errors

    defined = {name: kind for name, kind in vars(errors).items() if isinstance(kind, type)}
    for name, kind in defined.items():
        assert getattr(connector, name) is kind
        assert issubclass(kind, connector.ConnectorError)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'connector' has no attribute 'nothing'"):
        connector.nothing  # noqa: B018


def test_importing_the_connector_loads_nothing_heavy() -> None:
    assert loaded_by("import connector; connector.Document, connector.connect, connector.BulkWriter") == set()


def test_help_loads_nothing_heavy() -> None:
    code = "from connector.cli.main import cli\ntry: cli(['--help'])\nexcept SystemExit as end: assert end.code == 0"
    assert "torch" not in loaded_by(code)


def test_the_command_is_installed() -> None:
    command = Path(sys.executable).with_name("ksparse")
    run = subprocess.run([command, "--help"], capture_output=True, text=True, check=True, timeout=PATIENCE_S)
    for name in ("up", "down", "status", "train", "ingest", "search", "evaluate"):
        assert f"\n  {name} " in run.stdout


@pytest.mark.parametrize("arguments", [["--help"], ["up", "--help"], ["status", "--help"], ["delete", "--help"]])
def test_commands_that_encode_nothing_load_no_model(arguments: list[str]) -> None:
    code = f"from connector.cli.main import cli\ntry: cli({arguments!r})\nexcept SystemExit: pass"
    assert loaded_by(code) <= {"rich"}


def test_a_search_loads_only_what_it_needs() -> None:
    code = """
from connector.cli.main import cli
try: cli(["search", "--help"])
except SystemExit: pass
import connector.search.retriever, connector.ingest.light_encoder
from connector.encoders.graph import import_openvino
import_openvino().Core
"""
    assert loaded_by(code, NOT_FOR_A_SEARCH) == set()


def test_a_retriever_is_imported_without_torch() -> None:
    assert loaded_by("from connector import Retriever, IngestJob") == set()
