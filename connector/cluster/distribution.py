"""The OpenSearch distribution of embedded nodes: downloaded, verified and unpacked once."""

import hashlib
import os
import shutil
import subprocess
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from logging import getLogger
from pathlib import Path

from connector.cluster.folders import cache_folder, locked
from connector.cluster.java import Java
from connector.errors import ClusterError

_log = getLogger("ksparse.cluster")

VERSION = "3.6.0"
_SETUP_TIMEOUT_S = 900.0


@dataclass(frozen=True)
class Artifact:
    """A published zip file: Maven coordinates and SHA-256."""

    group: str
    name: str
    version: str
    sha256: str


# 3.6.0 is the newest release with all three artifacts.
SERVER = Artifact(
    "org.opensearch.distribution.integ-test-zip",
    "opensearch",
    VERSION,
    "a91faa1dc1cadc78cb278b4f63847e19e1627a4e9de698e14e7efc14ee37b286",
)
# In the order of installation: neural-search extends k-NN.
PLUGINS = (
    Artifact(
        "org.opensearch.plugin",
        "opensearch-knn",
        f"{VERSION}.0",
        "ac392ca28a39b3bf290648a422ef30cb149dda2963a9d7feb26060e932341c9a",
    ),
    Artifact(
        "org.opensearch.plugin",
        "neural-search",
        f"{VERSION}.0",
        "6ef1b206e79391e2e36268e32dc34d27fd8b8a59a8eb0a7393c97d53b038e433",
    ),
)
# For calling an encoding service. In the order of installation: ML Commons extends the scheduler.
ML_PLUGINS = (
    Artifact(
        "org.opensearch.plugin",
        "opensearch-job-scheduler",
        f"{VERSION}.0",
        "f81d0aa9fc850b18f803292bd7ae68bd33561f6c1d12db0f68529d40eddcee24",
    ),
    Artifact(
        "org.opensearch.plugin",
        "opensearch-ml-plugin",
        f"{VERSION}.0",
        "c051d436fe1936da1477bb999db829eb2bc92b12989e376c300d0a874fb90f9d",
    ),
)
DIGEST = hashlib.sha256("".join(part.sha256 for part in (SERVER, *PLUGINS)).encode()).hexdigest()[:12]


def prepare(java: Java, *, ml: bool = False, on_progress: Callable[[str], None]) -> Path:
    """Return the read-only folder of a distribution with both plugins; the first call creates it.

    Args:
        java: Java for the plugin installer. Without Thai locale data, the distribution has no analysis-common.
        ml: Include ML Commons.
        on_progress: Called with a message about each slow step.

    Raises:
        ClusterError: An artifact cannot be downloaded, has another digest, or cannot be installed.
    """
    cache = cache_folder()
    complete = cache / f"opensearch-{VERSION}-{DIGEST}"
    whole = complete.with_name(f"{complete.name}-ml-{ML_PLUGINS[-1].sha256[:8]}") if ml else complete
    wanted = whole if java.thai else whole.with_name(f"{whole.name}-reduced")
    if wanted.exists():
        _log.info("OpenSearch %s is in %s.", VERSION, wanted)
        return wanted
    with locked(cache / "setup.lock", timeout_s=_SETUP_TIMEOUT_S):
        if not complete.exists():
            _set_up(complete, java, on_progress)
        if not whole.exists():
            _extend(complete, whole, java, on_progress)
        if not wanted.exists():
            _reduce(whole, wanted)
    return wanted


def _set_up(target: Path, java: Java, on_progress: Callable[[str], None]) -> None:
    """Build under another name and rename at the end, so that the target is always complete."""
    downloads = target.with_name("downloads")
    on_progress(f"Downloading OpenSearch {VERSION}, k-NN and neural-search (180 MB, once)")
    server, *plugins = [_download(artifact, downloads) for artifact in (SERVER, *PLUGINS)]
    on_progress("Unpacking and installing the plugins")
    unfinished = target.with_name(f"{target.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    _unpack(server, unfinished)
    home = unfinished / f"opensearch-{VERSION}"
    _install(home, plugins, java)
    home.rename(target)
    shutil.rmtree(unfinished)
    shutil.rmtree(downloads)


def _extend(complete: Path, target: Path, java: Java, on_progress: Callable[[str], None]) -> None:
    """Copy the distribution with hard links and install ML Commons; the installer only adds files."""
    downloads = target.with_name("downloads")
    on_progress("Downloading ML Commons (390 MB, once)")
    plugins = [_download(artifact, downloads) for artifact in ML_PLUGINS]
    on_progress("Installing ML Commons")
    unfinished = target.with_name(f"{target.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    shutil.copytree(complete, unfinished, copy_function=os.link)
    _install(unfinished, plugins, java)
    unfinished.rename(target)
    shutil.rmtree(downloads)


def _install(home: Path, plugins: Sequence[Path], java: Java) -> None:
    done = subprocess.run(
        [home / "bin" / "opensearch-plugin", "install", "--batch", *(plugin.as_uri() for plugin in plugins)],
        env={"PATH": os.environ.get("PATH", os.defpath), "OPENSEARCH_JAVA_HOME": str(java.home)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        last_line = (done.stdout + done.stderr).strip().rpartition("\n")[2]
        raise ClusterError(f"opensearch-plugin could not install {[plugin.stem for plugin in plugins]}: {last_line}")


def _download(artifact: Artifact, folder: Path) -> Path:
    """Download an artifact to `folder`, a separate Maven repository without unverified files of other programs."""
    try:
        from jgo.maven import MavenContext
    except ImportError as error:
        raise ClusterError(
            "Downloading OpenSearch needs jgo, which is not installed. Run: pip install 'ksparse[cluster]', "
            "or start Docker, or set OPENSEARCH_URL."
        ) from error
    coordinate = f"{artifact.group}:{artifact.name}:{artifact.version}"
    # Twice, because jgo takes the partial file of an interrupted download for complete.
    for _ in range(2):
        try:
            project = MavenContext(repo_cache=folder, timeout=60).project(artifact.group, artifact.name)
            path = Path(project.at_version(artifact.version).artifact(packaging="zip").resolve())
        except Exception as error:  # jgo raises errors of requests and RuntimeErrors.
            raise ClusterError(
                f"Cannot download {coordinate} ({type(error).__name__}: {error}). Check the network and try again, "
                "or set OPENSEARCH_URL."
            ) from error
        with path.open("rb") as handle:
            digest = hashlib.file_digest(handle, "sha256").hexdigest()
        if digest == artifact.sha256:
            return path
        path.unlink()
    raise ClusterError(
        f"{coordinate} has SHA-256 {digest} instead of {artifact.sha256}, so it was not used; "
        "check the source of Maven artifacts on this machine."
    )


def _unpack(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive) as parts:
        for part in parts.infolist():
            path = parts.extract(part, folder)
            # extract() drops the mode, and with it the execute permission of scripts.
            if mode := part.external_attr >> 16 & 0o777:
                os.chmod(path, mode)


def _reduce(complete: Path, reduced: Path) -> None:
    """Copy the distribution with hard links, without analysis-common, whose Thai tokenizer needs locale data."""
    unfinished = reduced.with_name(f"{reduced.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)

    def unwanted(folder: str, names: list[str]) -> list[str]:
        return ["analysis-common"] if Path(folder) == complete / "modules" else []

    shutil.copytree(complete, unfinished, copy_function=os.link, ignore=unwanted)
    unfinished.rename(reduced)
