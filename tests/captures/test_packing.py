"""Compressed inputs: every packing, streams in a row, damage anywhere, and bombs."""

from __future__ import annotations

import bz2
import gzip
import importlib
import io
import lzma
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.captures.files import CLOSED, EXPECTED, brief, pcap, pcapng, read
from tlsprobe.captures import pieces as pieces_module
from tlsprobe.captures.packing import PACKINGS, Damaged, packing_of, unpacked
from tlsprobe.captures.pieces import Pieces
from tlsprobe.captures.reader import open_capture_file
from tlsprobe.captures.reading import CaptureUnreadable


def zstd(data: bytes) -> bytes:
    name = "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"
    compressed: bytes = importlib.import_module(name).compress(data)
    return compressed


PACK: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data, mtime=0),
    "zstd": zstd,
    "xz": lzma.compress,
    "bzip2": bz2.compress,
}
SKIPPED = b"\x50\x2a\x4d\x18\x04\0\0\0abcd"
"""A frame of zstd without data, as parallel compressors write them."""


def cut(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


def whole(packed: bytes, size: int = 1000, most: int = 4096) -> bytes:
    packing = packing_of(packed)
    assert packing is not None
    found = list(unpacked(packing, cut(packed, size), most))
    assert all(0 < len(piece) <= most for piece in found)
    return b"".join(found)


@pytest.mark.parametrize("name", PACK)
@pytest.mark.parametrize("data", [pcap(CLOSED), pcapng(*CLOSED)])
def test_a_packed_capture_is_the_capture(name: str, data: bytes) -> None:
    _, found = read(PACK[name](data))
    assert brief(found) == EXPECTED


@pytest.mark.parametrize("name", PACK)
@pytest.mark.parametrize("size", [1, 7, 100, 1 << 20])
def test_streams_in_a_row_are_one_input(name: str, size: int) -> None:
    data = bytes(range(256)) * 100
    packed = PACK[name](data[:5000]) + PACK[name](data[5000:]) + bytes(8)
    assert whole(packed, size) == data
    assert whole(packed + b"padding", size) == data


def test_frames_of_zstd_without_data_are_stepped_over() -> None:
    assert whole(SKIPPED + zstd(b"one") + SKIPPED + zstd(b"two")) == b"onetwo"


@pytest.mark.parametrize("name", [name for name in PACK if name != "bzip2"])
def test_data_that_end_in_the_middle_are_read_up_to_there(name: str) -> None:
    packed = PACK[name](pcapng(*CLOSED * 400))
    reading, found = read(packed[: len(packed) - 20])
    assert reading.truncated is not None
    assert f"{name} data" in reading.truncated
    assert len(found) <= 2000


def test_a_first_block_of_bzip2_that_is_not_whole_is_nothing() -> None:
    with pytest.raises(CaptureUnreadable, match="bzip2 data end in the middle"):
        read(PACK["bzip2"](pcapng(*CLOSED))[:-20])


@pytest.mark.parametrize("name", PACK)
def test_damaged_data_say_so(name: str) -> None:
    packed = bytearray(PACK[name](pcapng(*CLOSED)))
    packed[8:30] = b"\xaa" * 22
    with pytest.raises(CaptureUnreadable, match=f"{name} data"):
        read(bytes(packed))


@pytest.mark.slow
@pytest.mark.parametrize("name", PACK)
def test_a_bomb_is_let_go(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces_module, "FREE", 1 << 20)
    packed = PACK[name](pcap(CLOSED) + bytes(20 << 20))
    pieces = Pieces(io.BytesIO(packed), packing=packing_of(packed))
    given_out = sum(map(len, pieces))
    assert pieces.is_bomb
    assert given_out <= 8 << 20
    assert pieces.broken is not None
    assert "300 times their size" in pieces.broken


@pytest.mark.server("zstd", "xz", "bzip2")
@pytest.mark.parametrize("command", [["zstd", "-T2"], ["xz", "-9"], ["bzip2"], ["gzip"]])
def test_what_the_programs_pack(command: list[str]) -> None:
    assert shutil.which(command[0])
    done = subprocess.run([*command, "-c"], input=pcap(CLOSED), capture_output=True, check=True)
    assert brief(read(done.stdout)[1]) == EXPECTED


@pytest.mark.slow
@given(st.sampled_from(sorted(PACK)), st.binary(max_size=300), st.data())
def test_any_damage_is_told(name: str, data: bytes, draw: st.DataObject) -> None:
    packed = bytearray(PACK[name](data))
    for place in draw.draw(st.lists(st.integers(6, len(packed) - 1), max_size=3)):
        packed[place] = draw.draw(st.integers(0, 255))
    packing = next(packing for packing in PACKINGS if packing.name == name)
    try:
        b"".join(unpacked(packing, cut(bytes(packed), 50), 100))
    except Damaged as why:
        assert name in str(why)


@pytest.mark.server("editcap")
@pytest.mark.parametrize("kind", ["snoop", "netmon2", "netmon1", "ngsniffer", "modpcap"])
def test_the_command_that_is_named_rewrites_what_is_refused(kind: str, tmp_path: object) -> None:
    folder = str(tmp_path)
    ethernet = [bytes(12) + b"\x08\x00" + packet for packet in CLOSED]
    with open(f"{folder}/plain.pcap", "wb") as out:  # noqa: PTH123
        out.write(pcap(ethernet, link=1))
    editcap = ["editcap", "-F"]
    subprocess.run(
        [*editcap, kind, f"{folder}/plain.pcap", f"{folder}/it"], check=True, capture_output=True
    )
    with pytest.raises(CaptureUnreadable) as caught:
        open_capture_file(f"{folder}/it")
    assert "editcap -F pcapng" in (caught.value.hint or "")
    subprocess.run(
        [*editcap, "pcapng", f"{folder}/it", f"{folder}/new"], check=True, capture_output=True
    )
    with open_capture_file(f"{folder}/new") as reading:
        assert brief(list(reading.packets())) == EXPECTED
