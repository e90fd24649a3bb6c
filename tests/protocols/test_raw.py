from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from tlsprobe.protocols.conversation import Phase
from tlsprobe.protocols.raw import ANYTHING, KEPT, RAW, Raw, RawSettings, Turn, raw

LINE = re.compile(rb"\n")
PING = RawSettings(request=b"ping\n", response=LINE, goodbye=b"bye\n")


def ready(settings: RawSettings) -> Raw:
    conversation = raw(settings)()
    assert phase(conversation) is Phase.SECURE
    assert conversation.secured() == b""
    return conversation


def phase(conversation: Raw) -> Phase:
    # A call, so that mypy does not take the phase for what it was asserted to be before.
    return conversation.phase


def state(conversation: Raw) -> tuple[Phase, int, int, bool]:
    return conversation.phase, conversation.answered, conversation.owed, conversation.partial


def test_a_line_answers_a_line() -> None:
    conversation = ready(PING)
    assert conversation.request() == b"ping\n"
    assert state(conversation) == (Phase.OWED, 0, 1, False)
    assert conversation.feed(b"pong 64 " + b"x" * 64) == b""
    assert state(conversation) == (Phase.OWED, 0, 1, True)
    conversation.feed(b"\n")
    assert state(conversation) == (Phase.READY, 1, 1, False)
    assert conversation.goodbye() == b"bye\n"
    assert state(conversation) == (Phase.READY, 1, 1, False)


def test_answers_meet_their_requests_in_order() -> None:
    conversation = ready(
        RawSettings(
            request=b"a", response=LINE, goodbye=b"QUIT\r\n", goodbye_response=re.compile(rb"221 ")
        )
    )
    conversation.request()
    conversation.request()
    conversation.goodbye()
    conversation.feed(b"221 one\ntw")
    assert state(conversation) == (Phase.OWED, 1, 3, True)
    conversation.feed(b"o\n221 bye\n")
    assert state(conversation) == (Phase.READY, 3, 3, False)


def test_nothing_is_owed_where_the_profile_says_so() -> None:
    conversation = ready(RawSettings())
    assert conversation.request() == b""
    assert state(conversation) == (Phase.READY, 0, 0, False)
    assert conversation.goodbye() is None
    conversation.feed(b"unasked")
    assert state(conversation) == (Phase.READY, 0, 0, False)


def test_any_bytes_can_be_an_answer() -> None:
    conversation = ready(RawSettings(request=b"?", response=ANYTHING))
    conversation.request()
    conversation.feed(b"\n")
    assert state(conversation) == (Phase.READY, 1, 1, False)


def test_waits_for_a_greeting() -> None:
    settings = RawSettings(greeting=re.compile(rb"220 .*\r\n"), request=b"NOOP\r\n", response=LINE)
    conversation = ready(settings)
    conversation.feed(b"220-more\r\n220 mail.exa")
    assert phase(conversation) is Phase.GREETING
    conversation.feed(b"mple\r\n")
    assert phase(conversation) is Phase.READY
    conversation.request()
    assert state(conversation) == (Phase.OWED, 0, 1, False)


def test_an_opening_is_said_once_and_answered_by_the_greeting() -> None:
    settings = RawSettings(opening=b"<stream>", greeting=re.compile(rb"</features>"))
    conversation = raw(settings)()
    assert conversation.secured() == b"<stream>"
    assert phase(conversation) is Phase.GREETING
    assert conversation.feed(b"<stream><features></features>") == b""
    assert state(conversation) == (Phase.READY, 0, 0, False)


def test_an_end_before_the_greeting_is_a_failure_and_later_is_none() -> None:
    conversation = ready(RawSettings(greeting=LINE))
    conversation.ended()
    assert phase(conversation) is Phase.FAILED
    conversation = ready(PING)
    conversation.request()
    conversation.feed(b"po")
    conversation.ended()
    assert state(conversation) == (Phase.OWED, 0, 1, True)


