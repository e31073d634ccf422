"""A real OpenSearch for the tests marked `opensearch`: given, by Docker, or an embedded node; started once per run."""

from collections.abc import Iterator

import pytest

from connector.cluster import Cluster, connection_from_environment, docker_answers, embedded_cluster, wait_until_ready
from connector.cluster.compose import COMPOSE_FILE
from connector.cluster.node import free_ports
from connector.errors import ClusterError

_HEAP = "1500m"
_TIMEOUT_S = 600.0
_COUNTS_REQUESTS = {"indices.breaker.total.use_real_memory": False}
"""Otherwise the circuit breaker counts uncollected garbage, of which a thousand tests produce much."""


@pytest.fixture(scope="session")
def docker_compose_file() -> str:
    """Where pytest-docker looks."""
    return str(COMPOSE_FILE)


@pytest.fixture(scope="session")
def docker_setup() -> str:
    """Start only OpenSearch with pytest-docker."""
    return "up --detach --wait opensearch"


@pytest.fixture(scope="session")
def opensearch_cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A ready cluster, shared by all tests, so each test uses unique index names."""
    try:
        given = connection_from_environment()
        if given is not None:
            wait_until_ready(given, nodes=1, timeout_s=60.0)
            yield given
        elif docker_answers():
            yield _docker_cluster(request)
        else:
            with embedded_cluster(
                heap=_HEAP, timeout_s=_TIMEOUT_S, settings=_COUNTS_REQUESTS, quick_start=True
            ) as cluster:
                yield cluster
    except ClusterError as error:
        pytest.fail(f"No OpenSearch for the tests. {error}", pytrace=False)


@pytest.fixture(scope="session")
def opensearch_url(opensearch_cluster: Cluster) -> str:
    return opensearch_cluster.url


def _docker_cluster(request: pytest.FixtureRequest) -> Cluster:
    with pytest.MonkeyPatch.context() as patch:
        # Another port than that of a cluster of `ksparse up`.
        patch.setenv("OPENSEARCH_PORT", str(free_ports(1)[0]))
        patch.setenv("OPENSEARCH_HEAP", _HEAP)
        # By name, because as an argument it would need Docker on every machine.
        services = request.getfixturevalue("docker_services")
        cluster = Cluster(f"http://127.0.0.1:{services.port_for('opensearch', 9200)}", kind="compose")
    wait_until_ready(cluster, nodes=1, timeout_s=_TIMEOUT_S)
    return cluster
