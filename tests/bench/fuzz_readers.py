"""Feeds the readers of captures and of pasted text with what a coverage-guided fuzzer makes up.

atheris is no dependency of the project. In an environment of its own:

    python -m venv FOLDER && FOLDER/bin/pip install atheris .
    FOLDER/bin/python tests/bench/fuzz_readers.py pcap [CORPUS] -max_total_time=600

The first word is what to feed: ``pcap`` (both formats, gzipped too) or ``text``; all others are
libFuzzer's. Without a corpus folder it starts from a few small inputs of its own. An exception
other than CaptureUnreadable is a crash; so is an input that takes more than five seconds or
512 MiB (``-timeout``, ``-rss_limit_mb``).
"""

from __future__ import annotations

import gzip
import importlib
import io
import struct
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

ETHERNET, RAW, LINUX_COOKED_2 = 1, 101, 276

LINE = (
    "12:00:00.000001 IP 127.0.0.1.36252 > 127.0.0.1.5432: Flags [P.], seq 1:38, ack 1, win 512, "
    "options [nop,nop,TS val 1 ecr 2], length 37\n"
)
VERBOSE = (
    "12:00:00.000002 IP6 (flowlabel 0x5, hlim 64, next-header TCP (6) payload length: 20)\n"
    "    ::1.443 > ::1.40000: Flags [R], cksum 0x0001 (correct), seq 38, win 0, length 0\n"
)
OLD = "> 1 00:00:00.1 IP a.b.1 > c.d.2: P 1:25(24) ack 1 win 229 <nop,nop,timestamp 1 2>\n"
TCP = bytes.fromhex("9c40 01bb 000003e8 000007d0 8018 0200 0000 0000 0101080a 00000001 00000002")
IPV4 = bytes.fromhex("4500 0036 0007 4000 3f06 0000 7f000001 c0000207") + TCP + b"hi"
IPV6 = bytes.fromhex("60000000 0022 06 40") + bytes(15) + b"\1" + bytes(15) + b"\1" + TCP + b"hi"
FRAGMENTS = [
    bytes.fromhex("4500 002c 0007 2000 3f06 0000 7f000001 c0000207") + TCP[:24],
    bytes.fromhex("4500 001e 0007 0003 3f06 0000 7f000001 c0000207") + TCP[24:] + b"hi",
]


def captured(link: int, *datas: bytes) -> bytes:
    """A pcapng file of these frames."""
    # Imported late: what is to be watched must not be there before the watcher.
    writing = importlib.import_module("tlsprobe.captures.pcapng_writer")
    out = io.BytesIO()
    writer = writing.Writer(out, link, "fuzz0")
    for n, data in enumerate(datas):
        writer.packet(n * 10**9, data, len(data))
    writer.secrets(b"CLIENT_RANDOM 00 11\n")
    writer.finish(1)
    return out.getvalue()


def pcap(order: str, link: int, *datas: bytes) -> bytes:
    """A pcap file of these frames."""
    head = struct.pack(f"{order}IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, link)
    records = (struct.pack(f"{order}IIII", n, 5, len(d), len(d)) + d for n, d in enumerate(datas))
    return head + b"".join(records)


def seeds(what: str) -> list[bytes]:
    """Where the fuzzer starts."""
    if what == "text":
        return [LINE.encode(), VERBOSE.encode(), OLD.encode(), (LINE + VERBOSE).encode("utf-16")]
    ethernet = [bytes(12) + kind + ip for kind, ip in ((b"\x08\0", IPV4), (b"\x86\xdd", IPV6))]
    cooked = [b"\x08\0" + bytes(18) + IPV4, b"\x86\xdd" + bytes(8) + b"\4" + bytes(9) + IPV6]
    found = [captured(ETHERNET, *ethernet), captured(LINUX_COOKED_2, *cooked)]
    found += [pcap("<", RAW, IPV4, *FRAGMENTS), pcap(">", ETHERNET, *ethernet)]
    return [*found, gzip.compress(found[0])]


def one(captures: Any, packet: Any, tracker: Any, data: bytes) -> None:
    """Both passes over one input, and the connections in it."""
    try:
        with captures.open_capture_file(io.BytesIO(data)) as reading:
            summary = reading.summary()
            for half, other in summary.pairs():
                assert packet.reverse(packet.reverse(half.key)) == half.key
                assert other is None or other.key == packet.reverse(half.key)
            keys = set(summary.halves)
            for found in reading.packets(keys.__contains__):
                assert 0 <= found.seq < 1 << 32
                assert found.length >= 0
                assert packet.text(found.src)
            assert reading.skipped + reading.other <= reading.total
            text = reading.kind == "text"
            for connection in tracker.connections(reading.packets(), text=text, keep_bodies=True):
                assert all(s.length >= 0 for s in connection.segments(0))
                assert connection.coverage
    except captures.CaptureUnreadable as error:
        assert error.message


def main() -> None:
    """Runs until libFuzzer's options say stop."""
    what, *options = sys.argv[1:]
    # The fuzzer sees what is imported under its eyes, and is not there for the type checker.
    atheris: Any = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["tlsprobe"]):
        captures = importlib.import_module("tlsprobe.captures.reader")
        packet = importlib.import_module("tlsprobe.packets.packet")
        tracker = importlib.import_module("tlsprobe.flows.tracker")
    with tempfile.TemporaryDirectory() as folder:
        for n, seed in enumerate(seeds(what)):
            (Path(folder) / f"seed{n}").write_bytes(seed)
        limits = ["-timeout=5", "-rss_limit_mb=512", "-max_len=4096"]
        atheris.Setup(
            [sys.argv[0], *limits, *options, folder], partial(one, captures, packet, tracker)
        )
        atheris.Fuzz()


if __name__ == "__main__":
    main()
