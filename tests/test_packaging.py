"""Packaging: version, licence, hints at extras, and an sdist and a wheel that work outside the repository."""

from __future__ import annotations

import importlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from configparser import ConfigParser
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

import connector
from benchmarks.__main__ import main
from connector.cli.main import cli
from connector.source_tree import mappings_folder, source_tree

ROOT = Path(__file__).parents[1]
HEADS = ROOT / "connector" / "heads"
PROSE = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))


def test_the_version_is_the_newest_release_of_the_changelog() -> None:
    releases = re.findall(r"^## \[(\d\S*)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert releases[0] == connector.__version__
    assert CliRunner().invoke(cli, ["--version"]).output == f"ksparse, version {connector.__version__}\n"


def test_the_citation_is_of_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == connector.__version__
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"\n## [{connector.__version__}] - {citation['date-released']}\n" in changelog
    assert [reference["doi"] for reference in citation["references"]] == [
        "10.17586/2226-1494-2025-25-4-710-717",
        "10.1145/3539618.3592051",
    ]


def test_commits_are_checked_by_the_tools_of_the_lock_file() -> None:
    configuration = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    hooks = [hook for repository in configuration["repos"] for hook in repository["hooks"]]
    tools = [hook["entry"].split()[0].removeprefix(".venv/bin/") for hook in hooks]
    assert tools == ["ruff", "ruff", "mypy"]
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    for tool in set(tools):
        assert f"\n{tool}=={version(tool)}\n" in lock


def test_every_release_says_what_became_of_the_index_format() -> None:
    unreleased, *releases = re.split(
        r"^## \[", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), flags=re.MULTILINE
    )[1:]
    for release in (unreleased, *releases):
        assert "\n### Index format\n" in release, release.partition("\n")[0]


