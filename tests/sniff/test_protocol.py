"""The messages of the sniffer process, in any pieces, and garbage in their place."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsprobe.sniff import protocol as sniffer_protocol
from tlsprobe.sniff.protocol import FRAME_HEAD, Garbled, Message, Messages


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
