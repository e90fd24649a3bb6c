"""How writes fall into segments: what was asked for is what a packet socket sees."""

from __future__ import annotations

import re
import socket
from itertools import product

import pytest
import trio

from tests.patient_servers import patient_server
from tests.servers import GENEROUS_S, loopbacks
from tlsprobe.drive.script import Patience, Route, drive
from tlsprobe.language import parse
from tlsprobe.model.target import TlsIdentity, TlsVersion
from tlsprobe.model.trace import Coverage, Drive, Flag, RecordKind, Segment, Side
from tlsprobe.protocols.raw import RawSettings, raw
from tlsprobe.sniff.capture import Capture, open_capture
from tlsprobe.tls import client_context

pytestmark = pytest.mark.packet_socket

PING = RawSettings(request=b"ping\n", response=re.compile(rb"pong.*\n"), goodbye=b"bye\n")
WAITS = Patience(server=GENEROUS_S, idle=GENEROUS_S, tail=0.01)
TRIALS = 5
SLEPT_NS = 20_000_000

ALERT_WITH_FIN = "request; close_notify + fin; drain"
ALERT_THEN_FIN = "request; close_notify; fin; drain"
GOODBYE_WITH_ALERT = "request; terminate + close_notify; drain"
GOODBYE_THEN_ALERT = "request; terminate; close_notify; drain"
GOODBYE_THEN_ALERT_WITH_FIN = "request; terminate; close_notify + fin; drain"
ALL_AT_ONCE = "request; terminate + close_notify + fin; drain"
SLEEPING = "request; terminate; sleep 20ms; close_notify; drain"
ABORTING = "request; abort; drain 5ms"
SEQUENCES = (
    ALERT_WITH_FIN,
    ALERT_THEN_FIN,
    GOODBYE_WITH_ALERT,
    GOODBYE_THEN_ALERT,
    GOODBYE_THEN_ALERT_WITH_FIN,
    ALL_AT_ONCE,
    SLEEPING,
    ABORTING,
)

Seen = tuple[Drive, list[Segment]]


class Watched:
    """A built-in server whose connections are captured."""

    def __init__(self, capture: Capture, host: str, port: int, version: TlsVersion) -> None:
        self.capture = capture
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        tls = client_context(version, TlsIdentity(), None, ())
        self.route = Route(
            (family, (host, port)), (host, port), tls, raw(PING), WAITS, capture.expect
        )

    async def segments(self, steps: str) -> Seen:
        """One drive, and the segments with payload, FIN or RST behind its mark."""
        found = await drive(self.route, parse(steps))
        assert found.client is not None
        assert found.mark is not None
        await self.capture.settle()
        segments, coverage = self.capture.take(found.client)
        assert coverage is Coverage.WHOLE
        return found, [s for s in segments if speaks(s) and is_behind(s, found)]


def speaks(segment: Segment) -> bool:
    return bool(segment.length or segment.flags & (Flag.FIN | Flag.RST))


def is_behind(segment: Segment, found: Drive) -> bool:
    assert found.mark is not None
    start = found.mark.client if segment.side is Side.CLIENT else found.mark.server
    return segment.start >= start


def ours(segments: list[Segment]) -> list[tuple[int, bool]]:
    """Length and FIN of each segment that we sent; a busy server has the kernel send some again."""
    sent = [s for s in segments if s.side is Side.CLIENT]
    news = [s for n, s in enumerate(sent) if all(s.end + s.fin > o.end + o.fin for o in sent[:n])]
    return [(s.length, s.fin) for s in news]


def lengths(found: Drive) -> tuple[int, int]:
    """Of our goodbye and our close_notify, 0 for what was not sent."""
    sizes = {r.kind: r.end - r.start for r in found.records if r.side is Side.CLIENT}
    return sizes.get(RecordKind.GOODBYE, 0), sizes.get(RecordKind.CLOSE_NOTIFY, 0)


@pytest.fixture(scope="module", params=loopbacks())
def wire(request: pytest.FixtureRequest) -> dict[str, list[Seen]]:
    """What was seen of each sequence, over IPv4 and IPv6, both versions together."""
    found: dict[str, list[Seen]] = {steps: [] for steps in SEQUENCES}

    async def watch(port: int) -> None:
        async with open_capture("packet", request.param, port, require=True) as capture:
            for version, steps in product(TlsVersion, SEQUENCES):
                server = Watched(capture, request.param, port, version)
                found[steps] += [await server.segments(steps) for _ in range(TRIALS)]

    trio.run(watch, patient_server("polite"))
    return found


def test_alert_and_fin_share_a_segment(wire: dict[str, list[Seen]]) -> None:
    for found, segments in wire[ALERT_WITH_FIN]:
        assert ours(segments) == [(lengths(found)[1], True)]


def test_alert_and_fin_are_two_segments(wire: dict[str, list[Seen]]) -> None:
    for found, segments in wire[ALERT_THEN_FIN]:
        assert ours(segments) == [(lengths(found)[1], False), (0, True)]


def test_goodbye_and_alert_share_a_segment(wire: dict[str, list[Seen]]) -> None:
    for found, segments in wire[GOODBYE_WITH_ALERT]:
        assert ours(segments)[0] == (sum(lengths(found)), False)  # then the prober's own FIN


def test_goodbye_and_alert_leave_back_to_back(wire: dict[str, list[Seen]]) -> None:
    """Two segments, and the server has no chance to act in between."""
    for found, segments in wire[GOODBYE_THEN_ALERT]:
        goodbye, alert = lengths(found)
        assert ours(segments)[:2] == [(goodbye, False), (alert, False)]
        assert [s.side for s in segments[:2]] == [Side.CLIENT, Side.CLIENT]


def test_the_fin_rides_on_the_alert_behind_a_goodbye(wire: dict[str, list[Seen]]) -> None:
    """Whatever the server has acknowledged or answered by then."""
    for found, segments in wire[GOODBYE_THEN_ALERT_WITH_FIN]:
        goodbye, alert = lengths(found)
        assert ours(segments) == [(goodbye, False), (alert, True)]


def test_goodbye_alert_and_fin_share_a_segment(wire: dict[str, list[Seen]]) -> None:
    for found, segments in wire[ALL_AT_ONCE]:
        assert ours(segments) == [(sum(lengths(found)), True)]


def test_a_sleep_leaves_the_server_the_time_to_act_in_between(wire: dict[str, list[Seen]]) -> None:
    for _, segments in wire[SLEEPING]:
        goodbye, alert = [s for s in segments if s.side is Side.CLIENT][:2]
        assert alert.time_ns - goodbye.time_ns >= SLEPT_NS


def test_an_abort_is_an_rst_of_ours(wire: dict[str, list[Seen]]) -> None:
    """The first thing that passes; a server that says something later draws bare ones."""
    for _, segments in wire[ABORTING]:
        first, *others = segments
        assert (first.side, first.rst, first.fin) == (Side.CLIENT, True, False)
        assert not any(s.rst and s.ack is not None for s in others)


def test_script_and_wire_speak_of_the_same_bytes(wire: dict[str, list[Seen]]) -> None:
    for found, segments in wire[ALERT_THEN_FIN]:
        for side in Side:
            last = next(r for r in reversed(found.records) if r.side is side)
            fin = next(s for s in segments if s.side is side and s.fin)
            assert fin.end == last.end
