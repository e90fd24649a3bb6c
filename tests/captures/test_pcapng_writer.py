"""Capture files: what we write is read by Wireshark's own programs, and by our reader."""

import io
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import servers
from tlsprobe.captures.pcap import CapturedFrame, Reader
from tlsprobe.captures.pcapng_writer import (
    SECRETS,
    SECTION,
    Writer,
    block,
    options,
    put_secrets_first,
)
from tlsprobe.errors import UsageError
from tlsprobe.packets import frames

NOON = 1_790_000_000_123_456_789
SYN = bytes(12) + bytes.fromhex(
    "0800450000280001000040067ccd7f0000017f0000019c40153800000001000000005002020091570000"
)
KEY_LOG = b"CLIENT_RANDOM " + b"00" * 32 + b" " + b"11" * 48 + b"\n"


def written(*datas: bytes, dropped: int | None = 0) -> bytes:
    out = io.BytesIO()
    writer = Writer(out, frames.ETHERNET, "lo", capture_filter="tcp and host 127.0.0.1")
    for n, data in enumerate(datas):
        writer.packet(NOON + n, data, len(data) + 5, comment="why" if n == 1 else "")
    writer.secrets(KEY_LOG)
    writer.finish(dropped)
    return out.getvalue()


def tool(name: str, *arguments: str) -> str:
    program = servers.need_server(name)
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "capture.pcapng"
    path.write_bytes(written(SYN, SYN, SYN + b"x", dropped=3))
    return path


@pytest.mark.server("capinfos")
def test_capinfos_reads_the_file(file: Path) -> None:
    said = tool("capinfos", "-M", str(file))
    for expected in (
        "Number of packets:   3",
        "nanoseconds (9)",
        "Capture application: tlsprobe",
        "Name = lo",
        "Filter string = tcp and host 127.0.0.1",
        "Number of packets = 3",
    ):
        assert expected in said
    assert "Number of decryption secrets in file: 1" in said


@pytest.mark.server("tshark")
def test_tshark_reads_times_and_lengths_and_comments(file: Path) -> None:
    fields = ("frame.time_epoch", "frame.len", "frame.cap_len", "tcp.dstport", "frame.comment")
    wanted = [part for field in fields for part in ("-e", field)]
    said = tool("tshark", "-n", "-r", str(file), "-T", "fields", *wanted)
    lines = [line.split("\t") for line in said.splitlines()]
    assert [line[0] for line in lines] == [f"1790000000.12345678{n}" for n in (9,)] + [
        "1790000000.123456790",
        "1790000000.123456791",
    ]
    assert lines[1][1:] == ["59", "54", "5432", "why"]


@pytest.mark.parametrize("size", [1, 7, 64, 100_000])
def test_our_reader_reads_it_in_pieces_of_any_size(size: int) -> None:
    data = written(SYN, b"", SYN + b"x", dropped=7)
    reader, found = Reader(), list[CapturedFrame]()
    for at in range(0, len(data), size):
        found += reader.feed(data[at : at + size])
    assert found == [
        CapturedFrame(NOON + n, frames.ETHERNET, len(d) + 5, d)
        for n, d in enumerate([SYN, b"", SYN + b"x"])
    ]
    assert (reader.interfaces[0].name, reader.interfaces[0].dropped) == ("lo", 7)
    assert (reader.unread, reader.offset) == (0, len(data))


def test_an_unknown_drop_count_is_left_out() -> None:
    reader = Reader()
    reader.feed(written(SYN, dropped=None))
    assert reader.interfaces[0].dropped is None


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("magic", "tick"), [(0xA1B2C3D4, 1000), (0xA1B23C4D, 1)])
def test_pcap_in_either_order_and_precision(order: str, magic: int, tick: int) -> None:
    header = struct.pack(f"{order}IHHiIII", magic, 2, 4, 0, 0, 262144, frames.RAW)
    record = struct.pack(f"{order}IIII", 1_790_000_000, 123456, 3, 9)
    found = Reader().feed(header + record + b"abc")
    time_ns = 1_790_000_000 * 10**9 + 123456 * tick
    assert found == [CapturedFrame(time_ns, frames.RAW, 9, b"abc")]


