"""A box between client and server that resets in the name of either: nobody else is blamed for it.

It copies all that a header shows, so that the packets alone say that the end did it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.probing import Ran, probe, tlsprobe
from tests.forger import HOST, Forger, Shape, an_address, forging
from tests.patient_servers import patient_servers
from tlsprobe.judge.rules import RULES
from tlsprobe.model.causes import Cause
from tlsprobe.model.judgement import Confidence, Level, Outcome, Reset, Result, Verdict
from tlsprobe.model.trace import Side

pytestmark = [pytest.mark.root, pytest.mark.packet_socket]

QUIET_S = 0.4
ASKED = ("--profile", "reference", "--trials", "3", "--patience", "3")
WAITS = "await end; close_notify; drain"
SPEAKS = "sleep 1s; send; drain"


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with an_address(), patient_servers("polite", host=HOST) as ports:
        yield ports["polite"]


def ran_with(forger: Forger, sequence: str, cwd: Path) -> Ran:
    with forging(forger):
        ran = probe(f"{HOST}:{forger.port}", *ASKED, "--sequence", sequence, cwd=cwd)
    assert forger.made, ran.err
    return ran


def surely(resets: list[Reset]) -> set[Cause]:
    """The causes of which there is no doubt: a box may give itself away."""
    return {reset.cause for reset in resets if reset.confidence is Confidence.HIGH}


def broken(ran: Ran) -> set[str]:
    """Rules about the server that it is said to have broken."""
    bad = {Result.FAIL, Result.WARN}
    found = {f.rule for cell in ran.run.cells for f in cell.findings if f.result in bad}
    return {rule for rule in found if RULES[rule].of_server}


@pytest.mark.parametrize("both", [False, True], ids=["one end", "both ends"])
@pytest.mark.parametrize("shape", list(Shape))
def test_a_server_in_whose_name_a_box_resets(
    shape: Shape, both: bool, port: int, tmp_path: Path
) -> None:
    ran = ran_with(Forger(port, QUIET_S, both=both, shape=shape), WAITS, tmp_path)
    resets = [r for line in ran.trials for r in line.resets if r.side is Side.SERVER]
    assert resets
    assert surely(resets) <= {Cause.MIDDLEBOX}
    assert all(RULES[rule].level is Level.INTEROP for rule in broken(ran))
    assert Verdict.FAIL not in {cell.verdict for cell in ran.run.cells}
    assert blamed(explained(ran, tmp_path), "server") <= {Cause.MIDDLEBOX}


@pytest.mark.parametrize("shape", list(Shape))
def test_a_client_in_whose_name_a_box_resets(shape: Shape, port: int, tmp_path: Path) -> None:
    ran = ran_with(Forger(port, QUIET_S, of_server=False, shape=shape), SPEAKS, tmp_path)
    ours = [r for line in ran.trials for r in line.resets if r.side is Side.CLIENT]
    assert ours
    assert surely(ours) <= {Cause.MIDDLEBOX}
    assert Outcome.CLEAN not in {line.outcome for line in ran.trials}
    assert broken(ran) == set()
    assert blamed(explained(ran, tmp_path), "client") <= {Cause.MIDDLEBOX}


def explained(ran: Ran, cwd: Path) -> list[dict[str, object]]:
    """The resets that ``explain`` finds in the capture of a run."""
    told = tlsprobe("explain", str(ran.folder / "capture.pcapng"), "--json", cwd=cwd)
    connections = json.loads(told.out)["flows"]
    return [reset for one in connections for reset in one["resets"]]


def blamed(resets: list[dict[str, object]], side: str) -> set[object]:
    """The causes of one side's RSTs of which there is no doubt."""
    found = [r for r in resets if r["side"] == side and r["before_fin"]]
    assert found
    return {r["cause"] for r in found if r["confidence"] == Confidence.HIGH}