def test_only_the_newest_bytes_are_kept() -> None:
    conversation = ready(RawSettings(request=b"?", response=re.compile(rb"^x.*END")))
    conversation.request()
    conversation.feed(b"x" + b"y" * KEPT)
    conversation.feed(b"END")
    assert state(conversation) == (Phase.OWED, 0, 1, True)
    conversation.feed(b"x" * KEPT + b"END")
    assert conversation.answered == 1


@given(st.lists(st.sampled_from([b"pong\n", b"po", b"\n", b"", b"\xff"])), st.integers(0, 4))
def test_how_the_bytes_are_cut_does_not_matter(pieces: list[bytes], requests: int) -> None:
    def answered(parts: list[bytes]) -> tuple[Phase, int, int, bool]:
        conversation = ready(PING)
        for _ in range(requests):
            conversation.request()
        for part in parts:
            conversation.feed(part)
        return state(conversation)

    stream = b"".join(pieces)
    assert answered(pieces) == answered([stream])
    assert answered([stream[i : i + 1] for i in range(len(stream))]) == answered([stream])


def test_a_greeting_that_came_with_the_end_of_the_handshake_is_not_lost() -> None:
    conversation = raw(RawSettings(greeting=re.compile(rb"hello")))()
    assert conversation.feed(b"hello\n") == b""
    conversation.secured()
    assert conversation.phase is Phase.READY


# --- before TLS, and what differs on each connection ------------------------------------------

UPGRADE = RawSettings(
    plain=(
        Turn(b"\x12\x01pre", re.compile(rb"\x04\x01.{2}", re.DOTALL)),
        Turn(b"note"),
        Turn(b"go", re.compile(rb"ok")),
    ),
    request=b"ping\n",
    response=LINE,
)


def test_turns_before_tls_wait_for_their_answers_however_they_are_cut() -> None:
    conversation = raw(UPGRADE)()
    assert conversation.phase is Phase.PLAIN
    assert conversation.open() == b"\x12\x01pre"
    assert conversation.feed(b"\x04\x01\n") == b""
    assert conversation.feed(b"\xff") == b"notego"
    assert conversation.feed(b"o") == b""
    assert conversation.feed(b"k") == b""
    assert phase(conversation) is Phase.SECURE
    assert conversation.secured() == b""
    assert phase(conversation) is Phase.READY


def test_plain_bytes_behind_the_agreement_are_a_failure() -> None:
    conversation = raw(RawSettings(plain=(Turn(b"go", re.compile(rb"ok")),)))()
    conversation.open()
    conversation.feed(b"ok, and more")
    assert conversation.phase is Phase.FAILED
    assert "plain text after it had agreed to TLS: , and more" in (conversation.failure or "")


def test_an_end_before_tls_shows_what_came() -> None:
    conversation = raw(RawSettings(plain=(Turn(b"go", re.compile(rb"ok")),)))()
    conversation.open()
    conversation.feed(b"no TLS here")
    conversation.ended()
    assert "it said: no TLS here" in (conversation.failure or "")


def test_each_connection_has_a_number_and_letters_of_its_own() -> None:
    settings = RawSettings(
        plain=(Turn(b"hello {n}"),), request=b"ping {random}\n", response=LINE, goodbye=b"{n} bye\n"
    )
    make = raw(settings)
    first, second = make(), make()
    assert [one.open() for one in (first, second)] == [b"hello 1", b"hello 2"]
    asked = {one.request() for one in (first, second)}
    assert len(asked) == 2
    assert all(re.fullmatch(rb"ping [0-9a-f]{16}\n", words) for words in asked)
    assert second.goodbye() == b"2 bye\n"


def test_a_turn_that_says_and_awaits_nothing_is_a_mistake() -> None:
    mistakes: list[str] = []
    RAW.read({"adapter": "raw", "plain": [{"send": ""}, {"expect": "("}]}, "protocol", mistakes)
    assert "protocol.plain[0]: says nothing and waits for nothing" in mistakes
    assert len(mistakes) >= 2
