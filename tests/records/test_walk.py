"""Walking from record to record, whatever the network did to the bytes."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.explain.talk import ALERT_12, CLIENT_HELLO, CLIENT_RANDOM, DATA, sealed, server_hello
from tlsprobe.records.walk import FIRST, LATEST, STREAM_BYTES, RecordWalk, read_hello

STREAM = CLIENT_HELLO + sealed(69) + sealed(5000) + sealed(90) + ALERT_12
KINDS = [22, 23, 23, 23, 21]


def walked(pieces: list[tuple[int, bytes]], *, from_start: bool = True) -> RecordWalk:
    walk = RecordWalk(from_start=from_start)
    for number, (start, data) in enumerate(pieces, 1):
        walk.feed(start, data, len(data), number, number)
    walk.finish()
    return walk


def cut(stream: bytes, size: int) -> list[tuple[int, bytes]]:
    return [(at, stream[at : at + size]) for at in range(0, len(stream), size)]


def kinds(walk: RecordWalk) -> list[int]:
    return [record.kind for record in walk.found]


@pytest.mark.parametrize("size", [1, 3, 5, 77, 1448, 100_000])
def test_records_are_found_however_the_stream_is_cut(size: int) -> None:
    walk = walked(cut(STREAM, size))
    assert kinds(walk) == KINDS
    assert walk.found[-1].end == len(STREAM)
    assert [r.start for r in walk.found[1:]] == [r.end for r in walk.found[:-1]]


def test_records_are_found_in_any_order_and_twice() -> None:
    pieces = cut(STREAM, 200) * 2
    random.Random(1).shuffle(pieces)
    assert kinds(walked(pieces)) == KINDS


def test_a_record_is_complete_with_its_last_byte() -> None:
    walk = walked(cut(STREAM, len(CLIENT_HELLO)))
    assert (walk.found[0].number, walk.found[0].time_ns) == (1, 1)


def test_bytes_that_were_not_captured_are_passed_over() -> None:
    walk = RecordWalk(from_start=True)
    at = 0
    for number, data in enumerate((CLIENT_HELLO, DATA, DATA, ALERT_12)):
        walk.feed(at, data[:20], len(data), number, number)
        at += len(data)
    assert kinds(walk) == [22, 23, 23, 21]
    assert not walk.lost


def test_a_hole_in_a_body_is_harmless() -> None:
    pieces = [p for p in cut(STREAM, 100) if not 1000 < p[0] < 3000]
    assert kinds(walked(pieces)) == KINDS


def test_behind_a_hole_in_a_header_the_next_segment_that_fits_is_a_foothold() -> None:
    whole = [CLIENT_HELLO, DATA, DATA, DATA]
    starts = [sum(map(len, whole[:i])) for i in range(4)]
    walk = walked([(s, d) for i, (s, d) in enumerate(zip(starts, whole, strict=True)) if i != 1])
    assert kinds(walk) == [22, 23, 23]
    assert walk.lost


def test_what_precedes_tls_is_passed_over() -> None:
    walk = walked([(0, b"220 ready\r\n"), (11, b"250 ok\r\n"), (19, STREAM)])
    assert kinds(walk) == KINDS
    assert walk.plain_to == 19


def test_what_is_no_tls_has_no_records() -> None:
    assert not walked([(0, b"\x16\x03\x01"), (3, b"GET / HTTP/1.1\r\n\r\n")]).speaks_tls
    assert not walked([(0, b"\x17\x03\x03\x00\x10" + bytes(16))]).speaks_tls  # no hello before


def test_a_walk_may_begin_in_the_middle() -> None:
    assert kinds(walked([(700, DATA + DATA), (1110, ALERT_12)], from_start=False)) == [23, 23, 21]


def test_a_walk_that_begins_within_a_record_finds_the_next_one() -> None:
    """Neither a hello nor a header at the beginning of a segment, as in a long download."""
    stream = sealed(9000) + sealed(9000) + sealed(700) + sealed(19)
    for begin in (1, 4, 5, 6, 700, 3000, 9004, 9005, 9006):
        walk = walked([(at, d) for at, d in cut(stream[begin:], 1448)], from_start=False)
        assert [r.size for r in walk.found][-2:] == [700, 19]
        assert not walk.has_hello
        assert walk.speaks_tls


def test_a_lost_hello_does_not_hide_the_rest() -> None:
    """The SYN is in the capture, and then something is missing."""
    pieces = [(2000, DATA + DATA), (2000 + 2 * len(DATA), ALERT_12)]
    assert kinds(walked(pieces, from_start=True)) == [23, 23, 21]


def test_behind_a_hole_headers_within_segments_are_found() -> None:
    stream = CLIENT_HELLO + b"".join(sealed(1000 + n) for n in range(20)) + ALERT_12
    holed = [p for p in cut(stream, 700) if not 3000 < p[0] < 9000]
    walk = walked(holed)
    assert kinds(walk)[-1] == 21
    assert walk.lost
    assert len(walk.found) > 10


def test_a_header_that_nothing_confirms_is_not_believed() -> None:
    fake = b"\x17\x03\x03\x00\x64"
    walk = walked([(0, b"x" * 50 + fake + b"y" * 500), (555, b"z" * 300)], from_start=False)
    assert not walk.speaks_tls
    walk = walked([(0, fake + b"y" * 50), (55, b"z" * 300)], from_start=False)
    assert not walk.speaks_tls


HTTP = b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + bytes(range(256)) * 20
POSTGRES = b"".join(
    b"D" + (17 + n % 23).to_bytes(4, "big") + b"\0\2" + bytes([n % 256]) * (11 + n % 23)
    for n in range(300)
)
SSH = b"".join(
    (60 + n % 40).to_bytes(4, "big") + random.Random(n).randbytes(60 + n % 40) for n in range(200)
)
VERSIONED = b"\x17\x03\x03" * 3000
"""What looks like the beginning of a header everywhere."""


@pytest.mark.parametrize("data", [HTTP, POSTGRES, SSH, VERSIONED, bytes(9000), b"\x17" * 9000])
@pytest.mark.parametrize("size", [100, 777, 1448])
def test_what_is_no_tls_is_not_taken_for_it(data: bytes, size: int) -> None:
    for begin in (0, 1, 2, 3, 50):
        assert not walked(cut(data[begin:], size), from_start=False).speaks_tls


def test_random_bytes_are_not_taken_for_tls() -> None:
    """A hundred million bytes were, once, with none taken; here are fewer."""
    chance = random.Random(7)
    walk = RecordWalk(from_start=False)
    for n in range(4000):
        walk.feed(n * 1448, chance.randbytes(1448), 1448, n, n)
    assert not walk.speaks_tls


def test_memory_is_bounded() -> None:
    walk = walked(cut(CLIENT_HELLO + DATA * 2000, 1000))
    assert len(walk.found) == FIRST + LATEST
    assert walk.left_out == 2001 - FIRST - LATEST
    assert walk.found[-1].place == 2000


def test_records_are_kept_for_who_has_the_keys_and_at_last_only_small_ones() -> None:
    walk = RecordWalk(from_start=True, keep_bodies=True)
    walk.feed(0, STREAM, len(STREAM), 1, 1)
    assert all(record.whole for record in walk.found)
    many = STREAM_BYTES // 16_000 + 1
    full = CLIENT_HELLO + sealed(16_000) * many + sealed(90)
    walk = RecordWalk(from_start=True, keep_bodies=True)
    walk.feed(0, full, len(full), 1, 1)
    assert [record.whole for record in walk.found][-2:] == [False, True]
    assert len(walked([(0, STREAM)]).found[1].body) == 0


def test_hellos_are_read() -> None:
    client = read_hello(CLIENT_HELLO[5:])
    assert client is not None
    assert client.random == CLIENT_RANDOM
    server = read_hello(server_hello(0x0304, 0x1301)[5:])
    assert server is not None
    assert (server.version, server.cipher) == (0x0304, 0x1301)
    assert read_hello(b"\x0b" + bytes(100)) is None


@given(
    st.lists(st.tuples(st.integers(-50, 3000), st.binary(max_size=80), st.integers(0, 200))),
    st.booleans(),
)
@settings(deadline=None)
def test_any_bytes_are_walked(pieces: list[tuple[int, bytes, int]], from_start: bool) -> None:
    walk = RecordWalk(from_start=from_start, keep_bodies=True)
    for number, (start, data, more) in enumerate(pieces):
        walk.feed(start, data, len(data) + more, number, number)
    walk.finish()
    assert all(r.start < r.end for r in walk.found)


def test_a_draft_of_tls_13_is_that() -> None:
    """Its alerts were taken for data, and what met a closed socket for a lost request."""
    late = read_hello(server_hello(0x7F17)[5:])
    early = read_hello(b"\x02\x00\x00\x26\x7f\x13" + bytes(32) + b"\x13\x02\x00\x00")
    assert late is not None and early is not None
    assert (late.version, late.cipher) == (0x0304, 0x1302)
    assert (early.version, early.cipher) == (0x0304, 0x1302)


@given(st.binary(max_size=300))
def test_any_hello_is_read(body: bytes) -> None:
    read_hello(b"\x02" + body)