@pytest.mark.parametrize("head", sorted(path.name for path in HEADS.iterdir() if path.is_dir()))
def test_a_shipped_model_has_its_licence_and_notice(head: str) -> None:
    assert (HEADS / head / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
    assert "Apache License" in (HEADS / head / "NOTICE").read_text(encoding="utf-8")


def test_hints_name_extras_that_exist() -> None:
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    extras = set(setup["options.extras_require"])
    named = {
        (extra, path.name)
        for path in (*(ROOT / "connector").rglob("*.py"), *PROSE)
        for group in re.findall(r"(?:ksparse|'\.)\[([\w,]+)\]", path.read_text(encoding="utf-8"))
        for extra in group.split(",")
    }
    assert len(named) > 10
    assert {(extra, file) for extra, file in named if extra not in extras} == set()


@pytest.mark.parametrize(
    ("extra", "package"),
    [("langchain", "langchain_core"), ("haystack", "haystack"), ("llamaindex", "llama_index.core")],
)
def test_an_integration_without_its_framework_names_the_extra(
    extra: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, f"connector.integrations.{extra}", raising=False)
    with pytest.raises(ModuleNotFoundError, match=rf"; pip install 'ksparse\[{extra}\]'$"):
        importlib.import_module(f"connector.integrations.{extra}")


def test_benchmarks_say_what_they_need_before_they_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.__main__.find_spec", lambda name: None if name == "matplotlib" else object())
    with pytest.raises(SystemExit, match=r"need matplotlib\. In a clone: pip install --editable '\.\[cluster,plot\]'"):
        main()


def test_a_clone_reads_its_own_mappings() -> None:
    assert source_tree() == ROOT
    assert mappings_folder() == ROOT / "mappings"


# Built once for all tests below: the sdist from a copy of the tree, the wheel from the sdist.


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built")
    ignored = shutil.ignore_patterns(".*cache*", ".git", ".venv", "build", "dist", "site", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT, folder / "tree", ignore=ignored)
    build("build_sdist", folder / "tree", folder)
    [sdist] = folder.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    build("build_wheel", unpacked(folder), folder)
    return folder


def build(hook: str, tree: Path, folder: Path) -> None:
    """Call the build backend as pip does, with the setuptools that is installed: a test needs no network."""
    code = f"import sys, setuptools.build_meta as backend; backend.{hook}(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)], cwd=tree, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr


def unpacked(folder: Path) -> Path:
    return folder / f"ksparse-{connector.__version__}"


@pytest.fixture(scope="module")
def installed(built: Path) -> Path:
    """The `python` of an environment that has the wheel, and what it depends on from the one that runs this test."""
    pytest.importorskip("pip")
    home = built / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", home], check=True, timeout=60)
    python = home / "bin" / "python"
    [wheel] = built.glob("*.whl")
    install = ("install", "--quiet", "--no-deps", "--no-index", wheel)
    run(sys.executable, "-m", "pip", "--python", python, *install, cwd=built)
    purelib = sysconfig.get_path("purelib", vars={"base": str(home), "platbase": str(home)})
    # Its own .pth files, that of our editable install among them, are not read there.
    Path(purelib, "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return python


def run(*command: str | Path, cwd: Path) -> str:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "OPENSEARCH"))}
    done = subprocess.run(command, cwd=cwd, env=clean, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.slow
def test_the_wheel_holds_the_library_and_nothing_else(built: Path) -> None:
    [wheel] = built.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    info = f"ksparse-{connector.__version__}.dist-info"
    assert {name.partition("/")[0] for name in names} == {"connector", info}
    ours = {path.relative_to(ROOT).as_posix() for path in (ROOT / "connector").rglob("*") if path.is_file()}
    ours |= {f"connector/mappings/{path.name}" for path in (ROOT / "mappings").glob("*.json")}
    ours.add("connector/cluster/docker-compose.yml")
    assert {name for name in names if name.startswith("connector/")} == {
        name for name in ours if "__pycache__" not in name
    }
    licences = {name for name in names if name.startswith(f"{info}/licenses/")}
    assert {f"{info}/licenses/LICENSE", f"{info}/licenses/NOTICE"} < licences
    metadata = zipfile.ZipFile(wheel).read(f"{info}/METADATA").decode()
    assert f"\nVersion: {connector.__version__}\n" in metadata
    assert "\nLicense-Expression: Apache-2.0\n" in metadata


@pytest.mark.slow
def test_the_installed_library_has_its_files(installed: Path, tmp_path: Path) -> None:
    code = """
import connector
from connector.cluster.compose import COMPOSE_FILE
from connector.index.schema import load_mapping
from connector.source_tree import source_tree
assert source_tree() is None
assert COMPOSE_FILE.is_file()
assert load_mapping("rank_features")["mappings"]["properties"]["features"] == {"type": "rank_features"}
assert "embedding" in load_mapping("lucene_hnsw")["mappings"]["properties"]
print(connector.__file__)
"""
    assert Path(run(installed, "-c", code, cwd=tmp_path).strip()).is_relative_to(installed.parents[1])


@pytest.mark.slow
def test_the_installed_command_runs_outside_of_a_clone(installed: Path, tmp_path: Path) -> None:
    command = installed.with_name("ksparse")
    assert "\n  ingest " in run(command, "--help", cwd=tmp_path)
    assert run(command, "--version", cwd=tmp_path) == f"ksparse, version {connector.__version__}\n"
    assert "not of the installed library" in run(command, "bench", "--help", cwd=tmp_path)


@pytest.mark.slow
def test_the_sdist_holds_what_is_tracked(built: Path) -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a clone")
    tracked = {name for name in listed.stdout.splitlines() if (ROOT / name).is_file()}
    assert {name for name in tracked if not (unpacked(built) / name).is_file()} == {".ci/run", ".gitignore"}


@pytest.mark.slow
def test_the_sdist_runs_its_own_tests(built: Path) -> None:
    chosen = ["tests/test_packaging.py", "tests/test_query.py"]
    printed = run(sys.executable, "-m", "pytest", "-q", "-m", "not slow", *chosen, cwd=unpacked(built))
    assert " passed" in printed
