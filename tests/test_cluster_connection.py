import pytest

from connector.cluster import Cluster, connection_from_environment
from connector.connection.access import Access
from connector.errors import ClusterError


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENSEARCH_URL", "OPENSEARCH_USERNAME", "OPENSEARCH_PASSWORD"):
        monkeypatch.delenv(name, raising=False)


def test_no_url_is_no_connection() -> None:
    assert connection_from_environment() is None


def test_url_and_credentials_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENSEARCH_URL", "https://search.example:9200/")
    monkeypatch.setenv("OPENSEARCH_USERNAME", "ada")
    monkeypatch.setenv("OPENSEARCH_PASSWORD", "lace")
    assert connection_from_environment() == Cluster(
        "https://search.example:9200", Access(username="ada", password="lace"), kind="given"
    )


def test_the_password_is_not_printed() -> None:
    assert "lace" not in repr(Cluster("http://localhost", Access(username="ada", password="lace")))


@pytest.mark.parametrize("url", ["localhost:9200", "ftp://localhost", "http://"])
def test_what_is_no_url_is_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENSEARCH_URL", url)
    with pytest.raises(ClusterError, match=f"OPENSEARCH_URL is '{url}'"):
        connection_from_environment()


def test_credentials_in_the_url_are_refused_and_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENSEARCH_URL", "http://ada:lace@localhost:9200")
    with pytest.raises(ClusterError, match="set OPENSEARCH_USERNAME") as caught:
        connection_from_environment()
    assert "lace" not in str(caught.value)


def test_a_user_without_a_password_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENSEARCH_URL", "http://localhost:9200")
    monkeypatch.setenv("OPENSEARCH_USERNAME", "ada")
    with pytest.raises(ClusterError, match="OPENSEARCH_PASSWORD is not set"):
        connection_from_environment()
