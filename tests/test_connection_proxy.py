"""Which proxy leads where, by real proxies in front of a small server."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from opensearchpy.exceptions import ConnectionError

from connector.cli.main import cli
from connector.connection.access import access_from_environment
from connector.connection.address import parse_address
from connector.connection.client import check_server, connect, explained
from connector.connection.proxy import find_proxy
from connector.errors import ClusterError
from tests.fault_proxy import TLS_FOLDER, fault_proxy
from tests.forward_proxy import ForwardProxy, forward_proxy
from tests.http_server import QuietHandler, serving

INFO = {"cluster_name": "books", "version": {"distribution": "opensearch", "number": "3.6.0"}}
CLOSED = "http://127.0.0.1:1"


class Node(QuietHandler):
    """A fake OpenSearch that records the request paths."""

    def do_GET(self) -> None:
        self.reply(json.dumps(INFO | {"path": self.path}).encode())


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "OPENSEARCH_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def node() -> Iterator[str]:
    with serving(Node) as url:
        yield url


@pytest.fixture
def proxy() -> Iterator[ForwardProxy]:
    with forward_proxy() as proxy:
        yield proxy


def test_plain_requests_are_forwarded_with_their_whole_address(node: str, proxy: ForwardProxy) -> None:
    elsewhere = node.replace("127.0.0.1", "search.example")
    with connect(f"{elsewhere}/prefix", proxy=proxy.url, username="ada", password="lace") as client:
        assert client.info()["path"] == "/prefix/"
    assert proxy.asked == [f"GET {elsewhere}/prefix/"]
    assert proxy.headers[0]["authorization"].startswith("Basic ")


def test_tls_goes_through_a_tunnel_that_sees_no_credentials(node: str, proxy: ForwardProxy) -> None:
    with (
        fault_proxy(node, tls=True, credentials=("ada", "lace")) as front,
        connect(front.url, proxy=proxy.url, ca_certs=TLS_FOLDER / "ca.pem", username="ada", password="lace") as client,
    ):
        assert check_server(client).url == front.url
        assert proxy.asked == [f"CONNECT {front.url.removeprefix('https://')}"]
        assert "authorization" not in proxy.headers[0]


@pytest.mark.parametrize("tls", [False, True])
def test_a_proxy_gets_the_credentials_of_its_url(node: str, tls: bool) -> None:
    with forward_proxy(credentials=("ada", "lacé@1")) as proxy, fault_proxy(node, tls=tls) as front:
        named = proxy.url.replace("//", "//ada:lac%C3%A9%401@")
        with connect(front.url, proxy=named, ca_certs=TLS_FOLDER / "ca.pem") as client:
            check_server(client)
        assert base64.b64decode(proxy.headers[0]["proxy-authorization"].removeprefix("Basic ")) == "ada:lacé@1".encode()
        refused = connect(front.url, proxy=proxy.url, ca_certs=TLS_FOLDER / "ca.pem")
        with refused as client, pytest.raises(ClusterError, match=f"proxy {proxy.url} .*407"):
            check_server(client)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_is_unreachable_is_named_and_not_the_server(scheme: str) -> None:
    url = f"{scheme}://search.example:9200"
    with (
        connect(url, proxy="http://ada:lace@127.0.0.1:1") as client,
        pytest.raises(
            ClusterError, match=f"{url} cannot be reached. The connection through the proxy {CLOSED} failed"
        ) as refused,
    ):
        check_server(client)
    assert "lace" not in str(refused.value)
    assert "Correct the address or credentials of the proxy, or leave it out." in str(refused.value)


def test_an_unreachable_proxy_of_the_environment_can_be_avoided_by_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", CLOSED)
    with (
        connect("http://search.example:9200") as client,
        pytest.raises(ClusterError, match=f"through the proxy {CLOSED} of HTTP_PROXY failed: ") as refused,
    ):
        check_server(client)
    assert str(refused.value).endswith("of the proxy, or add the server's host to NO_PROXY.")


def test_the_command_line_and_the_environment_name_a_proxy(
    node: str, proxy: ForwardProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = node.replace("127.0.0.1", "search.example")
    monkeypatch.setenv("OPENSEARCH_URL", elsewhere)
    asked = 0
    for variables, options in (
        ({}, ["--proxy", proxy.url]),
        ({"OPENSEARCH_PROXY": proxy.url}, []),
        ({"HTTP_PROXY": proxy.url}, []),
        ({"ALL_PROXY": proxy.url.removeprefix("http://")}, []),
        ({"OPENSEARCH_PROXY": CLOSED, "HTTP_PROXY": CLOSED}, ["--proxy", proxy.url]),
    ):
        with monkeypatch.context() as patch:
            for name, value in variables.items():
                patch.setenv(name, value)
            result = CliRunner().invoke(cli, ["status", "--json", *options])
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout)["url"] == elsewhere
        assert len(proxy.asked) > asked and proxy.asked[asked] == f"GET {elsewhere}/"
        asked = len(proxy.asked)


def test_a_proxy_of_the_environment_is_not_for_this_machine(node: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", CLOSED)
    with connect(node) as client:
        assert check_server(client).url == node


def test_a_proxy_with_a_password_is_refused_on_the_command_line() -> None:
    result = CliRunner().invoke(cli, ["status", "--proxy", "http://ada:lace@proxy"])
    assert result.exit_code == 2
    assert "give proxy credentials in OPENSEARCH_PROXY" in result.output and "lace" not in result.output


@pytest.mark.parametrize("proxy", ["socks5://host", "ftp://host", "http://"])
def test_what_is_no_proxy_is_refused(proxy: str) -> None:
    with pytest.raises(ClusterError, match="The URL of proxy is"):
        connect("http://search.example", proxy=proxy)


@pytest.mark.parametrize(
    ("no_proxy", "excepted"),
    [
        ("search.example.org", True),
        ("SEARCH.example.org", True),
        ("example.org", True),
        (".example.org", True),
        ("*.example.org", True),
        ("other.org, example.org", True),
        ("*", True),
        ("search.example.org:9200", True),
        ("search.example.org:9201", False),
        ("arch.example.org", False),
        ("example.com", False),
        ("", False),
        (",", False),
    ],
)
def test_no_proxy_names_hosts_and_domains(no_proxy: str, excepted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy:3128")
    monkeypatch.setenv("NO_PROXY", no_proxy)
    [address, _] = parse_address("http://search.example.org:9200")
    assert (find_proxy(address) is None) is excepted


@pytest.mark.parametrize(
    ("url", "no_proxy", "excepted"),
    [
        ("http://10.1.2.3", "10.0.0.0/8", True),
        ("http://11.1.2.3", "10.0.0.0/8", False),
        ("http://10.1.2.3", "10.1.2.3", True),
        ("http://[2001:db8::7]", "2001:db8::/32", True),
        ("http://[2001:db8::7]", "[2001:db8::7]", True),
        ("http://[2001:db8::7]:9200", "[2001:db8::7]:9200", True),
        ("http://[2001:db9::7]", "2001:db8::/32", False),
        ("http://[::1]", "", True),
        ("http://127.0.0.9", "", True),
        ("http://localhost", "", True),
    ],
)
def test_no_proxy_names_networks(url: str, no_proxy: str, excepted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy:3128")
    monkeypatch.setenv("NO_PROXY", no_proxy)
    assert (find_proxy(parse_address(url)[0]) is None) is excepted


def test_each_scheme_has_its_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://secure:1")
    monkeypatch.setenv("ALL_PROXY", "http://other:2")
    found = [find_proxy(parse_address(url)[0]) for url in ("https://host", "http://host")]
    assert list(map(str, found)) == ["proxy http://secure:1 of HTTPS_PROXY", "proxy http://other:2 of ALL_PROXY"]
    assert find_proxy(parse_address("https://host")[0], "") is None


def test_another_node_is_asked_where_one_cannot_be_connected_to(node: str) -> None:
    with connect([CLOSED, node]) as client:
        for _ in range(4):
            assert check_server(client).url == f"{CLOSED}, {node}"
    with connect(f"{CLOSED},http://127.0.0.1:2") as client, pytest.raises(ClusterError) as refused:
        check_server(client)
    assert str(refused.value).startswith(f"No OpenSearch answers at {CLOSED}, http://127.0.0.1:2.")


def test_a_request_that_was_sent_is_not_sent_to_another_node(node: str) -> None:
    asked: list[str] = []

    class Breaks(QuietHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.connection.close()
            self.rfile.close()

    with serving(Breaks) as one, serving(Breaks) as other, connect([one, other]) as client:
        with pytest.raises(ConnectionError):
            client.transport.perform_request("GET", "/_search")
        assert asked == ["/_search"]


def test_a_node_on_ipv6_is_reached_and_named_with_its_brackets() -> None:
    with serving(Node, host="::1") as url, connect(f"{url}/search") as client:
        assert check_server(client).url == f"{url}/search" and url.startswith("http://[::1]:")
    with (
        connect("http://[::1]:1/search") as client,
        pytest.raises(ClusterError, match=r"answers at http://\[::1\]:1/search\. Start"),
    ):
        check_server(client)


def test_a_name_that_no_server_has_is_said() -> None:
    with (
        connect("http://nowhere.invalid:9200") as client,
        pytest.raises(ClusterError, match=r"The host of http://nowhere\.invalid:9200 is not known to this machine"),
        explained(client),
    ):
        client.info()


def test_what_leads_to_a_folder_of_certificates_is_read(tmp_path: Path, node: str) -> None:
    (tmp_path / "5ff7e18b.0").write_text((TLS_FOLDER / "ca.pem").read_text())
    with fault_proxy(node, tls=True) as front, connect(front.url, ca_certs=tmp_path) as client:
        assert check_server(client).url == front.url


def test_an_empty_variable_is_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the documentation says of OPENSEARCH_PROXY, whatever HTTP_PROXY says."""
    monkeypatch.setenv("HTTP_PROXY", CLOSED)
    address, _ = parse_address("http://search.example")
    assert find_proxy(address, access_from_environment().proxy) is not None
    monkeypatch.setenv("OPENSEARCH_PROXY", "")
    assert find_proxy(address, access_from_environment().proxy) is None
