import hashlib
import sys
import types
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from connector.cluster import distribution
from connector.cluster.distribution import Artifact, prepare
from connector.cluster.java import Java
from connector.errors import ClusterError

JAVA = Java(Path("/java"), "25.0.3", simd=True, thai=True)
INSTALLER = """#!/bin/sh
cd "$(dirname "$0")/.."
shift 2
for plugin in "$@"; do mkdir -p "plugins/$(basename "$plugin" .zip)"; done
"""


def make_server(path: Path, installer: str = INSTALLER) -> Path:
    """A zip with what the set-up touches: the plugin installer, a module, a configuration."""
    root = f"opensearch-{distribution.VERSION}"
    with zipfile.ZipFile(path, "w") as archive:
        script = zipfile.ZipInfo(f"{root}/bin/opensearch-plugin")
        script.external_attr = 0o100755 << 16
        archive.writestr(script, installer)
        archive.writestr(f"{root}/modules/analysis-common/a.jar", "thai")
        archive.writestr(f"{root}/modules/reindex/a.jar", "reindex")
    return path


class Repository:
    """A fake jgo that returns files of the test and counts its calls."""

    def __init__(self) -> None:
        self.files: dict[str, list[bytes]] = {}
        self.asked = 0

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        repository = self

        class Context:
            def __init__(self, *, repo_cache: Path, timeout: int) -> None:
                self.folder = repo_cache

            def project(self, group: str, name: str) -> "Context":
                self.name = name
                return self

            def at_version(self, version: str) -> "Context":
                return self

            def artifact(self, *, packaging: str) -> "Context":
                return self

            def resolve(self) -> Path:
                repository.asked += 1
                self.folder.mkdir(exist_ok=True)
                path = self.folder / f"{self.name}.zip"
                contents = repository.files[self.name]
                path.write_bytes(contents.pop(0) if len(contents) > 1 else contents[0])
                return path

        module = types.ModuleType("jgo.maven")
        module.MavenContext = Context  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "jgo", types.ModuleType("jgo"))
        monkeypatch.setitem(sys.modules, "jgo.maven", module)


@pytest.fixture
def make_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Repository]:
    def make(installer: str = INSTALLER) -> Repository:
        server = make_server(tmp_path / "server.zip", installer).read_bytes()
        repository = Repository()
        repository.files = {"opensearch": [server], "opensearch-knn": [b"knn"], "neural-search": [b"neural"]}
        repository.files |= {"opensearch-job-scheduler": [b"jobs"], "opensearch-ml-plugin": [b"ml"]}
        repository.install(monkeypatch)

        def artifact(name: str) -> Artifact:
            return Artifact("g", name, "1", hashlib.sha256(repository.files[name][0]).hexdigest())

        monkeypatch.setattr(distribution, "SERVER", artifact("opensearch"))
        monkeypatch.setattr(distribution, "PLUGINS", (artifact("opensearch-knn"), artifact("neural-search")))
        ml = artifact("opensearch-job-scheduler"), artifact("opensearch-ml-plugin")
        monkeypatch.setattr(distribution, "ML_PLUGINS", ml)
        return repository

    monkeypatch.setattr(distribution, "cache_folder", lambda: tmp_path)
    return make


def quiet(_: str) -> None:
    pass


def test_the_second_call_downloads_nothing(make_repository: Callable[..., Repository]) -> None:
    repository = make_repository()
    first = prepare(JAVA, on_progress=quiet)
    assert (first / "plugins" / "opensearch-knn").is_dir()
    assert (first / "plugins" / "neural-search").is_dir()
    repository.asked = 0
    assert prepare(JAVA, on_progress=quiet) == first
    assert repository.asked == 0


def test_only_the_distribution_and_the_lock_remain(make_repository: Callable[..., Repository], tmp_path: Path) -> None:
    make_repository()
    home = prepare(JAVA, on_progress=quiet)
    assert {path.name for path in tmp_path.iterdir()} == {home.name, "setup.lock", "server.zip"}


def test_ml_commons_comes_into_a_distribution_of_its_own(
    make_repository: Callable[..., Repository], tmp_path: Path
) -> None:
    repository = make_repository()
    without = prepare(JAVA, on_progress=quiet)
    repository.asked = 0
    home = prepare(JAVA, ml=True, on_progress=quiet)
    assert repository.asked == 2, "the server itself is there"
    installed = {path.name for path in (home / "plugins").iterdir()}
    assert installed == {"opensearch-knn", "neural-search", "opensearch-job-scheduler", "opensearch-ml-plugin"}
    assert {path.name for path in (without / "plugins").iterdir()} == {"opensearch-knn", "neural-search"}
    assert {path.name for path in tmp_path.iterdir()} == {without.name, home.name, "setup.lock", "server.zip"}


def test_half_a_download_is_fetched_again(make_repository: Callable[..., Repository]) -> None:
    repository = make_repository()
    repository.files["opensearch-knn"].insert(0, b"kn")
    assert prepare(JAVA, on_progress=quiet).is_dir()
    assert repository.asked == 4


def test_another_file_than_the_expected_one_is_refused(
    make_repository: Callable[..., Repository], tmp_path: Path
) -> None:
    repository = make_repository()
    repository.files["neural-search"] = [b"something else"]
    with pytest.raises(ClusterError, match="g:neural-search:1 has SHA-256"):
        prepare(JAVA, on_progress=quiet)
    assert not list(tmp_path.glob("opensearch-*"))


def test_without_a_network_the_error_names_the_part(make_repository: Callable[..., Repository]) -> None:
    make_repository().files.clear()
    with pytest.raises(ClusterError, match="Cannot download g:opensearch:1 .*Check the network"):
        prepare(JAVA, on_progress=quiet)


def test_without_jgo_the_error_names_the_extra(
    make_repository: Callable[..., Repository], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_repository()
    monkeypatch.setitem(sys.modules, "jgo.maven", None)
    with pytest.raises(ClusterError, match=r"pip install 'ksparse\[cluster\]'"):
        prepare(JAVA, on_progress=quiet)


def test_an_interrupted_set_up_is_done_again(make_repository: Callable[..., Repository]) -> None:
    make_repository("#!/bin/sh\necho 'no space left'; exit 1\n")
    with pytest.raises(ClusterError, match="could not install .*: no space left"):
        prepare(JAVA, on_progress=quiet)
    make_repository()
    home = prepare(JAVA, on_progress=quiet)
    assert (home / "plugins" / "neural-search").is_dir()


def test_a_java_without_thai_gets_no_analysis_common(make_repository: Callable[..., Repository]) -> None:
    make_repository()
    java = Java(Path("/java"), "25.0.3", simd=False, thai=False)
    home = prepare(java, on_progress=quiet)
    assert {path.name for path in (home / "modules").iterdir()} == {"reindex"}
    assert (prepare(JAVA, on_progress=quiet) / "modules" / "analysis-common").is_dir()
