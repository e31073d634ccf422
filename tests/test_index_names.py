"""Messages about names of indices and fields name the broken rule."""

from __future__ import annotations

import pytest

from connector.index.names import check_field_name, no_index

TAKEN = ("title", "_id")


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("title", "is used by ksparse itself"),
        ("_id", "is used by ksparse itself"),
        ("_x", "begins with _"),
        ("a.b", "contains a dot"),
        ("a\n", "contains an unprintable character"),
        (" ", "is blank"),
        ("", "is blank"),
    ],
)
def test_a_refused_field_name_is_told_its_rule(name: str, rule: str) -> None:
    with pytest.raises(ValueError, match="cannot be declared") as refused:
        check_field_name(name, TAKEN)
    assert str(refused.value) == f"field {name!r} cannot be declared: its name {rule}. Rename it."


def test_other_field_names_are_accepted() -> None:
    for name in ("year", "a b", "é", "a_b"):
        check_field_name(name, TAKEN)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("docs", "There is no index 'docs'. Create it with `ksparse ingest CORPUS --index docs`."),
        ("Docs", "There is no index 'Docs', and none can have that name: it must be lowercase."),
        ("docs*", "No index matches 'docs*', or one of its names does not exist."),
    ],
)
def test_what_does_not_exist_is_answered_by_what_can_be_done(name: str, said: str) -> None:
    assert no_index(name) == said
