"""A million packets: how long finding and reading the reset connections takes, beside tshark.

``make bench`` runs it, or by hand ``python tests/bench/bench_reader.py [--big] [--pcapng]
[--cooked]``. It prints CPU seconds of both passes, the same for ``tshark -q -z conv,tcp -Y
tcp.flags.reset==1`` on the same file in the same run, and the peak memory of a process that reads
it; with ``--big`` also of one that reads a file of 2 GiB. Nothing is asserted, and the files are
deleted.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tlsprobe.captures.pcapng_writer import Writer
from tlsprobe.captures.reader import open_capture_file
from tlsprobe.packets import frames
from tlsprobe.packets.packet import reverse

CONNECTIONS, RESET = 1000, 100
PACKETS = 1_000_000
_FIN, _SYN, _RST, _PSH, _ACK = 1, 2, 4, 8, 16
_TIMESTAMPS = b"\x01\x01\x08\x0a" + bytes(8)
_CLIENT, _SERVER = bytes((10, 0, 0, 1)), bytes((10, 0, 0, 2))
_HEADERS = struct.Struct("!12s2sBBHHHBBH4s4sHHIIBBHHH12s")


def frame(  # noqa: PLR0917 - a header's fields in their order
    there: bool, port: int, seq: int, ack: int, flags: int, payload: bytes, ip_id: int
) -> bytes:
    """An Ethernet frame of a connection to port 443."""
    source, destination = (_CLIENT, _SERVER) if there else (_SERVER, _CLIENT)
    ports = (port, 443) if there else (443, port)
    return (
        _HEADERS.pack(
            *(bytes(12), b"\x08\x00", 0x45, 0, 52 + len(payload), ip_id, 0x4000, 64, 6, 0),
            *(source, destination, *ports, seq, ack, 0x80, flags, 512, 0, 0, _TIMESTAMPS),
        )
        + payload
    )


def connection(port: int, packets: int, reset: bool, payload: bytes) -> Iterator[bytes]:
    """A handshake, answers of the server with their acknowledgements, and an end."""
    yield frame(True, port, 999, 0, _SYN, b"", 1)
    yield frame(False, port, 4999, 1000, _SYN | _ACK, b"", 0)
    seq = 5000
    for n in range((packets - 4) // 2):
        yield frame(False, port, seq, 1000, _PSH | _ACK, payload, n & 0xFFFF)
        seq += len(payload)
        yield frame(True, port, 1000, seq & 0xFFFFFFFF, _ACK, b"", n & 0xFFFF)
    yield frame(True, port, 1000, seq, _FIN | _ACK, b"", 2)
    yield frame(False, port, seq, 1001, (_RST if reset else _FIN) | _ACK, b"", 3)


def mixed(packets: int, payload: bytes) -> Iterator[bytes]:
    """All connections side by side, a packet of each in turn."""
    each = packets // CONNECTIONS
    lines = [
        connection(10_000 + n, each, n % (CONNECTIONS // RESET) == 0, payload)
        for n in range(CONNECTIONS)
    ]
    for row in zip(*lines, strict=True):
        yield from row


def write(path: Path, packets: int, payload: bytes, *, ng: bool, cooked: bool) -> None:
    """The capture, a packet every ten microseconds."""
    link = frames.LINUX_COOKED if cooked else frames.ETHERNET
    with path.open("wb") as file:
        if ng:
            writer = Writer(file, link, "bench0")
        else:
            file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, link))
        for n, plain in enumerate(mixed(packets, payload)):
            data = bytes(14) + plain[12:] if cooked else plain
            time_us = 1_790_000_000_000_000 + 10 * n
            if ng:
                writer.packet(time_us * 1000, data, len(data))
            else:
                seconds, micro = divmod(time_us, 10**6)
                file.write(struct.pack("<IIII", seconds, micro, len(data), len(data)) + data)
        if ng:
            writer.finish(0)


def cpu(who: int) -> float:
    """CPU seconds, user and system."""
    usage = resource.getrusage(who)
    return usage.ru_utime + usage.ru_stime


def read(path: Path) -> None:
    """Both passes, as `explain` does them: all flows lightly, then the reset ones."""
    reading = open_capture_file(path)
    start, wall = cpu(resource.RUSAGE_SELF), time.perf_counter()
    summary = reading.summary()
    middle = cpu(resource.RUSAGE_SELF)
    wanted = {half.key for half in summary.halves.values() if half.reset}
    wanted |= {reverse(key) for key in wanted}
    found = sum(1 for _ in reading.packets(wanted.__contains__))
    end = cpu(resource.RUSAGE_SELF)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"tlsprobe: {reading.total} packets, {len(summary.halves) // 2} connections, "
        f"{len(wanted) // 2} reset, {found} packets of those\n"
        f"  summary {middle - start:.2f} s CPU, packets {end - middle:.2f} s CPU, together "
        f"{end - start:.2f} s CPU ({time.perf_counter() - wall:.2f} s), peak {peak:.0f} MiB"
    )


def tshark(path: Path) -> None:
    """What the question costs with tshark."""
    program = shutil.which("tshark")
    if program is None:
        print("tshark is not installed")
        return
    before, wall = cpu(resource.RUSAGE_CHILDREN), time.perf_counter()
    asked = ["-n", "-q", "-z", "conv,tcp", "-Y", "tcp.flags.reset==1"]
    subprocess.run([program, "-r", str(path), *asked], stdout=subprocess.DEVNULL, check=True)
    used = cpu(resource.RUSAGE_CHILDREN) - before
    print(f"tshark: {used:.2f} s CPU ({time.perf_counter() - wall:.2f} s)")


def main() -> None:
    """Makes the files, measures, and removes them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--big", action="store_true", help="also a file of 2 GiB")
    parser.add_argument("--pcapng", action="store_true")
    parser.add_argument("--cooked", action="store_true")
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.read is not None:
        read(chosen.read)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "million"
        write(path, PACKETS, bytes(100), ng=chosen.pcapng, cooked=chosen.cooked)
        print(f"{path.stat().st_size / 2**20:.0f} MiB")
        again(path)
        tshark(path)
        if chosen.big:
            path.unlink()
            write(path, 2_760_000, bytes(1400), ng=chosen.pcapng, cooked=chosen.cooked)
            print(f"{path.stat().st_size / 2**30:.2f} GiB")
            again(path)


def test_a_million_packets(tmp_path: Path) -> None:
    path = tmp_path / "million"
    write(path, PACKETS, bytes(100), ng=False, cooked=False)
    again(path)
    tshark(path)
    path.unlink()


def again(path: Path) -> None:
    """In a process of its own: its peak memory is nobody else's."""
    subprocess.run([sys.executable, __file__, "--read", str(path)], check=True)


if __name__ == "__main__":
    main()
