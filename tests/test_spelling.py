from __future__ import annotations

import pytest

from tlsprobe.spelling import nearest

OPTIONS = ("verbose", "trials", "idle-limit", "no-color", "profile", "sequence")


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("trails", "trials"),
        ("sequences", "sequence"),
        ("idle", "idle-limit"),
        ("color", "no-color"),
        ("bogus", None),
        ("id", None),
        ("", None),
    ],
)
def test_what_a_word_was_meant_to_be(word: str, meant: str | None) -> None:
    assert nearest(word, OPTIONS) == meant
