"""Documents cannot control a terminal."""

from __future__ import annotations

import pytest

from connector.cli.plain import plain


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("cats\n sleep\t", "cats sleep"),
        ("\x1b[2J\x1b]0;title\x07cats", "[2J ]0;title cats"),
        ("\x9b31mcats\x7f", "31mcats"),
        ("moc.\u202elive\u202c", "moc. live"),
        ("Größe 猫 👩\u200d🚀 ক্\u200dষ", "Größe 猫 👩\u200d🚀 ক্\u200dষ"),
    ],
)
def test_control_characters_are_left_out(text: str, shown: str) -> None:
    assert plain(text) == shown
