"""Distance between two namespaces: carries frames from one to the other, late, and loses some.

A process of its own with a TAP interface in each namespace. What one end sends waits in a queue
for half the round-trip time, is lost with a probability that a seed makes repeatable, and is then
written to the other end; nothing else happens to it. Kernels without a delaying queueing
discipline (netem) can do without one.

    with distance(net, rtt_ms=20, loss=0.01, seed=1):
        ...                              # net.client reaches net.server
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import random
import select
import signal
import struct
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field

from tlsprobe.errors import CannotMeasure
from tlsprobe.lab.namespaces import Namespace, Two, run
from tlsprobe.netns import inside

READY = b"ready\n"
QUEUE_LIMIT = 20_000
"""Frames on their way in one direction; what comes on top is lost, as in a router."""

_INTERFACE = "eth0"
_FRAME_LIMIT = 65_536
_TUNSETIFF = 0x4004_54CA
_IFF_TAP, _IFF_NO_PI = 0x0002, 0x1000
_PR_SET_TIMERSLACK = 29
_ENDS_WITHIN_S = 5.0


@dataclass(slots=True)
class Lane:
    """One direction: frames with the time at which each is due, in nanoseconds.

    Pure: it is told the time. All frames take equally long, so that they stay in order.
    """

    delay_ns: int
    loss: float
    dice: random.Random
    limit: int = QUEUE_LIMIT
    lost: int = 0
    waiting: deque[tuple[int, bytes]] = field(default_factory=deque)

    def take(self, now_ns: int, frame: bytes) -> None:
        """A frame enters, or is lost."""
        if len(self.waiting) >= self.limit or (self.loss and self.dice.random() < self.loss):
            self.lost += 1
        else:
            self.waiting.append((now_ns + self.delay_ns, frame))

    def due(self, now_ns: int) -> Iterator[bytes]:
        """The frames that have arrived."""
        while self.waiting and self.waiting[0][0] <= now_ns:
            yield self.waiting.popleft()[1]

    @property
    def next_ns(self) -> int | None:
        """When the next frame is due; None: nothing is on its way."""
        return self.waiting[0][0] if self.waiting else None


@dataclass(frozen=True, slots=True)
class Order:
    """What the forwarder's process is told: namespaces, and how far apart they are to be."""

    client: str
    server: str
    rtt_ms: float
    loss: float
    seed: int


@contextmanager
def distance(net: Two, *, rtt_ms: float, loss: float = 0.0, seed: int = 0) -> Iterator[None]:
    """Join two namespaces by a path of this length, for the time of the block.

    ``loss`` is the probability of losing a frame, in each direction. Raises CannotMeasure.
    """
    order = Order(net.client.name, net.server.name, rtt_ms, loss, seed)
    command = [sys.executable, "-m", "tlsprobe.lab.distance", json.dumps(asdict(order))]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,  # whose end is the sign to end: ours may come without a word
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,  # a Ctrl-C is for us, who still need it
    ) as process:
        try:
            _await_ready(process)
            _number(net.client, net.server)
            _number(net.server, net.client)
            yield
        finally:
            _end(process)


def _await_ready(process: subprocess.Popen[bytes]) -> None:
    assert process.stdout is not None
    assert process.stderr is not None
    if process.stdout.readline() != READY:
        said = process.stderr.read().decode("utf-8", "replace").strip().splitlines()
        why = said[-1] if said else "it said nothing"
        hint = "it needs root and /dev/net/tun"
        raise CannotMeasure(f"the forwarder between the namespaces did not start: {why}", hint)


def _end(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    with suppress(BrokenPipeError):
        process.stdin.close()
    try:
        process.wait(_ENDS_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()


def _number(end: Namespace, other: Namespace) -> None:
    """Give an end its addresses. The neighbour is known from the start: asking takes a trip."""
    ip = ("ip", "-n", end.name)
    run(*ip, "address", "add", f"{end.ipv4}/24", "dev", _INTERFACE)
    run(*ip, "address", "add", f"{end.ipv6}/64", "dev", _INTERFACE, "nodad")
    hardware = run("ip", "-n", other.name, "-json", "link", "show", "dev", _INTERFACE)
    address = json.loads(hardware)[0]["address"]
    for neighbour in (other.ipv4, other.ipv6):
        known = ("lladdr", address, "nud", "permanent", "dev", _INTERFACE)
        run(*ip, "neighbour", "replace", neighbour, *known)


# --- The process ----------------------------------------------------------------------------------


def main(words: str) -> None:
    """Carry frames until standard input ends."""
    order = Order(**json.loads(words))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1)  # the default, 50 us, is half of 0.1 ms
    client, server = _tap(order.client), _tap(order.server)
    half_ns = round(order.rtt_ms * 500_000)
    dice = random.Random(order.seed)
    lanes = {
        client: (server, Lane(half_ns, order.loss, random.Random(dice.random()))),
        server: (client, Lane(half_ns, order.loss, random.Random(dice.random()))),
    }
    sys.stdout.buffer.write(READY)
    sys.stdout.buffer.flush()
    _carry(lanes, stop=sys.stdin.fileno())


def _tap(namespace: str) -> int:
    """A TAP interface in a namespace, up; the descriptor of its cable."""
    with inside(namespace):
        descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        wanted = struct.pack("16sH22x", _INTERFACE.encode(), _IFF_TAP | _IFF_NO_PI)
        fcntl.ioctl(descriptor, _TUNSETIFF, wanted)
    run("ip", "-n", namespace, "link", "set", _INTERFACE, "up")
    return descriptor


def _carry(lanes: dict[int, tuple[int, Lane]], stop: int) -> None:
    while True:
        ready, _, _ = select.select([*lanes, stop], [], [], _pause(lanes))
        if stop in ready:
            return
        for source, (there, lane) in lanes.items():
            if source in ready:
                _collect(source, lane)
            for frame in lane.due(time.monotonic_ns()):
                with suppress(OSError):  # an interface that is down, or full: lost, as on a wire
                    os.write(there, frame)


def _pause(lanes: dict[int, tuple[int, Lane]]) -> float | None:
    """Seconds until a frame is due. select, unlike epoll, takes fractions of a millisecond."""
    due = [lane.next_ns for _, lane in lanes.values() if lane.next_ns is not None]
    return max(0.0, (min(due) - time.monotonic_ns()) / 1e9) if due else None


def _collect(source: int, lane: Lane) -> None:
    with suppress(BlockingIOError):
        while True:
            lane.take(time.monotonic_ns(), os.read(source, _FRAME_LIMIT))


if __name__ == "__main__":
    main(sys.argv[1])
