"""The protocols of the reference servers, without any I/O."""

from __future__ import annotations

import pytest

from tlsprobe.protocols import Conversation, Phase
from tlsprobe.protocols.http1 import Http1Settings, http1
from tlsprobe.protocols.http2 import Http2Settings, http2
from tlsprobe.reference.dialects import LARGE, PONG, Dialect, Gone, Lines, Manner, Turn, dialect

PLAINLY = Manner()


class Talk:
    """A client of ours and a dialect, mouth to ear."""

    def __init__(self, client: Conversation, manner: Manner) -> None:
        self.client = client
        self.manner = manner
        self.server: Dialect | None = None
        self.over = False

    def say(self, words: bytes | None) -> None:
        """Say it, and let both talk until they have nothing more to say."""
        while words:
            if self.server is None:
                self.server = dialect(words, self.manner)
            turns = list(self.server.feed(words))
            self.over = self.over or any(turn.last for turn in turns)
            words = self.client.feed(b"".join(turn.response for turn in turns))


def http(manner: Manner = PLAINLY) -> Talk:
    return Talk(http1(Http1Settings(large="/large"), "localhost", None)(), manner)


def h2(manner: Manner = PLAINLY) -> Talk:
    return Talk(http2(Http2Settings(), "localhost", None)(), manner)


@pytest.mark.parametrize("announces", [True, False])
def test_http1(announces: bool) -> None:
    talk = http(Manner(announces=announces))
    talk.client.secured()
    talk.say(talk.client.request())
    talk.say(talk.client.large())
    assert (talk.client.answered, talk.over) == (2, False)
    talk.say(talk.client.goodbye())
    assert (talk.client.answered, talk.over) == (3, True)
    assert bool(talk.client.remarks) is announces


def test_http1_refuses_an_upload_before_its_body() -> None:
    server = dialect(b"POST ", Manner())
    (turn,) = server.feed(b"POST / HTTP/1.1\r\nContent-Length: 999\r\n\r\n" + bytes(100))
    assert turn.last
    assert turn.response.startswith(b"HTTP/1.1 413 ")


def test_http1_answers_what_is_pipelined() -> None:
    server = dialect(b"GET ", Manner())
    both = b"GET / HTTP/1.1\r\n\r\nGET /large HTTP/1.1\r\n\r\nGET"
    sizes = [len(turn.response) for turn in server.feed(both)]
    assert sizes[0] < 200
    assert sizes[1] > LARGE


def test_http2() -> None:
    talk = h2()
    talk.say(talk.client.secured())
    assert talk.client.phase is Phase.READY
    talk.say(talk.client.request())
    talk.say(talk.client.request())
    assert (talk.client.answered, talk.over) == (2, False)
    talk.say(talk.client.goodbye())
    assert talk.over


def test_the_farewell_of_http2_is_heard() -> None:
    talk = h2(Manner(goaways=((7, 0), (1, 2))))
    talk.say(talk.client.secured())
    assert talk.server is not None
    talk.client.feed(talk.server.farewell())
    assert [(r.last_stream, r.error) for r in talk.client.remarks] == [(7, 0), (1, 2)]


def test_a_byte_at_a_time() -> None:
    client = http2(Http2Settings(), "localhost", None)()
    opening = client.secured()
    server = dialect(opening, Manner())
    said = [turn for i in range(len(opening)) for turn in server.feed(opening[i : i + 1])]
    client.feed(b"".join(turn.response for turn in said))
    assert client.phase is not Phase.FAILED


def test_lines() -> None:
    server = dialect(b"ping\n", Manner())
    assert isinstance(server, Lines)
    turns = list(server.feed(b"ping\nget 3\nbye\n"))
    assert turns == [Turn(PONG), Turn(b"xxx\n"), Turn(b"", last=True)]
    assert server.farewell() == b""


@pytest.mark.parametrize("first", [b"", b"GET /", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff"])
def test_nonsense_without_end(first: bytes) -> None:
    with pytest.raises(Gone):
        list(dialect(first, Manner()).feed(first + bytes(10_000)))
