"""What a drive reports of the verbs and treatments that a shaper in the path performs."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator

import pytest
import trio

from tests.drive.test_verbs import route
from tests.patient_servers import patient_servers
from tests.servers import loopbacks
from tlsprobe.campaign.presence import is_turned_away
from tlsprobe.drive.route import Route
from tlsprobe.drive.script import drive
from tlsprobe.language import parse
from tlsprobe.model.target import TlsVersion
from tlsprobe.model.trace import Drive, EventKind, PathDid, RecordKind, Side
from tlsprobe.shaper.link import open_shaper

pytestmark = pytest.mark.root

Driver = Callable[..., Drive]
ALERTS = {"1.2": 31, "1.3": 24}
"""Bytes of a close_notify on the wire, with AES-GCM in TLS 1.2."""


@pytest.fixture(scope="module")
def ports() -> Iterator[dict[str, int]]:
    with patient_servers("polite", "lingering") as found:
        yield found


@pytest.fixture
def driver(ports: dict[str, int]) -> Driver:
    def run(steps: str, server: str = "polite", **how: object) -> Drive:
        where: Route = route(ports[server], **how)  # type: ignore[arg-type]

        async def through() -> Drive:
            async with open_shaper(where.address[1]) as shaper:
                shaped = Route(
                    *(where.address, where.server, where.tls, where.converse, where.patience),
                    *(where.announce, where.tickets),
                    shaper=shaper,
                )
                return await drive(shaped, parse(steps))

        return trio.run(through)

    return run


def did(found: Drive, *, of: Side = Side.CLIENT) -> list[PathDid]:
    """What the path did, without what it kept quiet about."""
    return [s.did for s in found.shaped if s.side is of and s.did is not PathDid.SWALLOWED]


def ends(found: Drive) -> list[EventKind]:
    return [e.kind for e in found.events if e.kind in {EventKind.EOF, EventKind.RESET}]


@pytest.mark.parametrize("version", TlsVersion)
@pytest.mark.parametrize("host", loopbacks())
def test_a_held_alert_is_released(host: str, version: TlsVersion, driver: Driver) -> None:
    steps = "request; hold close_notify; fin; release; drain"
    found = driver(steps, version=version, host=host)
    assert found.failure is None
    assert found.client is not None
    assert found.client[0] == host
    held, released = (s for s in found.shaped if s.did in {PathDid.HELD, PathDid.RELEASED})
    alert = next(r for r in found.records if r.alert is not None and r.side is Side.CLIENT)
    assert (held.start, held.end) == (released.start, released.end) == (alert.start, alert.end)
    assert alert.end - alert.start == ALERTS[version]
    assert ends(found) == [EventKind.EOF]


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ("request; lose close_notify; fin; drain", [PathDid.LOST]),
        ("request; lose 2 close_notify; drain", [PathDid.LOST, PathDid.LOST]),
        ("request; close_notify; lose fin; drain", [PathDid.LOST]),
        ("request; twice close_notify; fin; drain", [PathDid.DOUBLED]),
        ("request; corrupt close_notify; fin; drain", [PathDid.CORRUPTED]),
        ("request; split 20 close_notify; fin; drain", [PathDid.SPLIT]),
        ("split 9 send; close_notify; hold fin; release; drain", [PathDid.SPLIT, PathDid.HELD]),
        ("request; mute; close_notify; fin; unmute; drain", [PathDid.MUTED, PathDid.UNMUTED]),
        (
            "request; window 0; close_notify; fin; window open; drain",
            [PathDid.WINDOW_SHUT, PathDid.WINDOW_OPENED],
        ),
        ("request; reset +100; close_notify; fin; drain", [PathDid.RESET]),
    ],
)
def test_the_server_ends_in_good_order_all_the_same(
    steps: str, expected: list[PathDid], driver: Driver
) -> None:
    found = driver(steps)
    assert found.failure is None
    assert did(found)[: len(expected)] == expected
    assert ends(found) == [EventKind.EOF]
    assert found.records[-1].kind is RecordKind.CLOSE_NOTIFY


def test_the_servers_fin_comes_late(driver: Driver) -> None:
    found = driver("request; hold server fin 50ms; close_notify; fin; drain", "lingering")
    held, passed = (s for s in found.shaped if s.side is Side.SERVER and s.did in FINS)
    assert passed.time_ns - held.time_ns >= 50_000_000
    eof = next(e for e in found.events if e.kind is EventKind.EOF)
    assert eof.time_ns >= passed.time_ns


FINS = {PathDid.FIN_HELD, PathDid.FIN_PASSED}


def test_marked_as_urgent(driver: Driver) -> None:
    found = driver("request; urgent close_notify; fin; drain")
    assert did(found) == [PathDid.MARKED_URGENT]


@pytest.mark.parametrize("told", ["drain", "pause 50ms; send; drain"])
def test_an_rst_that_the_server_expects_ends_it(told: str, driver: Driver) -> None:
    """Our own socket knows nothing of it, until its next bytes meet nobody.

    A write that is told of the RST leaves an end of file to read, which is none of the server's.
    """
    found = driver(f"request; reset; send; {told}")
    assert did(found) == [PathDid.RESET]
    assert ends(found) == [EventKind.RESET]


def test_without_a_shaper_the_sequence_is_not_driven(ports: dict[str, int]) -> None:
    found = trio.run(drive, route(ports["polite"]), parse("request; mute; fin; drain"))
    assert found.failure == "this sequence needs a shaper in the path"


def test_what_is_held_for_ever(driver: Driver) -> None:
    found = driver("request; hold close_notify; drain 50ms")
    assert did(found) == [PathDid.HELD]
    assert ends(found) == []


@pytest.mark.parametrize("dies", ["before", "meanwhile"])
def test_a_path_that_dies_is_no_doing_of_the_servers(ports: dict[str, int], dies: str) -> None:
    """Nobody was asked for a connection, or nobody knows what became of our close."""
    where: Route = route(ports["polite"])

    async def through() -> Drive:
        async with open_shaper(where.address[1]) as shaper:

            def kill() -> None:
                os.kill(shaper.pid, signal.SIGKILL)
                os.waitid(os.P_PID, shaper.pid, os.WEXITED | os.WNOWAIT)

            if dies == "before":
                kill()
            shaped = Route(
                *(where.address, where.server, where.tls, where.converse, where.patience),
                *(where.announce, where.tickets),
                shaper=shaper,
            )
            steps = parse("request; close_notify; fin; drain 0.2s")
            return await drive(shaped, steps, opened=kill if dies == "meanwhile" else lambda: None)

    found = trio.run(through)
    assert found.failure is not None
    assert "has ended" in found.failure
    assert not is_turned_away(found)
    assert (found.did(EventKind.CONNECT) is None) == (dies == "before")
