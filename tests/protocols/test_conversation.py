from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsprobe.protocols.conversation import Conversation, Phase, escaped


class Mute(Conversation):
    def secured(self) -> bytes:
        self.phase = Phase.READY
        return b""

    def feed(self, data: bytes) -> bytes:
        return b""

    def request(self) -> bytes:
        self.owe()
        return b"?"


def test_is_ready_again_only_when_every_response_is_in() -> None:
    mute = Mute()
    mute.secured()
    mute.request()
    mute.request()
    mute.settle()
    assert (mute.phase, mute.owed, mute.answered) == (Phase.OWED, 2, 1)
    mute.settle()
    assert (mute.phase, mute.owed, mute.answered) == (Phase.READY, 2, 2)


def test_the_first_failure_wins_and_is_final() -> None:
    mute = Mute()
    mute.secured()
    mute.fail("first", "mend it")
    mute.fail("second")
    mute.request()
    mute.settle()
    assert (mute.phase, mute.failure, mute.hint) == (Phase.FAILED, "first", "mend it")


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (b"plain words", "plain words"),
        (b"\x1b[31mred\r\n", r"\x1b[31mred\r\n"),
        (b"\xff\xfe", r"\xff\xfe"),
        ("größer", "größer"),
        ("\u202etxet", r"\u202etxet"),
        (bytearray(b"x" * 201), "x" * 199 + "…"),
    ],
)
def test_a_peers_words_are_safe_to_print(said: bytes | bytearray | str, shown: str) -> None:
    assert escaped(said) == shown


@given(st.binary() | st.text(), st.integers(1, 300))
def test_nothing_escaped_is_long_or_unprintable(said: bytes | str, limit: int) -> None:
    shown = escaped(said, limit)
    assert len(shown) <= limit
    assert shown.isprintable()
