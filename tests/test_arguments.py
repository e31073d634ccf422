from __future__ import annotations

import pytest

from connector.arguments import refuse_unknown, rename


def test_names_of_others_become_ours() -> None:
    assert rename({"opensearch_url": "http://x", "index_name": "docs", "k": 3}, "Store") == {
        "url": "http://x",
        "index": "docs",
        "k": 3,
    }
    with pytest.raises(TypeError, match=r"^Store got 'hosts' and 'opensearch_url', which are the same option"):
        rename({"opensearch_url": "http://x", "hosts": "http://x"}, "Store")


def test_an_unknown_name_is_an_error_that_says_the_nearest() -> None:
    refuse_unknown(["url"], {"url"}, "Store")
    with pytest.raises(TypeError, match=r"^Store has no option 'verify_cert'; did you mean 'verify_certs'\?$"):
        refuse_unknown(["verify_cert"], {"url", "verify_certs"}, "Store")
    with pytest.raises(TypeError, match=r"^add\(\) has no option 'k'; it takes none\.$"):
        refuse_unknown(["k"], (), "add()")
    with pytest.raises(TypeError, match=r"^Store has no option 'zzz'\.$"):
        refuse_unknown(["zzz"], {f"name{number}" for number in range(20)}, "Store")
