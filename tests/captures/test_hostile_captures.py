"""Damaged and malicious input: an answer, a partial one, or one sentence; never a traceback."""

from __future__ import annotations

import gzip
import io
import random
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.bench.fuzz_readers import captured, pcap, seeds
from tlsprobe.captures.reader import open_capture_file
from tlsprobe.captures.reading import CaptureUnreadable
from tlsprobe.packets import frames

SEEDS = [*seeds("pcap"), *seeds("text")]
LIMIT_MIB = 250


def both_passes(data: bytes) -> int:
    """The packets found, or -1 for a sentence; a partial answer says so."""
    try:
        with open_capture_file(io.BytesIO(data)) as reading:
            summary = reading.summary()
            counted = sum(half.packets for half in summary.halves.values())
            assert counted + reading.skipped + reading.other <= reading.total
            assert (reading.skipped == 0) or reading.first_skipped
            every = [half.key for half in summary.halves.values()]
            some = frozenset(every[::2])
            listed = list(reading.packets(some.__contains__))
            found = list(reading.packets())
            assert [p.number for p in listed] == [p.number for p in found if p.key in some]
            assert len(found) + reading.skipped + reading.other <= reading.total
            assert all(0 <= p.seq < 1 << 32 and p.length >= 0 for p in found)
            return len(found)
    except CaptureUnreadable as error:
        assert error.message.replace("\n", "").isprintable()
        return -1


patches = st.lists(st.tuples(st.integers(0, 1500), st.binary(min_size=1, max_size=8)), max_size=5)


@pytest.mark.slow
@settings(max_examples=4 * settings().max_examples)
@given(st.sampled_from(SEEDS), patches, st.integers(0, 1500), st.binary(max_size=40))
def test_mutated_inputs(
    seed: bytes, changes: list[tuple[int, bytes]], cut: int, tail: bytes
) -> None:
    data = bytearray(seed)
    for at, new in changes:
        data[at % len(data) : at % len(data) + len(new)] = new
    both_passes(bytes(data[: max(4, len(data) - cut)] + tail))


@pytest.mark.slow
@given(
    st.binary(max_size=400), st.sampled_from([b"", b"\x0a\x0d\x0d\x0a", b"\x1f\x8b\x08", b"IP "])
)
def test_random_bytes(data: bytes, magic: bytes) -> None:
    both_passes(magic + data)


@pytest.mark.slow
@given(st.sampled_from([0, 1, 12, 13, 0x7FFFFFFF, 0xFFFFFFFC, 0xFFFFFFFF]), st.integers(0, 80))
def test_absurd_lengths_everywhere(size: int, place: int) -> None:
    for seed in SEEDS:
        at = place * 4
        for order in "<>":
            both_passes(seed[:at] + struct.pack(f"{order}I", size) + seed[at + 4 :])


@pytest.mark.slow
def test_every_way_to_cut_an_input_off() -> None:
    for seed in SEEDS:
        whole = both_passes(seed)
        for end in range(len(seed)):
            assert both_passes(seed[:end]) <= whole


MEMORY = """
import sys
from pathlib import Path
from tlsprobe.captures.reader import open_capture_file
from tlsprobe.captures.reading import CaptureUnreadable
try:
    with open_capture_file(sys.argv[1]) as reading:
        reading.summary()
        for _ in reading.packets(): pass
        print(reading.total, reading.skipped)
except CaptureUnreadable as error:
    print(error.message[:200])
status = Path("/proc/self/status").read_text().split()
print(int(status[status.index("VmHWM:") + 1]) // 1024)
"""


def memory(data: bytes, path: Path) -> tuple[str, int]:
    """What is said, and the peak of a process that reads it, in MiB."""
    path.write_bytes(data)
    run = [sys.executable, "-c", MEMORY, str(path)]
    done = subprocess.run(run, capture_output=True, text=True, check=True, timeout=300)
    said, peak = done.stdout.splitlines()
    return said, int(peak)


def syn(n: int, flags: int = 0x02) -> bytes:
    ends = n.to_bytes(4, "big") + bytes((10, 0, 0, 1))
    head = struct.pack("!BBHHHBBH", 0x45, 0, 40, 7, 0, 63, 6, 0) + ends
    return head + struct.pack("!HHIIBBHI", 40000, 443, n, 0, 0x50, flags, 512, 0)


@pytest.mark.slow
def test_memory_stays_bounded(tmp_path: Path) -> None:
    """A scan of very many flows, fragments without ends, a gzip bomb, a text of one line."""
    rng = random.Random(1)
    fragments = [
        struct.pack("!BBHHHBBH", 0x45, 0, 1420, rng.randrange(1 << 16), 0x2000 | 5, 63, 6, 0)
        + rng.randbytes(8)
        + bytes(1400)
        for _ in range(8_000)
    ]
    section = captured(frames.RAW)[:44]
    interfaces = struct.pack("<IIHHII", 1, 20, 1, 0, 0, 20) * 100_000
    hostile = {
        "flows": pcap("<", frames.RAW, *(syn(n, 0x04) for n in range(60_000))),
        "fragments": pcap("<", frames.RAW, *fragments),
        "bomb": gzip.compress(pcap("<", frames.RAW) + bytes(20 << 20), 9),
        "interfaces": section + interfaces,
        "line": b"IP a.b.1 > c.d.2: Flags [" + b"P" * (10 << 20),
        "anchors": b"Flags [" * 200_000,
        "arrows": b"> | " * 300_000 + b"Flags [R]",
    }
    for what, data in hostile.items():
        said, peak = memory(data, tmp_path / what)
        assert 5 < peak < LIMIT_MIB, (what, said, peak)
