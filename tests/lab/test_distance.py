"""Distance: the queue by itself, and round trips that were measured."""

from __future__ import annotations

import random
import socket
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests import servers
from tests.servers import GENEROUS_S
from tlsprobe.errors import CannotMeasure
from tlsprobe.lab import namespaces
from tlsprobe.lab.distance import Lane, distance
from tlsprobe.lab.namespaces import Namespace, Two, two
from tlsprobe.netns import inside

MS = 1_000_000


def lane(loss: float = 0.0, seed: int = 1, limit: int = 100) -> Lane:
    return Lane(10 * MS, loss, random.Random(seed), limit)


def test_frames_come_out_in_order_and_not_before_their_time() -> None:
    one = lane()
    one.take(0, b"first")
    one.take(2 * MS, b"second")
    assert one.next_ns == 10 * MS
    assert list(one.due(10 * MS - 1)) == []
    assert list(one.due(10 * MS)) == [b"first"]
    assert list(one.due(50 * MS)) == [b"second"]
    assert one.next_ns is None


def lost_of(count: int, loss: float, seed: int) -> list[int]:
    one, lost = lane(loss, seed, limit=count), []
    for number in range(count):
        before = one.lost
        one.take(0, b"")
        lost += [number] if one.lost > before else []
    return lost


def test_a_seed_makes_loss_repeatable() -> None:
    assert lost_of(10_000, 0.01, seed=1) == lost_of(10_000, 0.01, seed=1)
    assert lost_of(10_000, 0.01, seed=1) != lost_of(10_000, 0.01, seed=2)


def test_about_as_many_are_lost_as_was_asked() -> None:
    assert 60 < len(lost_of(10_000, 0.01, seed=1)) < 140
    assert lost_of(10_000, 0.0, seed=1) == []


def test_a_full_queue_loses_what_comes_on_top() -> None:
    one = lane(limit=2)
    for _ in range(3):
        one.take(0, b"")
    assert (len(one.waiting), one.lost) == (2, 1)


# --- between namespaces ---------------------------------------------------------------------------


@pytest.fixture
def can_have_tap() -> None:
    reason = namespaces.available()
    if reason is None and not Path("/dev/net/tun").exists():
        reason = "there is no /dev/net/tun"
    if reason is not None:
        servers.cannot(reason)


def pair(client: Namespace, server: Namespace, address: str) -> tuple[socket.socket, socket.socket]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with inside(server.name):
        listener = socket.create_server((address, 5000), family=family)
    with inside(client.name):
        ours = socket.socket(family)
    ours.settimeout(GENEROUS_S)
    with listener:
        ours.connect((address, 5000))
        theirs, _ = listener.accept()
    theirs.settimeout(GENEROUS_S)
    for end in (ours, theirs):
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return ours, theirs


def round_trips(net: Two, address: str, count: int = 5) -> list[float]:
    """Milliseconds that a byte takes there and back."""
    ours, theirs = pair(net.client, net.server, address)
    took = []
    with ours, theirs:
        for _ in range(count):
            begun = time.perf_counter()
            ours.send(b"?")
            theirs.recv(1)
            theirs.send(b"!")
            ours.recv(1)
            took.append((time.perf_counter() - begun) * 1000)
    return took


@pytest.mark.root
@pytest.mark.usefixtures("can_have_tap")
@pytest.mark.parametrize("rtt_ms", [0.0, 1.0, 20.0])
def test_the_round_trip_is_what_was_asked(rtt_ms: float) -> None:
    """Never less; how much more, the machine decides."""
    with two() as net, distance(net, rtt_ms=rtt_ms):
        for address in (net.server.ipv4, net.server.ipv6):
            assert min(round_trips(net, address)) >= rtt_ms


@pytest.mark.root
@pytest.mark.usefixtures("can_have_tap")
def test_what_is_lost_is_sent_again_and_arrives() -> None:
    sent = random.Random(3).randbytes(300_000)
    with two() as net, distance(net, rtt_ms=1, loss=0.05, seed=5):
        ours, theirs = pair(net.client, net.server, net.server.ipv4)
        with ours, theirs:
            received, left = bytearray(), memoryview(sent)
            deadline = time.monotonic() + GENEROUS_S
            ours.settimeout(0.01)
            theirs.settimeout(0.01)
            while len(received) < len(sent) and time.monotonic() < deadline:
                with suppress(TimeoutError):
                    left = left[ours.send(left[:20_000]) :] if left else left
                with suppress(TimeoutError):
                    received += theirs.recv(1 << 16)
    assert bytes(received) == sent


@pytest.mark.root
@pytest.mark.usefixtures("can_have_tap")
def test_a_forwarder_that_cannot_start_says_why() -> None:
    gone = Namespace("tlsprobe-nowhere", "10.77.3.1", "fd77:3::1")
    with pytest.raises(CannotMeasure, match="No such file"), distance(Two(gone, gone), rtt_ms=1):
        pass
