"""A response of HTTP that its server left unfinished, in the open or inside TLS; and whole ones."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from hypothesis import given
from hypothesis import strategies as st

from tests.explain.talk import ACK, FIN, PSH, SERVER, Talk, explained
from tests.records.test_secrets import Session
from tests.servers import Pki
from tlsprobe.explain import Filter
from tlsprobe.explain.http1 import owed_by_http1
from tlsprobe.explain.http2_frames import PREFACE, Http2
from tlsprobe.judge.troubles import Owed
from tlsprobe.model.trace import Side
from tlsprobe.report.troubles import trouble_sentences

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
HEAD = GET.replace(b"GET", b"HEAD")
POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
LONG = b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + bytes(2100)
CHUNKS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

# --- HTTP/1 -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("client", "server", "owed"),
    [
        (GET, LONG, Owed("content-length", 2900)),
        (GET * 2 + POST, OK + OK + LONG, Owed("content-length", 2900)),
        (HEAD + GET, LONG[:-2100] + LONG, Owed("content-length", 2900)),
        (GET, b"HTTP/1.1 100 Continue\r\n\r\n" + LONG, Owed("content-length", 2900)),
        (GET, CHUNKS, Owed("chunks")),
        (GET, CHUNKS + b"2\r\nok", Owed("chunks")),
        (GET, CHUNKS + b"2;x=y\r\nok\r\n", Owed("chunks")),
        (GET, CHUNKS + b"2\r\nok\r\n0\r\n", Owed("chunks")),
        (GET, CHUNKS + b"2\r\nok\r\n0\r\nA: b\r\n", Owed("chunks")),
    ],
)
def test_a_response_of_http_1_that_is_cut_short(client: bytes, server: bytes, owed: Owed) -> None:
    assert owed_by_http1(client, server) == owed


@pytest.mark.parametrize(
    ("client", "server"),
    [
        (GET, OK),
        (GET * 2, OK),
        (GET, b""),
        (GET, LONG[:30]),
        (HEAD, LONG[:-2100]),
        (HEAD, OK[:-2]),
        (GET, CHUNKS + b"2\r\nok\r\n0\r\n\r\n"),
        (GET, CHUNKS + b"2\r\nok\r\n0\r\nA: b\r\n\r\n"),
        (GET, b"HTTP/1.1 200 OK\r\n\r\n" + bytes(90)),
        (GET, b"HTTP/1.1 304 Not Modified\r\nContent-Length: 90\r\n\r\n"),
        (GET, b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n" + LONG),
        (GET.replace(b"GET", b"CONNECT"), LONG),
        (GET, LONG.replace(b"Length: 5000", b"Length: 5000\r\nContent-Length: 2")),
        (GET, LONG.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: gzip, chunked\r\n\r\n")),
        (GET, CHUNKS + b"no size\r\n"),
        (GET, CHUNKS + b"2\r\nokay\r\n"),
        (b"", LONG),
        (b"SSH-2.0-x\r\n\r\n\r\n", LONG),
        (GET, OK + LONG),
    ],
)
def test_what_is_whole_or_cannot_be_told(client: bytes, server: bytes) -> None:
    assert owed_by_http1(client, server) is None


@given(
    st.integers(0, 400), st.sampled_from([OK, LONG + bytes(2900), CHUNKS + b"2\r\nok\r\n0\r\n\r\n"])
)
def test_nothing_but_what_was_cut_off_is_owed(cut: int, whole: bytes) -> None:
    """Cut anywhere, it is owed what is missing; whole, nothing."""
    left = whole[: max(0, len(whole) - cut)]
    owed = owed_by_http1(GET * 2, OK + left)
    has_head = b"\r\n\r\n" in left
    assert (owed is not None) == (has_head and cut > 0)
    assert owed is None or owed.octets in {None, cut}


# --- HTTP/2 -------------------------------------------------------------------------------------


class Spoken:
    """Client and server of the library h2; what each sent."""

    def __init__(self) -> None:
        self.sent = dict.fromkeys(Side, b"")
        self.ends = {
            side: H2Connection(H2Configuration(client_side=side is Side.CLIENT)) for side in Side
        }
        for side in Side:
            self.ends[side].initiate_connection()
            self.step(side)

    def step(self, side: Side) -> None:
        data = self.ends[side].data_to_send()
        self.sent[side] += data
        self.ends[side.peer].receive_data(data)

    def asks(self, method: str = "GET") -> int:
        client = self.ends[Side.CLIENT]
        stream = client.get_next_available_stream_id()
        target = [] if method == "CONNECT" else [(":scheme", "https"), (":path", "/")]
        head = [(":method", method), (":authority", "x"), *target]
        client.send_headers(stream, head, end_stream=True)
        self.step(Side.CLIENT)
        return stream

    def answers(self, stream: int, *, ends: bool) -> None:
        server = self.ends[Side.SERVER]
        server.send_headers(stream, [(":status", "200")])
        server.send_data(stream, bytes(3000), end_stream=ends)
        self.step(Side.SERVER)

    def owed(self, piece: int = 1 << 20) -> Owed | None:
        frames = Http2()
        for side in Side:
            for at in range(0, len(self.sent[side]), piece):
                frames.feed(side, self.sent[side][at : at + piece])
        return frames.owed()


@pytest.mark.parametrize("piece", [1, 7, 1 << 20])
def test_a_stream_of_http_2_without_its_end(piece: int) -> None:
    spoken = Spoken()
    spoken.answers(spoken.asks(), ends=True)
    assert spoken.owed(piece) is None
    spoken.answers(spoken.asks(), ends=False)
    assert spoken.owed(piece) == Owed("stream", stream=3)


def test_a_stream_that_was_reset_is_owed_nothing() -> None:
    for side in Side:
        spoken = Spoken()
        stream = spoken.asks()
        spoken.answers(stream, ends=False)
        spoken.ends[side].reset_stream(stream)
        spoken.step(side)
        assert spoken.owed() is None


def test_what_goaway_took_is_owed_and_what_it_refused_is_not() -> None:
    spoken = Spoken()
    spoken.answers(spoken.asks(), ends=True)
    spoken.asks()
    assert spoken.owed() is None  # it may not have arrived
    for last, owed in ((1, None), (3, Owed("goaway", stream=3)), ((1 << 31) - 1, None)):
        spoken.sent[Side.SERVER] += b"\0\0\x08\x07\0\0\0\0\0" + last.to_bytes(4, "big") + bytes(4)
        assert spoken.owed() == owed


def test_a_tunnel_has_no_end_of_its_own() -> None:
    for method in ("CONNECT", "GET"):
        spoken = Spoken()
        spoken.answers(spoken.asks(method), ends=False)
        assert (spoken.owed() is None) == (method == "CONNECT")


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_what_is_no_http_2_is_owed_nothing(client: bytes, server: bytes) -> None:
    frames = Http2()
    frames.feed(Side.CLIENT, client)
    frames.feed(Side.SERVER, server)
    assert frames.owed() is None
    frames = Http2()
    frames.feed(Side.CLIENT, PREFACE + client)
    frames.feed(Side.SERVER, server)
    frames.owed()


# --- in a capture -------------------------------------------------------------------------------


def said(talk: Talk, secrets: bytes = b"") -> list[str]:
    return trouble_sentences(explained(talk, secrets=[secrets], wanted=Filter()))


def through_tls(session: Session, *turns: tuple[Side, bytes]) -> Talk:
    """The session's bytes as packets; the server closes with a close_notify behind its last."""
    talk = Talk().open()
    shown = dict.fromkeys(Side, 0)

    def show(side: Side, until: int | None = None, flags: int = PSH | ACK) -> None:
        say = talk.c if side is Side.CLIENT else talk.s
        data = session.sent[side][shown[side] : until]
        shown[side] += len(data)
        for at in range(0, len(data), 1400):
            say(flags if at + 1400 >= len(data) else PSH | ACK, data[at : at + 1400])

    hello = session.sent[Side.CLIENT]
    show(Side.CLIENT, 5 + int.from_bytes(hello[3:5], "big"))
    show(Side.SERVER)
    show(Side.CLIENT)
    for side, words in turns:
        session.step(side, session.ends[side].write, words)
        session.step(side.peer, session.ends[side.peer].read, 1 << 20)
        show(side)
    session.step(Side.SERVER, session.ends[Side.SERVER].unwrap)
    show(Side.SERVER, flags=PSH | ACK | FIN)
    return talk.c().c(ACK | FIN).s()


