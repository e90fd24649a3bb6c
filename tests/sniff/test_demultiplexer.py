"""Frames by connection, and the messages of the sniffer process."""

import io
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsprobe.captures.pcap import Reader
from tlsprobe.captures.pcapng_writer import Writer
from tlsprobe.packets import frames
from tlsprobe.sniff import demultiplexer as filing_module
from tlsprobe.sniff import protocol as sniffer_protocol
from tlsprobe.sniff.demultiplexer import Demultiplexer
from tlsprobe.sniff.protocol import FRAME_HEAD, Garbled, Message, Messages

HOST = bytes([127, 0, 0, 1])
SERVER, CLIENT, STRANGER = (HOST, 5432), (HOST, 40000), (HOST, 40001)


def frame(source: tuple[bytes, int], destination: tuple[bytes, int], payload: int = 0) -> bytes:
    ip = b"\x45" + bytes(8) + b"\x06" + bytes(2) + source[0] + destination[0]
    ports = source[1].to_bytes(2, "big") + destination[1].to_bytes(2, "big")
    return bytes(12) + b"\x08\x00" + ip + ports + bytes(16 + payload)


THERE, BACK, OTHER = frame(CLIENT, SERVER), frame(SERVER, CLIENT), frame(STRANGER, SERVER)


def arrivals(*datas: bytes) -> list[tuple[int, int, bytes]]:
    return [(n + 1, len(data), data) for n, data in enumerate(datas)]


def test_both_directions_go_into_one_drawer_and_strangers_only_count() -> None:
    filing = Demultiplexer(SERVER)
    filing.expect(CLIENT)
    filing.file(arrivals(THERE, OTHER, BACK, b"junk"))
    assert (filing.kept, filing.others, filing.last_ns) == (2, 2, 4)
    assert filing.take(CLIENT) == [frames.Frame(1, 1, THERE), frames.Frame(2, 3, BACK)]


def test_what_was_taken_is_gone_and_no_longer_expected() -> None:
    filing = Demultiplexer(SERVER)
    filing.expect(CLIENT)
    filing.take(CLIENT)
    filing.file(arrivals(THERE))
    assert filing.take(CLIENT) == []
    assert filing.others == 1


def test_only_expected_frames_reach_the_file_under_the_same_numbers() -> None:
    out, filing = io.BytesIO(), Demultiplexer(SERVER)
    filing.writer = Writer(out, frames.ETHERNET, "lo")
    filing.expect(CLIENT)
    filing.file(arrivals(OTHER, THERE, OTHER, BACK))
    assert [f.data for f in Reader().feed(out.getvalue())] == [THERE, BACK]
    assert [f.number for f in filing.take(CLIENT)] == [1, 2]


def test_memory_and_file_are_bounded_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filing_module, "KEPT_WHOLE", 5000)
    out, filing = io.BytesIO(), Demultiplexer(SERVER)
    filing.writer = Writer(out, frames.ETHERNET, "lo")
    filing.expect(CLIENT)
    big = frame(CLIENT, SERVER, 3000)
    filing.file(arrivals(big, big))
    assert [len(f.data) for f in filing.take(CLIENT)] == [len(big), filing_module.HEADERS]
    assert [len(f.data) for f in Reader().feed(out.getvalue())] == [len(big), filing_module.HEADERS]


@given(
    st.lists(st.tuples(st.sampled_from([b"A", b"F", b"S"]), st.binary(max_size=50)), max_size=8),
    st.integers(1, 20),
)
def test_messages_come_out_as_they_went_in(told: list[tuple[bytes, bytes]], size: int) -> None:
    stream = b"".join(sniffer_protocol.message(kind, body) for kind, body in told)
    messages, found = Messages(), list[Message]()
    for at in range(0, len(stream), size):
        found += messages.feed(stream[at : at + size])
    assert found == told


@given(st.lists(st.binary(max_size=40), max_size=6))
def test_batches_come_out_as_they_went_in(datas: list[bytes]) -> None:
    batch = b"".join(FRAME_HEAD.pack(n, len(d) + 1, len(d)) + d for n, d in enumerate(datas))
    assert list(sniffer_protocol.frames_of(batch)) == [
        (n, len(d) + 1, d) for n, d in enumerate(datas)
    ]


@given(st.binary(max_size=60))
def test_garbage_is_garbled_or_harmless(data: bytes) -> None:
    for reading in (
        lambda: Messages().feed(data),
        lambda: list(sniffer_protocol.frames_of(data)),
        lambda: sniffer_protocol.facts_of(data),
    ):
        with suppress(Garbled):
            reading()


def test_a_message_beyond_the_limit_is_not_waited_for() -> None:
    with pytest.raises(Garbled):
        Messages().feed(b"F\xff\xff\xff\xff")
