"""A campaign in a network of its own with a dozen client ports, each freed by an RST at once.

Judged by the port alone, a quarter of these trials had another connection's packets.
"""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap

import pytest

from tests.servers import GENEROUS_S

pytestmark = pytest.mark.root

TRIALS = 100

CAMPAIGN = """
    import json
    from collections import Counter
    from pathlib import Path

    import trio

    from tlsprobe.campaign.settings import Settings, Watcher
    from tlsprobe.campaign.trials import measure
    from tlsprobe.drive.script import Patience
    from tlsprobe.lab.own_namespace import raise_loopback
    from tlsprobe.language import parse
    from tlsprobe.model.target import Login, Target, TlsVersion
    from tlsprobe.profiles import load_profile
    from tlsprobe.protocols import make_conversation
    from tlsprobe.reference.server import running

    async def main(trials):
        profile = load_profile("reference")
        settings = Settings(
            patience=Patience(5.0, 5.0, 0.01), capture="packet", require_capture=True,
            tls=(TlsVersion.TLS13,), trials=trials, concurrency=4,
        )
        async with running(("polite",)) as ports:
            target = Target("polite", "127.0.0.1", ports["polite"], "reference", profile.protocol)
            converse = make_conversation(profile, target.host, Login(), target.port)
            sequences = [parse("request; abort", "aborting")]
            return await measure(
                target, converse, sequences, settings, Watcher(), trio.Event()
            )

    raise_loopback()
    Path("/proc/sys/net/ipv4/ip_local_port_range").write_text("40000 40011")
    measured = trio.run(main, TRIALS)
    judgements = [trial.judgement for trial in measured.trials]
    print(json.dumps({
        "signatures": Counter(j.signature for j in judgements),
        "conclusive": sum(j.conclusive for j in judgements),
    }))
"""


@pytest.mark.server("unshare")
def test_no_trial_is_judged_with_the_packets_of_another() -> None:
    code = textwrap.dedent(CAMPAIGN).replace("TRIALS", str(TRIALS))
    command = ["unshare", "--net", "--", sys.executable, "-W", "error", "-c", code]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=GENEROUS_S)
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    # Where our abort comes late, the server's idle timer has ended its side before.
    assert found["signatures"].keys() <= {"R", "n f R", "nf R"}
    assert sum(found["signatures"].values()) == found["conclusive"] == TRIALS
