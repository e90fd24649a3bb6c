"""Connections that are forgotten while they are idle, by a server or by what lies before it."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
import trio

from tests.servers import GENEROUS_S
from tests.small_servers import SmallServer, WhenIdle, running
from tlsprobe.campaign import trials as campaign
from tlsprobe.campaign.settings import Measured, Settings, Watcher
from tlsprobe.catalogue import find_sequences
from tlsprobe.drive.script import Patience
from tlsprobe.judge.rules import RULES
from tlsprobe.model.judgement import Result, Verdict
from tlsprobe.model.target import Login, Target
from tlsprobe.profiles import load_profile
from tlsprobe.protocols import make_conversation

IDLE = "idle-then-request"
IDLE_LIMIT_S = 2.5


def run(server: SmallServer, folder: Path, *sequences: str, trials: int = 3) -> Measured:
    profile = load_profile("reference")

    async def measured(port: int) -> Measured:
        target = Target("small", "127.0.0.1", port, profile.name, profile.protocol)
        converse = make_conversation(profile, target.host, Login(), port)
        chosen = [found for name in sequences for found in find_sequences(name)]
        settings = Settings(trials=trials, patience=Patience(1.0, IDLE_LIMIT_S, 0.01, GENEROUS_S))
        return await campaign.measure(target, converse, chosen, settings, Watcher(), trio.Event())

    with running(server, folder) as port:
        return trio.run(measured, port)


def blamed(found: Measured) -> set[str]:
    """The rules that some cell breaks."""
    broken = {Result.FAIL, Result.WARN, Result.ERROR}
    return {f.rule for cell in found.cells for f in cell.findings if f.result in broken}


def was_busy(found: Measured) -> bool:
    """Whether this machine was too slow to tell a server that says nothing from a slow one."""
    return all("busy" in cell.left_out for cell in found.cells)


def of_servers(rules: set[str]) -> set[str]:
    return {rule for rule in rules if RULES[rule].binds != "path"}


@pytest.mark.root
@pytest.mark.packet_socket
def test_a_path_that_forgets_is_found_and_no_server_is_blamed(tmp_path: Path) -> None:
    """Gone without a packet: the next request is met by a bare RST, as behind a load balancer."""
    server = SmallServer(when_idle=WhenIdle.FORGETS, idle_s=1.2)
    found = run(server, tmp_path, IDLE, "idle-expiry")
    assert "INTEROP-IDLE-SILENT" in blamed(found)
    assert [cell.verdict for cell in found.cells[:2]] == [Verdict.WARN, Verdict.WARN]
    assert not {f for cell in found.cells for f in cell.findings if f.result is Result.FAIL}
    assert all(RULES[rule].level == "interop" for rule in blamed(found))
    assert set(found.cells[0].causes) == {"no-connection-state"}


@pytest.mark.packet_socket
def test_a_server_that_falls_silent_is_found(tmp_path: Path) -> None:
    server = SmallServer(when_idle=WhenIdle.FALLS_SILENT, idle_s=1.2)
    found = run(server, tmp_path, IDLE)
    assert "INTEROP-IDLE-SILENT" in blamed(found) or was_busy(found)
    assert not {f for cell in found.cells for f in cell.findings if f.result is Result.FAIL}


@pytest.mark.packet_socket
@pytest.mark.parametrize("idle_s", [1.2, 30.0])
def test_whoever_says_so_or_answers_is_not_blamed(tmp_path: Path, idle_s: float) -> None:
    """A machine that stands still at the expiry has our request meet it, and be lost."""
    found = run(SmallServer(idle_s=idle_s), tmp_path, IDLE)
    lost = {"INTEROP-DATA-LOST"} if idle_s < IDLE_LIMIT_S else set[str]()
    assert blamed(found) <= lost
    verdicts = {cell.verdict for cell in found.cells}
    assert verdicts <= {Verdict.PASS, Verdict.INCONCLUSIVE} or blamed(found)


@pytest.mark.root
@pytest.mark.packet_socket
def test_the_line_that_explain_recommends_fails_no_rule_of_tls(tmp_path: Path) -> None:
    line = "--sequence 'request; sleep 2s; send; drain 2s' --sequence 'request; send; drain'"
    steps = shlex.split(line)[1::2]
    found = run(SmallServer(when_idle=WhenIdle.FORGETS, idle_s=1.2), tmp_path, *steps)
    assert not {f for cell in found.cells for f in cell.findings if f.result is Result.FAIL}
    assert "INTEROP-IDLE-SILENT" in blamed(found)
