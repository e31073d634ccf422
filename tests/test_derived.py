from __future__ import annotations

from typing import Any

import pytest

from connector.index.derived import derived_in, with_derived
from connector.types import restored

LONG = "v" * 40_000


def test_only_fields_declared_as_ours_are_ours() -> None:
    ours = {"unindexed": {"type": "object", "enabled": False}, "meta_terms": {"type": "keyword", "doc_values": False}}
    assert derived_in(ours) == {"unindexed", "meta_terms"}
    assert derived_in({"unindexed": {"type": "keyword"}, "meta_terms": {"type": "keyword"}}) == set()
    assert derived_in({"unindexed": {"properties": {"a": {"type": "text"}}}}) == set()


@pytest.mark.parametrize(
    ("metadata", "indexed"),
    [
        ({"a": LONG, "b": 1}, {"b": 1}),
        ({"a": {"b": LONG, "c": "d"}}, {"a": {"c": "d"}}),
        ({"a": ["x", LONG, ["y", {"z": LONG}]]}, {"a": ["x", ["y", {}]]}),
        ({"é" * 20_000: "x", "b": "c"}, {"b": "c"}),
    ],
)
def test_long_strings_are_kept_and_not_indexed(metadata: dict[str, Any], indexed: dict[str, Any]) -> None:
    source = {"text": "cats", "metadata": metadata}
    sent = with_derived(source, {"unindexed"})
    assert sent == {"text": "cats", "metadata": indexed, "unindexed": {"metadata": metadata}}
    assert restored(sent) == source


def test_a_key_that_was_requested_alone_is_restored() -> None:
    assert restored({"unindexed": {"metadata": {"a": LONG}}}) == {"metadata": {"a": LONG}}
    assert restored({"title": "t", "unindexed": {"meta": {"a": LONG}}}) == {"title": "t", "meta": {"a": LONG}}


def test_an_index_without_the_field_is_sent_what_there_is() -> None:
    source = {"text": "cats", "metadata": {"a": LONG}, "unindexed": "mine", "meta_terms": "mine"}
    assert with_derived(source, ()) == source


@pytest.mark.parametrize("value", ["mine", 3, None, {}, {"a": 1}, ["a"]])
def test_a_field_of_the_users_own_is_read_as_it_is(value: object) -> None:
    source = {"text": "cats", "metadata": {"lang": "en"}, "unindexed": value}
    assert restored(source) == source
