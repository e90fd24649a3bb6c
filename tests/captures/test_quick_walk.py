"""The records that are found from many places at once are those of the plain walk."""

from __future__ import annotations

import struct
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsprobe.captures import quick_walk
from tlsprobe.captures.pcap import SLACK, Walker, _records

START = 1_790_000_000
PCAP = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
contents = st.one_of(
    st.binary(max_size=90),
    # What looks like the beginning of a record is none there.
    st.just(struct.pack("<I", START) * 5),
    st.just(struct.pack(">I", START) * 5),
)
records = st.lists(st.tuples(st.sampled_from([0, 0, 0, 1, 9, 300, 2**24]), contents), max_size=200)


def laid_out(found: list[tuple[int, bytes]], order: str) -> bytes:
    clock, pieces = START, []
    for later, content in found:
        clock = (clock + later) % 2**32
        size = len(content)
        pieces += [struct.pack(f"{order}IIII", clock, 7, size, size), content]
    return b"".join(pieces)


def both(data: bytes, order: str, at: int = 0) -> tuple[object, object]:
    whole = bytearray(data + bytes(SLACK)), at, len(data), order
    return quick_walk.records(*whole), _records(*whole)


@given(records, st.sampled_from("<>"), st.sampled_from([40, 100, 1000]), st.integers(0, 120))
def test_whatever_is_found_is_what_the_plain_walk_finds(
    found: list[tuple[int, bytes]], order: str, stretch: int, cut: int
) -> None:
    """Also where the last record is cut off, or none is whole."""
    data = laid_out(found, order)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quick_walk, "STRETCH", stretch)
        quick, plain = both(data[: max(0, len(data) - cut)], order)
    assert quick is None or quick == plain


@given(st.binary(max_size=3000), st.integers(0, 30))
def test_bytes_that_are_no_records_at_all(data: bytes, at: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quick_walk, "STRETCH", 64)
        quick, plain = both(data, "<", min(at, len(data)))
    assert quick is None or quick == plain


@pytest.mark.slow
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("sizes", [(66, 1514), (66,), (65_000, 66)])
def test_usual_packets_are_found_so(sizes: tuple[int, ...], order: str) -> None:
    """A mix of sizes, tiny ones alone, and some larger than a stretch; a second in between."""
    packets = [(0 if n % 900 else 1, bytes(sizes[n % len(sizes)])) for n in range(4000)]
    data = laid_out(packets, order)[: 1 << 21]
    quick, plain = both(data, order)
    assert quick == plain


def test_a_walker_takes_what_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """And goes on by itself where nothing is."""
    data = laid_out([(0, bytes(n % 1400)) for n in range(4000)], "<")
    asked: list[bool] = []

    def now_and_then(
        buffer: bytearray, at: int, end: int, order: str
    ) -> tuple[array[int], int] | None:
        asked.append(len(asked) % 2 == 0)
        return quick_walk.records(buffer, at, end, order) if asked[-1] else None

    found: list[list[int]] = []
    for records in (None, now_and_then):
        walker, offsets = Walker(), list[int]()
        walker.records = records
        walker.feed(PCAP)
        for start in range(0, len(data), 1 << 20):
            batches = walker.feed(data[start : start + (1 << 20)])
            offsets += [walker.base + at for batch in batches for at in batch.offsets]
        found.append(offsets)
    assert found[0] == found[1]
    assert len(found[0]) == 4000
    assert asked[:2] == [True, False]
