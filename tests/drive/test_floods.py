"""Servers that never come to an end cost one connection its patience, and the others nothing.

The bounds are generous, for machines that have much else to do; what does not end by itself takes
ten times as long.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from tests.drive.test_failures import certificate
from tests.floods import FLOODS
from tests.servers import Pki
from tlsprobe.drive.script import Patience, Route, drive
from tlsprobe.language import parse
from tlsprobe.model.target import Login, TlsIdentity, TlsVersion
from tlsprobe.model.trace import Drive, Stage
from tlsprobe.profiles import load_profile
from tlsprobe.protocols import make_conversation
from tlsprobe.tls import client_context

PATIENCE = Patience(server=0.3, idle=0.3, tail=0.01)
SOON, AT_ONCE = 6.0, 3.0
"""Seconds for a whole connection, and until another task has its turn."""

PROFILES = {
    **{"settings": "http2", "pings": "http2", "babble": "smtps"},
    **{"passwords": "postgres", "notices": "postgres"},
}
GREETING = {"settings", "passwords", "notices", "babble"}


@pytest.fixture(scope="module")
def ports(pki: Pki, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, int]]:
    pem = certificate(pki, tmp_path_factory.mktemp("floods"))
    command = [sys.executable, "-m", "tests.floods", str(pem)]
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())
        process.stdin.close()


class Ticker:
    """The longest that a task which is always ready had to wait for its turn, in seconds."""

    def __init__(self) -> None:
        self.longest = 0.0

    async def run(self) -> None:
        last = trio.current_time()
        while True:
            await trio.sleep(0.01)
            now = trio.current_time()
            last, self.longest = now, max(self.longest, now - last)


def driven(port: int, name: str, version: TlsVersion) -> tuple[Drive, float, float]:
    """The drive, how long it took, and how long others had to wait meanwhile."""
    profile = load_profile(PROFILES.get(name, "https"))
    converse = make_conversation(profile, "localhost", Login("somebody", None, "secret"), 443)
    tls = client_context(version, TlsIdentity(), None, ())
    address = "127.0.0.1", port
    route = Route((socket.AF_INET, address), address, tls, converse, PATIENCE)

    async def timed() -> tuple[Drive, float, float]:
        ticker, begun = Ticker(), trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ticker.run)
            found = await drive(route, parse("request; close_notify; fin; drain"))
            nursery.cancel_scope.cancel()
        return found, trio.current_time() - begun, ticker.longest

    return trio.run(timed)


@pytest.mark.parametrize("version", TlsVersion)
@pytest.mark.parametrize("name", FLOODS)
def test_it_costs_its_patience(name: str, version: TlsVersion, ports: dict[str, int]) -> None:
    found, took, waited = driven(ports[name], name, version)
    assert took < SOON
    assert waited < AT_ONCE
    if name == "alerts":  # they come behind a whole response, so that the sequence is performed
        assert (found.failure, found.answered) == (None, 1)
        return
    assert found.failure
    assert found.mark is None
    assert found.stage is (Stage.GREETING if name in GREETING else Stage.SEQUENCE)


@pytest.mark.parametrize("version", TlsVersion)
def test_a_response_that_goes_on_for_ever(version: TlsVersion, ports: dict[str, int]) -> None:
    found, _, _ = driven(ports["interim"], "interim", version)
    assert found.failure == "no whole response in time"