@pytest.fixture(params=[ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def session(request: pytest.FixtureRequest, pki: Pki, tmp_path: Path) -> Session:
    return Session(pki, tmp_path, request.param, None)


def test_a_response_inside_tls_that_keys_show_cut_short(session: Session) -> None:
    again = [(Side.CLIENT, GET), (Side.SERVER, LONG)]
    talk = through_tls(session, (Side.CLIENT, GET), (Side.SERVER, OK), *again)
    (one,) = said(talk, session.key_log.read_bytes())
    assert "the server ended (packet " in one
    assert one.endswith("2900 bytes short of the Content-Length of its message")
    assert said(talk) == []


def test_a_response_inside_tls_that_is_whole(session: Session) -> None:
    talk = through_tls(session, (Side.CLIENT, GET), (Side.SERVER, OK))
    assert said(talk, session.key_log.read_bytes()) == []


def test_a_stream_inside_tls_that_has_no_end(session: Session) -> None:
    spoken = Spoken()
    spoken.answers(spoken.asks(), ends=False)
    talk = through_tls(session, *spoken.sent.items())
    (one,) = said(talk, session.key_log.read_bytes())
    assert "in the middle of a response: stream 1 of HTTP/2 has no END_STREAM" in one


def in_the_open(spoken: Spoken) -> Talk:
    talk = Talk(server=(SERVER[0], 80)).open()
    talk.c(PSH | ACK, spoken.sent[Side.CLIENT])
    for at in range(0, len(spoken.sent[Side.SERVER]), 1000):
        talk.s(PSH | ACK, spoken.sent[Side.SERVER][at : at + 1000])
    return talk.s(ACK | FIN).c(ACK | FIN).s()


def test_a_stream_in_the_open_that_has_no_end() -> None:
    spoken = Spoken()
    spoken.answers(spoken.asks(), ends=False)
    (one,) = said(in_the_open(spoken))
    assert "stream 1 of HTTP/2 has no END_STREAM" in one
    holed = in_the_open(spoken)
    del holed.packets[-5]
    assert said(holed) == []
    cut = in_the_open(spoken)
    cut.packets = [p._replace(payload=p.payload[:60]) for p in cut.packets]
    assert said(cut) == []


def test_a_stream_in_the_open_that_has_its_end() -> None:
    spoken = Spoken()
    spoken.answers(spoken.asks(), ends=True)
    assert said(in_the_open(spoken)) == []
