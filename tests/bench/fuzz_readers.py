"""Feeds the readers of captures and of pasted text with what a coverage-guided fuzzer makes up.

atheris is no dependency of the project. In an environment of its own:

    python -m venv FOLDER && FOLDER/bin/pip install atheris .
    FOLDER/bin/python tests/bench/fuzz_readers.py pcap [CORPUS] -max_total_time=600

The first word is what to feed: ``pcap`` (both formats, link types and tunnels), ``packed`` (what is
compressed or in an archive), ``frame`` (an Ethernet frame alone, its tunnels and what is in it),
``places`` (files, of which the quick way must find what the slow one does) or ``text``; all others
are libFuzzer's. Without a corpus folder it starts from a few small inputs of
its own. An exception other than CaptureUnreadable is a crash; so is an input that takes more than
five seconds or 512 MiB (``-timeout``, ``-rss_limit_mb``).
"""

from __future__ import annotations

import bz2
import gzip
import importlib
import io
import lzma
import struct
import sys
import tarfile
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

ETHERNET, PPP, RAW, NFLOG, PKTAP, LINUX_COOKED_2 = 1, 9, 101, 239, 258, 276

LINE = (
    "12:00:00.000001 IP 127.0.0.1.36252 > 127.0.0.1.5432: Flags [P.], seq 1:38, ack 1, win 512, "
    "options [nop,nop,TS val 1 ecr 2], length 37\n"
)
MAIL = (
    "From: a@example.com\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n"
    "--b\nContent-Type: multipart/alternative; boundary=c\n\n"
    "--c\nContent-Type: text/plain; charset=utf-8; format=flowed\n"
    f"Content-Transfer-Encoding: quoted-printable\n\n{LINE}"
    f"--c\nContent-Type: text/html\nContent-Transfer-Encoding: 8bit\n\n<pre>{LINE}</pre>\n--c--\n"
    "--b\nContent-Type: application/octet-stream\nContent-Transfer-Encoding: base64\n\nAAAA\n"
    "--b--\n"
)
VERBOSE = (
    "12:00:00.000002 IP6 (flowlabel 0x5, hlim 64, next-header TCP (6) payload length: 20)\n"
    "    ::1.443 > ::1.40000: Flags [R], cksum 0x0001 (correct), seq 38, win 0, length 0\n"
)
OLD = "> 1 00:00:00.1 IP a.b.1 > c.d.2: P 1:25(24) ack 1 win 229 <nop,nop,timestamp 1 2>\n"
LISTED = (
    "1 0.000 192.0.2.7 198.51.100.9 TCP 66 40000 > 443 [SYN] Seq=0 Win=1 Len=0 TSval=1\n"
    "2 0.001 192.0.2.7 198.51.100.9 TLSv1.2 97 Encrypted Alert\n"
    "3 0.002 198.51.100.9 192.0.2.7 TCP 54 443 > 40000 [RST, ACK] Seq=1\n Ack=32 Win=0 Len=0\n"
)
TABLE = (
    "frame.number;frame.time;ip.src;tcp.srcport;ip.dst;tcp.dstport;tcp.flags;tcp.seq;tcp.ack;tcp.len\n"
    "1;Nov 21, 2026 01:00:00.5 UTC;192.0.2.7;5;192.0.2.9;443;0x0018;1;1;9\n"
)
IN_JSON = (
    '[{"_index":"p","_source":{"layers":{"frame.number":["1"],"ip.src":["::1"],"ip.dst":["::2"],'
    '"tcp.srcport":["1"],"tcp.dstport":["2"],"tcp.flags.str":["A"],"tcp.seq_raw":["1"]}}}]\n'
)
LOGGED = (
    "read tcp 192.0.2.1:50000->[2001:db8::9]:443: read: connection reset by peer\n"
    "recvfrom(3, 0x7f, 10, 0, NULL, NULL) = -1 ECONNRESET (Connection reset by peer)\n"
    "tcp      6 10 CLOSE src=192.0.2.1 dst=192.0.2.9 sport=5 dport=5432 [ASSURED]\n"
)
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


def in_tunnels() -> list[bytes]:
    """Ethernet frames with TCP in one tunnel or another."""
    outer = bytes(12) + b"\x08\0" + bytes.fromhex("4500 0100 0001 0000 40") + b"%s\0\0" + bytes(8)
    inner = bytes(12) + b"\x08\0" + IPV4
    udp = b"\x11", b"\xd4\x31%s\x01\0\0\0"
    by_udp = {
        4789: b"\x08\0\0\0\0\0\x2a\0" + inner,
        6081: b"\x02\0\x65\x58\0\0\x2a\0" + bytes(8) + inner,
        2152: b"\x34\xff\0\x40\0\0\0\x2a\0\0\0\x85\1\0\1\0" + IPV4,
        3544: b"\0\1\0\0" + bytes(17) + IPV6,
        6635: b"\0\x06\x41\x40" + IPV4,
    }
    gre = [
        b"\0\0\x08\0" + IPV4,
        b"\xb0\0\x65\x58" + bytes(12) + inner,
        b"\x10\0\x88\xbe" + bytes(4) + b"\x10\0\0\5" + bytes(4) + inner,
        b"\x10\0\x22\xeb" + bytes(4) + b"\x20\0\0\5" + bytes(7) + b"\1" + bytes(8) + inner,
        b"\x30\x81\x88\x0b\0\x40\0\1" + bytes(8) + b"\xff\x03\0\x21" + IPV4,
    ]
    frames = [outer % udp[0] + udp[1] % port.to_bytes(2, "big") + d for port, d in by_udp.items()]
    frames += [outer % b"\x2f" + data for data in gre]
    frames += [outer % b"\x04" + IPV4, outer % b"\x29" + IPV6]
    frames.append(bytes(12) + b"\x88\x64\x11\0\0\1\0\x40\0\x21" + IPV4)
    frames.append(bytes(12) + b"\x81\0\0\1\x88\x47\0\x01\0\0\0\x06\x41\x40" + IPV4)
    return frames


