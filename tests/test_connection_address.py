from __future__ import annotations

import pytest

from connector.connection.address import Address, Credentials, parse_addresses
from connector.connection.client import address_of, connect
from connector.errors import ClusterError


@pytest.mark.parametrize(
    ("url", "whole"),
    [
        ("http://host", "http://host:9200"),
        ("https://host", "https://host:443"),
        ("HTTPS://Host:1/", "https://host:1"),
        ("https://host/search/", "https://host:443/search"),
        ("https://host:8443/a/b", "https://host:8443/a/b"),
        ("http://[::1]", "http://[::1]:9200"),
        ("https://[2001:db8::7]:9243/os", "https://[2001:db8::7]:9243/os"),
        ("http://ada:lace@host:9200/x", "http://host:9200/x"),
        ("http://a:1,https://b/p , http://[::1]:3", "http://a:1, https://b:443/p, http://[::1]:3"),
        (["http://a:1", "http://b"], "http://a:1, http://b:9200"),
    ],
)
def test_messages_show_the_whole_address(url: str | list[str], whole: str) -> None:
    assert address_of(connect(url)) == whole


def test_credentials_of_an_address_are_taken_as_the_url_writes_them() -> None:
    [address], credentials = parse_addresses("http://a%40b:p%3Aw%2Fd@host")
    assert address == Address("http", "host", 9200) and credentials == Credentials("a@b", "p:w/d")
    _, credentials = parse_addresses("http://ada:lace@a,http://b")
    assert credentials == Credentials("ada", "lace")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("localhost:9200", "is 'localhost:9200', not a URL such as http://localhost:9200"),
        ("http://a b", "is 'http://a b', not a URL"),
        ("http://host/a b", "is 'http://host/a b', not a URL"),
        ("http://host?pretty", r"is 'http://host\?pretty'; a server's URL ends before the \?"),
        ("http://host/#top", "ends before the"),
        ("http://host:port", r"is not a valid URL\. The port must be a number from 1 to 65535"),
        ("http://host:0", "is not a valid URL"),
        ("http://host:65536", "is not a valid URL"),
        ("http://::1:9200", "an IPv6 address must be in brackets"),
        ("http://[::1", "an IPv6 address must be in brackets"),
        ("http://a:9200,b:9200", r"Separate several URLs by commas, each with its http://\.$"),
        ("http://ada:1/lace@host", "a / in a password must be written as %2F"),
        ("http://ada:lace@a,http://bob:lace@b", "has several users"),
        ([], "is an empty list"),
        (["http://a", ""], "is '', not a URL"),
        ("http://a*b", r"is 'http://a\*b', not a URL"),
        ("http://[fe80::1%25eth0]:9200", "not a URL"),
    ],
)
def test_what_is_no_address_is_refused_without_a_password(url: str | list[str], message: str) -> None:
    with pytest.raises(ClusterError, match=message) as refused:
        connect(url)
    assert "lace" not in str(refused.value)


def test_credentials_show_no_password() -> None:
    credentials = Credentials("ada", "lace")
    assert f"{credentials!r} {credentials}" == "Credentials(username='ada') Credentials(username='ada')"
    assert credentials.password == "lace"
