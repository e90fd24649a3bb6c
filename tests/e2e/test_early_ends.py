"""Servers that end the connection before our sequence has begun break no rule by it."""

from __future__ import annotations

import pytest
import trio

from tests.servers import GENEROUS_S
from tlsprobe.campaign.settings import Measured, Settings, Watcher
from tlsprobe.campaign.trials import measure
from tlsprobe.catalogue import catalogue
from tlsprobe.drive.script import Patience
from tlsprobe.model.judgement import Outcome, TlsEnd, Verdict
from tlsprobe.model.target import Login, Target
from tlsprobe.profiles import load_profile
from tlsprobe.protocols import make_conversation
from tlsprobe.reference.server import running

pytestmark = pytest.mark.root

SEQUENCES = ("close-notify-fin", "fin-before-request", "terminate", "idle-before-request")
TRIALS = 3


async def probe(server: str, profile_name: str) -> Measured:
    profile = load_profile(profile_name)
    async with running((server,)) as ports:
        target = Target(server, "127.0.0.1", ports[server], profile.name, profile.protocol)
        settings = Settings(
            trials=TRIALS,
            patience=Patience(server=GENEROUS_S, idle=GENEROUS_S, tail=0.05),
            capture="packet",
            require_capture=True,
        )
        return await measure(
            target,
            make_conversation(profile, target.host, Login(), target.port),
            [catalogue()[name].sequence for name in SEQUENCES],
            settings,
            Watcher(),
            trio.Event(),
        )


@pytest.mark.parametrize("profile", ["reference", "reference-http"])
def test_an_end_behind_the_handshake_is_no_answer(profile: str) -> None:
    """What races our first step may be an answer, and a clean one; it is never a broken rule."""
    measured = trio.run(probe, "premature", profile)
    for cell in measured.cells:
        assert cell.verdict in {Verdict.INCONCLUSIVE, Verdict.PASS, Verdict.INFO}, cell
        assert all(finding.result not in {"fail", "warn"} for finding in cell.findings), cell
    early = [t for t in measured.trials if t.judgement.outcome is Outcome.ENDED_BEFORE_START]
    assert early
    assert {t.judgement.axes.tls for t in early} == {TlsEnd.NOTIFIED}
