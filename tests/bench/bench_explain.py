"""Explains a capture of a million packets, next to tshark's list of conversations with a reset.

    .venv/bin/python -m tests.bench.bench_explain [PACKETS]

Two pcap files are written: one of a thousand long connections, one of very many short ones, as a
load balancer has them; interleaved as on a busy link, each with TLS records of some kilobytes. One
connection in ten ends with an RST in place of a FIN, of the short ones one in a hundred. tshark and
we read each file in turns, three times, we also with ``--json``; wall clock, processor time and the
largest memory of each are printed. ``PACKETS`` may be larger: memory must not follow it.
"""

from __future__ import annotations

import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import pytest

LONG = 1000, 10
SHORT = 60_000, 100
"""How many connections in a million packets, and which of them are reset."""

OPEN_AT_ONCE = 1000
ROUNDS = 3
NEVER_COMPILED = "PYTHONDONTWRITEBYTECODE"
_SYN, _SYN_ACK, _ACK, _PUSH, _FIN, _RST = 0x02, 0x12, 0x10, 0x18, 0x11, 0x14
_SERVER = bytes((192, 0, 2, 1)), 443
_RECORD = b"\x17\x03\x03\x05\x73" + bytes(0x573)
_OPTIONS = b"\x01\x01\x08\x0a" + bytes(8)


class Talk:
    """One connection that makes up its next packet when asked."""

    def __init__(self, index: int, packets: int, every: int, chance: random.Random) -> None:
        self.client = (
            bytes((198, 51 + index // 50_000, 100 + index // 250 % 100, index % 250 + 1)),
            20_000 + index % 40_000,
        )
        self.seq = [chance.getrandbits(32), chance.getrandbits(32)]
        self.left, self.made = packets, 0
        self.resets = index % every == 0

    def next(self) -> bytes:
        self.made += 1
        self.left -= 1
        if self.made <= 3:
            flags = (_SYN, _SYN_ACK, _ACK)[self.made - 1]
            return self.packet(int(self.made == 2), flags, b"")
        if self.left == 0:
            return self.packet(1, _RST if self.resets else _FIN, b"")
        if self.made % 3 == 1:
            return (
                self.packet(0, _PUSH, _RECORD[:5] + bytes(0x573))
                if self.made == 4
                else self.packet(0, _ACK, b"")
            )
        return self.packet(1, _PUSH, _RECORD)

    def packet(self, way: int, flags: int, payload: bytes) -> bytes:
        source, destination = (self.client, _SERVER) if way == 0 else (_SERVER, self.client)
        ack = self.seq[1 - way] if flags != _SYN else 0
        tcp = struct.pack(
            "!HHIIBBHHH", source[1], destination[1], self.seq[way], ack, 0x80, flags, 512, 0, 0
        )
        body = tcp + _OPTIONS + payload
        self.seq[way] = (self.seq[way] + len(payload) + (flags & 0x03 != 0)) % 2**32
        ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), self.made, 0x4000, 64, 6, 0)
        return bytes(12) + b"\x08\x00" + ip + source[0] + destination[0] + body


def write(out: BinaryIO, packets: int, connections: int, every: int) -> None:
    """The capture: ``packets`` packets of so many connections, every so many of which are reset."""
    chance = random.Random(1)
    made = (Talk(i, packets // connections, every, chance) for i in range(connections))
    out.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 0x40000, 1))
    clock = 1_790_000_000 * 1_000_000
    talks = list(islice(made, OPEN_AT_ONCE))
    while talks:
        for talk in talks:
            for _ in range(min(4, talk.left)):
                data = talk.next()
                clock += 7
                head = (clock // 1_000_000, clock % 1_000_000, len(data), len(data))
                out.write(struct.pack("<IIII", *head) + data)
        talks = [talk for talk in talks if talk.left]
        talks += islice(made, OPEN_AT_ONCE - len(talks))


def timed(name: str, command: list[str]) -> float:
    """Runs it, prints what it took, and gives back the wall clock."""
    began = time.perf_counter()
    # Compiled as it is where it is installed, whatever this environment says.
    compiled = {key: value for key, value in os.environ.items() if key != NEVER_COMPILED}
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, stdout=quiet, stderr=quiet, env=compiled)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)  # it is waited for, not by Popen
    wall = time.perf_counter() - began
    cpu = used.ru_utime + used.ru_stime
    print(f"{name:8} {wall:6.2f} s wall, {cpu:6.2f} s cpu, {used.ru_maxrss / 1024:6.0f} MiB")
    return wall


def compare(path: Path, packets: int, kind: tuple[int, int], rounds: int = ROUNDS) -> None:
    """Writes the capture to ``path`` and lets both read it in turns."""
    connections, every = kind[0] * packets // 1_000_000, kind[1]
    with path.open("wb") as out:
        write(out, packets, connections, every)
    size, reset = path.stat().st_size >> 20, connections // every
    print(f"\n{packets} packets, {connections} connections, {reset} reset, {size} MiB")
    ours = [sys.executable, "-m", "tlsprobe", "explain", str(path)]
    wireshark = ["tshark", "-r", str(path), "-q", "-z", "conv,tcp", "-Y", "tcp.flags.reset==1"]
    for _ in range(rounds):
        timed("tlsprobe", ours)
        timed("--json", [*ours, "--json"])
        if shutil.which("tshark"):
            timed("tshark", wireshark)


@pytest.mark.parametrize("kind", [LONG, SHORT], ids=["long", "short"])
def test_explain_next_to_tshark(tmp_path: Path, kind: tuple[int, int]) -> None:
    compare(tmp_path / "capture.pcap", 1_000_000, kind)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        wanted = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
        for one in (LONG, SHORT):
            compare(Path(folder) / "capture.pcap", wanted, one)
