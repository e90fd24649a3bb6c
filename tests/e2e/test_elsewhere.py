"""Servers that are not on this machine: how many connections they get, and how fast.

ARCHITECTURE.md, "Decisions": the load on other people's servers is bounded and told before it
starts.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import pytest

from tests import servers
from tests.e2e.probing import Ran, tlsprobe
from tests.small_servers import SmallServer, running
from tlsprobe.captures.reader import open_capture_file
from tlsprobe.lab import namespaces
from tlsprobe.lab.namespaces import Three, three
from tlsprobe.netns import inside

pytestmark = [pytest.mark.root, pytest.mark.packet_socket]

FIN, SYN, RST = 0x01, 0x02, 0x04
NAMED = ("--profile", "reference", "--require-capture", "--out", "out")


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A server behind a router, and what its kernel counted."""

    net: Three
    server: SmallServer
    port: int

    @property
    def target(self) -> str:
        return f"{self.net.server.ipv4}:{self.port}"

    @property
    def accepted(self) -> int:
        """Connections that its kernel completed (RFC 4022, tcpPassiveOpens)."""
        names, values = (
            line.split()
            for line in self.net.server.run("cat", "/proc/net/snmp").splitlines()
            if line.startswith("Tcp:")
        )
        return int(values[names.index("PassiveOpens")])

    def tlsprobe(self, verb: str, *words: str, cwd: Path) -> Ran:
        """``tlsprobe VERB`` on the other side of the router."""
        with inside(self.net.client.name):
            return tlsprobe(verb, "--target", self.target, *NAMED, *words, cwd=cwd)


@contextmanager
def elsewhere(folder: Path) -> Iterator[Elsewhere]:
    reason = namespaces.available()
    if reason is not None:
        servers.cannot(reason)
    server = SmallServer()
    with three() as net, inside(net.server.name), running(server, folder, net.server.ipv4) as port:
        yield Elsewhere(net, server, port)


def asked_for(folder: Path) -> dict[bytes, list[int]]:
    """When each connection was asked for, and when its client had its last word, by the kernel."""
    found: dict[bytes, list[int]] = {}
    with open_capture_file(folder / "capture.pcapng") as reading:
        for packet in reading.packets():
            if packet.flags & SYN and packet.ack is None:
                found.setdefault(packet.key, [packet.time_ns])
            elif packet.key in found and packet.flags & (FIN | RST):
                found[packet.key].append(packet.time_ns)
    return found


def rate_of(folder: Path) -> float:
    """New connections a second."""
    times = sorted(each[0] for each in asked_for(folder).values())
    return (len(times) - 1) * 1e9 / (times[-1] - times[0])


def most_open(folder: Path) -> int:
    """How many had been asked for, and not ended by their client, at once."""
    moments = []
    for begun, *ended in asked_for(folder).values():
        moments += [(begun, 1), *((at, -1) for at in ended[:1])]
    return max(accumulate(change for _, change in sorted(moments)))


@pytest.mark.parametrize(("asked", "most"), [((), 20), (("--rate", "40"), 40)])
def test_a_run_opens_no_more_than_it_may(tmp_path: Path, asked: tuple[str, ...], most: int) -> None:
    """A busy machine may hold one back and send the next in time, but not many in a row."""
    words = ("--sequence", "terminate", "--sequence", "close-notify-fin", "--trials", "40")
    with elsewhere(tmp_path) as there:
        ran = there.tlsprobe("run", *words, *asked, cwd=tmp_path)
        accepted = there.accepted
    run = ran.run
    assert run.spent is not None and run.plan is not None
    assert run.plan.connections <= run.spent.connections == accepted
    assert run.plan.with_repeats is not None
    assert accepted <= run.plan.with_repeats
    rate = rate_of(ran.folder)
    assert rate < most * 1.1
    assert rate > most / 2 or ran.slow


def test_a_run_has_no_more_open_than_it_may(tmp_path: Path) -> None:
    words = ("--sequence", "idle-expiry", "--sequence", "terminate", "--tls", "1.3")
    limits = ("--connections", "5", "--rate", "1000", "--trials", "30", "--idle-limit", "3")
    with elsewhere(tmp_path) as there:
        ran = there.tlsprobe("run", *words, *limits, cwd=tmp_path)
    run = ran.run
    assert run.spent is not None
    assert most_open(ran.folder) <= run.spent.most_open == 5


def test_a_fuzz_run_opens_no_more_than_a_run(tmp_path: Path) -> None:
    """It knew no rate unless one was given, whomever it fuzzed."""
    words = ("--examples", "60", "--time", "600", "--seed", "1")
    with elsewhere(tmp_path) as there:
        ran = there.tlsprobe("fuzz", *words, cwd=tmp_path)
    assert ran.code in {0, 1}, ran.err
    assert most_open(ran.folder) <= 16
    assert rate_of(ran.folder) < 20 * 1.1