def packed() -> list[bytes]:
    """Captures in all that they may be packed in."""
    whole = pcap("<", RAW, IPV4, IPV6)
    zstd = importlib.import_module(
        "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"
    )
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name in ("a.pcap", "long" * 40):
            member = tarfile.TarInfo(name)
            member.size = len(whole)
            tar.addfile(member, io.BytesIO(whole))
    plain = archive.getvalue()
    every = [pack(whole) for pack in (gzip.compress, zstd.compress, lzma.compress, bz2.compress)]
    return [*every, plain[: 4 * 1024], gzip.compress(plain), every[0] * 2]


def seeds(what: str) -> list[bytes]:
    """Where the fuzzer starts."""
    if what == "frame":
        return in_tunnels()
    if what == "packed":
        return packed()
    if what == "text":
        texts = [LINE, VERBOSE, OLD, LISTED, TABLE, IN_JSON, LOGGED, MAIL]
        return [*(text.encode() for text in texts), (LINE + VERBOSE).encode("utf-16")]
    ethernet = [bytes(12) + kind + ip for kind, ip in ((b"\x08\0", IPV4), (b"\x86\xdd", IPV6))]
    cooked = [b"\x08\0" + bytes(18) + IPV4, b"\x86\xdd" + bytes(8) + b"\4" + bytes(9) + IPV6]
    found = [captured(ETHERNET, *ethernet), captured(LINUX_COOKED_2, *cooked)]
    found += [pcap("<", RAW, IPV4, *FRAGMENTS), pcap(">", ETHERNET, *ethernet)]
    found += [captured(ETHERNET, *in_tunnels()), pcap("<", PPP, b"\xff\x03\0\x21" + IPV4)]
    found.append(pcap("<", NFLOG, b"\2\0\0\0" + struct.pack("<HH", len(IPV4) + 4, 9) + IPV4))
    pktap = struct.pack("<III", 108, 1, ETHERNET) + bytes(96) + ethernet[0]
    return [*found, pcap("<", PKTAP, pktap), gzip.compress(found[0])]


def one_frame(decode: Any, data: bytes) -> None:
    """A frame alone, twice: a fragment may complete another."""
    decoder = decode.Decoder()
    for number in (1, 2):
        try:
            found = decoder.decode(data, ETHERNET, len(data), number, number)
        except decode.Malformed as why:
            assert str(why)
        else:
            assert found is None or found.length >= 0


def every_capture(captures: Any, data: bytes) -> None:
    """All captures in one input."""
    try:
        for reading in captures.Captures(io.BytesIO(data)):
            with reading:
                for _ in reading.packets():
                    pass
    except captures.CaptureUnreadable as error:
        assert error.message


def two_ways(captures: Any, frame_reading: Any, path: Path, data: bytes) -> None:
    """A file, read in blocks and by its packets' places, next to the same bytes read one by one."""
    path.write_bytes(data)
    found: list[Any] = []
    for source, many in ((path, 0), (io.BytesIO(data), sys.maxsize)):
        frame_reading.MANY = many
        try:
            with captures.open_capture_file(source) as reading:
                if reading.kind == "text":
                    return
                halves = list(reading.summary().halves.values())
                facts = [(h.key, h.packets, h.flags, h.last, h.last_ns, h.marks) for h in halves]
                wanted = {half.key for half in halves}
                packets = list(reading.packets(wanted.__contains__))
                counts = reading.total, reading.skipped, reading.other, reading.truncated is None
                found.append((facts, packets, counts))
        except captures.CaptureUnreadable as error:
            found.append(error.hint)
    assert found[0] == found[1]


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
        decode = importlib.import_module("tlsprobe.packets.decode")
        frame_reading = importlib.import_module("tlsprobe.captures.frame_reading")
        for late in ("text_reading", "mail", "blocks"):
            importlib.import_module(f"tlsprobe.captures.{late}")
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as other:
        ways = {
            "frame": partial(one_frame, decode),
            "packed": partial(every_capture, captures),
            "places": partial(two_ways, captures, frame_reading, Path(other) / "capture"),
        }
        for n, seed in enumerate(seeds(what)):
            (Path(folder) / f"seed{n}").write_bytes(seed)
        limits = ["-timeout=5", "-rss_limit_mb=512", "-max_len=4096"]
        way = ways.get(what, partial(one, captures, packet, tracker))
        atheris.Setup([sys.argv[0], *limits, *options, folder], way)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
