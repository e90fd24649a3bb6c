"""Servers that never come to an end cost one connection its patience, and the others nothing.

What others have to wait is counted in processor time of our own, which is the same however much
else the machine has to do; that a connection ends at all, only a hang disproves.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from tests.children import child
from tests.drive.test_failures import certificate
from tests.floods import FLOODS
from tests.servers import GENEROUS_S, Pki
from tlsprobe.drive.script import Patience, Route, drive
from tlsprobe.language import parse
from tlsprobe.model.target import Login, TlsIdentity, TlsVersion
from tlsprobe.model.trace import Drive, Stage
from tlsprobe.profiles import load_profile
from tlsprobe.protocols import make_conversation
from tlsprobe.tls import client_context

PATIENCE = Patience(server=0.3, idle=0.3, tail=0.01)
AT_ONCE = 1.0
"""Seconds of our processor time until another task has its turn."""

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
    with child(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())
        process.stdin.close()


class Ticker:
    """The most processor time, in seconds, that others used before a ready task had its turn."""

    def __init__(self) -> None:
        self.longest = 0.0

    async def run(self) -> None:
        last = time.process_time()
        while True:
            await trio.sleep(0.01)
            now = time.process_time()
            last, self.longest = now, max(self.longest, now - last)


def driven(port: int, name: str, version: TlsVersion) -> tuple[Drive, float]:
    """The drive, and how long others had to wait meanwhile."""
    profile = load_profile(PROFILES.get(name, "https"))
    converse = make_conversation(profile, "localhost", Login("somebody", None, "secret"), 443)
    tls = client_context(version, TlsIdentity(), None, ())
    address = "127.0.0.1", port
    answers = name == "alerts"
    patience = replace(PATIENCE, answer=GENEROUS_S) if answers else PATIENCE
    route = Route((socket.AF_INET, address), address, tls, converse, patience)

    async def timed() -> tuple[Drive, float]:
        ticker = Ticker()
        with trio.fail_after(GENEROUS_S):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ticker.run)
                found = await drive(route, parse("request; close_notify; fin; drain"))
                nursery.cancel_scope.cancel()
        return found, ticker.longest

    return trio.run(timed)


@pytest.mark.slow
@pytest.mark.parametrize("version", TlsVersion)
@pytest.mark.parametrize("name", FLOODS)
def test_it_costs_its_patience(name: str, version: TlsVersion, ports: dict[str, int]) -> None:
    found, waited = driven(ports[name], name, version)
    assert waited < AT_ONCE
    if name == "alerts":  # they come behind a whole response, so that the sequence is performed
        assert (found.failure, found.answered) == (None, 1)
        return
    assert found.failure
    assert found.mark is None
    assert "said nothing more" not in found.failure
    if found.tls is None:
        return  # a busy machine takes longer for the handshake than is waited for all
    assert found.stage is (Stage.GREETING if name in GREETING else Stage.SEQUENCE)


@pytest.mark.slow
@pytest.mark.parametrize("version", TlsVersion)
def test_a_response_that_goes_on_for_ever(version: TlsVersion, ports: dict[str, int]) -> None:
    found, _ = driven(ports["interim"], "interim", version)
    late = "the server did not finish the handshake in time"  # of a busy machine
    assert found.failure == ("no whole response in time" if found.tls else late)
