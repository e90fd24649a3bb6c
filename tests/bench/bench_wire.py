"""What the parent's side of the sniffer costs for each connection: filing its frames, taking them.

    .venv/bin/python -m tests.bench.bench_wire

The frames are those of real connections (tests/data/corpus), handed over in one batch as the
sniffer process would. Processor time, the least of many rounds; then what starting the sniffer
process costs until it has its socket, which needs the right to open one.
"""

from __future__ import annotations

import io
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from tlsprobe.captures.pcap import Reader
from tlsprobe.captures.pcapng_writer import Writer
from tlsprobe.packets.frames import ETHERNET, key_of
from tlsprobe.packets.packet import Endpoint, endpoints, reverse
from tlsprobe.sniff.demultiplexer import Demultiplexer
from tlsprobe.sniff.protocol import FRAME_HEAD, frames_of

CORPUS = Path(__file__).parents[1] / "data/corpus"
SERVERS = ("nginx", "polite", "postgres", "rude", "aborting")
ROUNDS = 200


class Batch(NamedTuple):
    """One connection's frames as they come from the sniffer process."""

    client: Endpoint
    server: Endpoint
    body: bytes
    frames: int


def batch_of(path: Path) -> Batch:
    found = Reader(path.name).feed(path.read_bytes())
    key = key_of(found[0].data, ETHERNET)
    own = [f for f in found if key_of(f.data, ETHERNET) in (key, reverse(key))]
    body = b"".join(FRAME_HEAD.pack(f.time_ns, f.length, len(f.data)) + f.data for f in own)
    return Batch(*endpoints(key), body, len(own))


def once(batch: Batch) -> tuple[float, float]:
    """Seconds of filing, and of taking."""
    demultiplexer = Demultiplexer(batch.server)
    demultiplexer.writer = Writer(io.BytesIO(), ETHERNET, "lo")
    demultiplexer.expect(batch.client)
    begun = time.process_time()
    demultiplexer.file(frames_of(batch.body))
    filed = time.process_time()
    segments, _ = demultiplexer.take(batch.client)
    taken = time.process_time()
    assert len(segments) == batch.frames
    return filed - begun, taken - filed


def measure() -> None:
    batches = [batch_of(p) for p in sorted(CORPUS.glob("*.pcapng")) if p.stem.startswith(SERVERS)]
    best = []
    for which in (0, 1):
        rounds = [sum(once(batch)[which] for batch in batches) for _ in range(ROUNDS)]
        best.append(min(rounds) / len(batches) * 1e6)
    frames = sum(batch.frames for batch in batches) / len(batches)
    print(
        f"\n{frames:.1f} frames a connection: filed in {best[0]:.0f} µs, taken in {best[1]:.0f} µs"
    )


def start_sniffer(times: int = 5) -> None:
    command = [sys.executable, "-P", "-m", "tlsprobe.sniff.process", "lo", "127.0.0.1", "9"]
    nowhere = dict.fromkeys(("XDG_CACHE_HOME", "XDG_CONFIG_HOME"), os.devnull)
    env = {**os.environ, **nowhere, "PYTHONPATH": str(Path(__file__).parents[2])}
    used = []
    for _ in range(times):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, env=env, check=False)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        used.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    print(f"the sniffer process: {min(used):.3f} s of processor time from start to end")


def test_the_parents_side() -> None:
    measure()
    start_sniffer()


if __name__ == "__main__":
    measure()
    start_sniffer()
