"""Built-in servers at length: nothing is lost or leaked."""

from __future__ import annotations

import socket
from collections import Counter
from pathlib import Path

import pytest
import trio

from tests.e2e.probing import SPOILED, Ran, probe
from tlsprobe.campaign.settings import Settings, Watcher
from tlsprobe.campaign.trials import measure
from tlsprobe.catalogue import catalogue
from tlsprobe.drive.script import Patience
from tlsprobe.model.judgement import Outcome
from tlsprobe.model.run import JudgedTrial
from tlsprobe.model.target import Login, Target
from tlsprobe.profiles import load_profile
from tlsprobe.protocols import make_conversation
from tlsprobe.reference.server import running

pytestmark = [pytest.mark.packet_socket, pytest.mark.alone]


async def campaign(
    server: str, settings: Settings, sequences: tuple[str, ...]
) -> tuple[list[JudgedTrial], int]:
    """Probe a reference server in this process; the trials, and how many packets were lost."""
    judged: list[JudgedTrial] = []
    profile = load_profile("reference")
    async with running((server,)) as ports:
        target = Target(server, "127.0.0.1", ports[server], profile.name, profile.protocol)
        converse = make_conversation(profile, target.host, Login(), target.port)
        chosen = [catalogue()[name].sequence for name in sequences]
        watcher = Watcher(judged=judged.append)
        measured = await measure(target, converse, chosen, settings, watcher, trio.Event())
    assert measured.capture.dropped is not None
    return judged, measured.capture.dropped


def test_two_thousand_trials_lose_and_leak_nothing() -> None:
    before = descriptors()
    settings = Settings(trials=1000, concurrency=16, patience=Patience(5.0, 5.0, 0.02))
    driven, dropped = trio.run(campaign, "polite", settings, ("close-notify-fin",))
    assert descriptors() == before
    assert dropped == 0
    judged = {one.trial: one for one in driven}.values()  # of what was driven again, the later one
    assert len(judged) == 2000
    timely = [trial for trial in judged if trial.judgement.doubt not in SPOILED]
    assert len(timely) > 1000
    assert all(trial.judgement.conclusive for trial in timely)
    assert all(sees_itself(trial) for trial in timely)
    # A server that is stopped for seconds waits no longer for what has come meanwhile, and resets.
    outcomes = Counter(trial.judgement.outcome for trial in timely)
    assert set(outcomes) <= {Outcome.CLEAN, Outcome.RESET_AFTER_FIN}
    assert outcomes[Outcome.CLEAN] > 0.9 * len(timely)


def sees_itself(trial: JudgedTrial) -> bool:
    """Driver and capture agree about this very connection."""
    results = {result.rule: result.result.value for result in trial.judgement.results}
    return results.get("SELF-NOTIFY") == "pass"


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_ipv6_is_reached_by_name_in_brackets(tmp_path: Path) -> None:
    async def probed() -> Ran:
        async with running(("rude",)) as ports:
            words = ("--profile", "reference", "--sequence", "terminate-close-notify")

            def run() -> Ran:
                return probe(f"[::1]:{ports['rude']}", *words, cwd=tmp_path)

            return await trio.to_thread.run_sync(run)

    if not socket.has_ipv6:
        pytest.skip("this Python has no IPv6")
    ran = trio.run(probed)
    assert set(ran.outcomes("terminate-close-notify")) <= {"reset-before-fin"}
