import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from connector.cluster import Cluster, embedded_cluster, read_status, wait_until_ready
from connector.cluster.distribution import DIGEST, prepare
from connector.cluster.folders import cache_folder
from connector.cluster.java import find_java
from connector.cluster.probe import get_json
from connector.cluster.processes import find_processes
from connector.errors import ClusterError
from tests.patience import process, wait_until

pytestmark = [pytest.mark.opensearch, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
PLUGINS = {"opensearch-knn", "opensearch-neural-search"}
# Nodes start with one compiler only, in half of the time.
KSPARSE = """
from functools import partial
import click
from connector.cli.cluster import down, status, up
from connector.cluster import local
local.create_nodes = partial(local.create_nodes, quick_start=True)
click.Group("ksparse", commands={"up": up, "down": down, "status": status})()
"""
PARENT = """
import time
from connector.cluster import embedded_cluster
with embedded_cluster(heap="512m") as cluster:
    print(cluster.url, flush=True)
    time.sleep(600)
"""


def environment(cache: Path) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("OPENSEARCH_URL")}
    return inherited | {"PYTHONPATH": str(ROOT), "KSPARSE_CACHE": str(cache)}


@pytest.fixture
def own_cache() -> Iterator[Path]:
    """A cache folder with the distribution of the real one, but separate data and state.

    Beside the real one, since pytest's folders are closed to the node's user.
    """
    prepare(find_java(), on_progress=print)
    folder = Path(tempfile.mkdtemp(dir=cache_folder(), prefix="test-"))
    folder.chmod(0o755)
    for distribution in cache_folder().glob(f"opensearch-*-{DIGEST}*"):
        (folder / distribution.name).symlink_to(distribution)
    yield folder
    assert find_processes(folder) == [], "processes were left behind"
    shutil.rmtree(folder)


@pytest.fixture
def ksparse(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    def run(*arguments: str) -> str:
        command = [sys.executable, "-c", KSPARSE, *arguments]
        return subprocess.run(command, env=environment(own_cache), stdout=subprocess.PIPE, text=True, check=True).stdout

    # No Docker here, so that it is the embedded node which is tested.
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent")
    yield run
    run("down", "--purge")


def put(url: str, path: str, body: object) -> None:
    import urllib.request

    request = urllib.request.Request(
        url + path, json.dumps(body).encode(), {"Content-Type": "application/json"}, method="PUT"
    )
    with urllib.request.urlopen(request, timeout=30) as reply:
        reply.read()


def test_the_shared_cluster_is_healthy_and_has_both_plugins(opensearch_cluster: Cluster) -> None:
    found = read_status(opensearch_cluster)
    assert found.version.startswith("3.")
    assert found.health in ("green", "yellow")
    assert set(found.plugins or ()) >= PLUGINS


def test_up_outlives_its_command_and_keeps_the_data_until_purged(ksparse: Callable[..., str], own_cache: Path) -> None:
    url = json.loads(ksparse("up", "--heap", "512m", "--json"))["url"]
    put(url, "/books/_doc/1?refresh=true", {"title": "Sparse"})
    assert ksparse("up") == f"OpenSearch is already up at {url} (embedded)\n"
    found = json.loads(ksparse("status", "--json"))
    assert (found["kind"], found["health"], found["documents"]) == ("embedded", "yellow", 1)

    assert ksparse("down") == f"OpenSearch at {url} is down\n"
    assert find_processes(own_cache) == []

    again = json.loads(ksparse("up", "--heap", "512m", "--json"))["url"]
    assert get_json(Cluster(again), "/books/_doc/1")["_source"] == {"title": "Sparse"}
    assert not (own_cache / "setup.lock").exists(), "a second start set something up"
    assert ksparse("down", "--purge").endswith("is down; data deleted\n")
    assert not list(own_cache.glob("up-*"))


def test_no_java_is_left_of_a_killed_parent(own_cache: Path) -> None:
    command = [sys.executable, "-c", PARENT]
    with process(command, env=environment(own_cache), stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline().startswith("http://127.0.0.1:")
        [java] = find_processes(own_cache)
        assert java.name() == "java"
        parent.kill()
    wait_until(lambda: not find_processes(own_cache) and not any((own_cache / "run").iterdir()))


@pytest.mark.long
def test_three_nodes_turn_green_again_after_one_was_killed() -> None:
    with embedded_cluster(nodes=3, heap="512m", timeout_s=480.0, quick_start=True) as cluster:
        assert get_json(cluster, "/_cluster/health")["status"] == "green"
        put(cluster.url, "/books", {"settings": {"number_of_replicas": 2}})
        put(cluster.url, "/books/_doc/1?refresh=true", {"title": "Sparse"})

        lost = cluster.nodes[2]
        lost.kill()
        wait_until(lambda: get_json(cluster, "/_cluster/health")["number_of_nodes"] < 3, "the others never noticed")
        with pytest.raises(ClusterError, match="was not ready after 1 s"):
            wait_until_ready(cluster, nodes=3, timeout_s=1.0)

        lost.start()
        wait_until_ready(cluster, nodes=3, timeout_s=120.0)
        assert get_json(cluster, "/_cluster/health")["status"] == "green"

        lost.pause()
        with pytest.raises(ClusterError, match="gave no answer in time"):
            get_json(Cluster(lost.url), "/", timeout_s=1.0)
        lost.resume()
        assert get_json(Cluster(lost.url), "/books/_doc/1")["found"]
        folder = lost.folder.parent
    assert not folder.exists()