def big_endian_block(kind: int, body: bytes) -> bytes:
    total = struct.pack(">I", len(body) + 12)
    return struct.pack(">I", kind) + total + body + total


def test_pcapng_of_other_writers() -> None:
    """Big-endian, microseconds by default, a power of two, an offset, old and simple blocks."""
    data = big_endian_block(SECTION, struct.pack(">IHHq", 0x1A2B3C4D, 1, 0, -1))
    data += big_endian_block(1, struct.pack(">HHI", frames.RAW, 0, 65535))
    resolution = struct.pack(">HHB3x", 9, 1, 0x80 | 10) + struct.pack(">HHq", 14, 8, 50)
    data += big_endian_block(1, struct.pack(">HHI", frames.NULL, 0, 65535) + resolution)
    data += big_endian_block(6, struct.pack(">IIIII", 0, 0, 5, 2, 2) + b"ab\0\0")
    data += big_endian_block(2, struct.pack(">HHIIII", 1, 0, 0, 2048, 2, 2) + b"cd\0\0")
    data += big_endian_block(3, struct.pack(">I", 2) + b"ef\0\0")
    data += big_endian_block(0xBAD, b"skip")
    assert Reader().feed(data) == [
        CapturedFrame(5000, frames.RAW, 2, b"ab"),
        CapturedFrame(52 * 10**9, frames.NULL, 2, b"cd"),
        CapturedFrame(0, frames.RAW, 2, b"ef"),
    ]


def test_a_second_section_starts_anew() -> None:
    assert len(Reader().feed(written(SYN) + written(SYN, SYN))) == 3


HEADER = block(SECTION, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1) + options())


@pytest.mark.parametrize(
    ("data", "what", "offset"),
    [
        (b"GET / HTTP/1.1", "neither pcap nor pcapng", 0),
        (struct.pack("<III", SECTION, 28, 0x12345678), "byte order", 0),
        (HEADER + struct.pack("<III", 6, 13, 0), "a block of 13 bytes", len(HEADER)),
        (HEADER + struct.pack("<III", 6, 1 << 30, 0), "a block of", len(HEADER)),
        (HEADER + block(6, struct.pack("<IIIII", 0, 0, 0, 0, 0)), "interface 0", len(HEADER)),
        (HEADER + block(6, b"1234"), "shorter", len(HEADER)),
        (HEADER + struct.pack("<III", 99, 12, 16), "lengths differ", len(HEADER)),
    ],
)
def test_damage_is_a_usage_error_with_its_place(data: bytes, what: str, offset: int) -> None:
    with pytest.raises(UsageError, match=what) as caught:
        Reader("file.pcap").feed(data)
    assert f"(at byte {offset})" in caught.value.message
    assert caught.value.message.startswith("file.pcap: ")


def test_a_file_cut_off_leaves_bytes_unread() -> None:
    reader = Reader()
    assert reader.feed(written(SYN)[:-50]) != []
    assert reader.unread > 0


@given(st.binary(max_size=300), st.integers(1, 40), st.integers(0, 400), st.binary(max_size=8))
def test_any_damage_is_an_error_or_nothing(
    tail: bytes, size: int, place: int, patch: bytes
) -> None:
    good = bytearray(written(SYN, SYN))
    good[place : place + len(patch)] = patch
    for data in (tail, bytes(good) + tail):
        reader = Reader()
        try:
            for at in range(0, len(data), size):
                reader.feed(data[at : at + size])
        except UsageError as error:
            assert "at byte" in error.message


def test_secrets_stand_before_what_follows() -> None:
    data = written(SYN)
    assert struct.pack("<I", SECRETS) in data
    assert KEY_LOG in data


def test_secrets_that_are_known_late_are_put_first(tmp_path: Path) -> None:
    path = tmp_path / "capture.pcapng"
    with path.open("wb") as out:
        Writer(out, 1, "lo").finish(0)
    before = path.read_bytes()
    put_secrets_first(path, KEY_LOG)
    after = path.read_bytes()
    section = int.from_bytes(before[4:8], "little")
    assert after[:section] == before[:section]
    assert after.endswith(before[section:])
    assert KEY_LOG in after[section : len(after) - len(before) + section]
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]
