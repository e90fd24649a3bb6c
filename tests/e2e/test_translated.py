"""NAT on this machine in front of the server: the connections are seen where it takes them.

A rule gives packets other addresses behind our socket. On loopback one direction alone had the
addresses that were captured, and every cell was inconclusive.
"""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap

import pytest

from tests.servers import GENEROUS_S

pytestmark = [
    pytest.mark.root,
    pytest.mark.packet_socket,
    pytest.mark.server("unshare", "ip", "nft"),
]

RULES = """
add table ip n
add chain ip n out {{ type nat hook output priority -100 ; }}
add rule ip n out ip daddr 127.0.0.1 tcp dport {port} {to}
"""

CAMPAIGN = """
    import json, subprocess
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

    FRONT = 7443

    async def main():
        profile = load_profile("reference")
        settings = Settings(
            patience=Patience(5.0, 5.0, 0.05), capture="packet", require_capture=True,
            tls=(TlsVersion.TLS13,), trials=4,
        )
        async with running(SERVERS) as ports:
            real = tuple(ports.values())
            to = TO.format(*real)
            subprocess.run(["nft", RULES.format(port=FRONT, to=to)], check=True)
            target = Target("t", "127.0.0.1", FRONT, "reference", profile.protocol)
            converse = make_conversation(profile, target.host, Login(), target.port)
            sequences = [parse("request; close_notify; fin; drain", "orderly")]
            measured = await measure(
                target, converse, sequences, settings, Watcher(), trio.Event()
            )
        return measured, real

    raise_loopback()
    measured, real = trio.run(main)
    judgements = [trial.judgement for trial in measured.trials]
    print(json.dumps({
        "signatures": [j.signature for j in judgements],
        "conclusive": [j.conclusive for j in judgements],
        "notes": measured.notes,
        "ports": real,
    }))
"""


def probed(servers: tuple[str, ...], to: str) -> dict[str, list[object]]:
    """What came of it where connections to a port are taken ``to`` these built-in servers."""
    values = (("SERVERS", servers), ("TO", to), ("RULES", RULES))
    code = textwrap.dedent(CAMPAIGN)
    for name, value in values:
        code = code.replace(name, repr(value))
    command = ["unshare", "--net", "--", sys.executable, "-W", "error", "-c", code]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=GENEROUS_S)
    assert ran.returncode == 0, ran.stderr
    found: dict[str, list[object]] = json.loads(ran.stdout)
    return found


def test_a_redirected_connection_is_seen_whole_and_where_it_went_is_told() -> None:
    found = probed(("polite",), "redirect to :{}")
    assert len(found["conclusive"]) == 4
    assert all(found["conclusive"])
    assert all(str(signature).startswith("N") for signature in found["signatures"])
    assert any(f"127.0.0.1:{found['ports'][0]}" in str(note) for note in found["notes"])
    assert not any("by turns" in str(note) for note in found["notes"])


def test_that_several_servers_answer_by_turns_is_told() -> None:
    to = "dnat to 127.0.0.1 : numgen inc mod 2 map {{ 0 : {}, 1 : {} }}"
    found = probed(("polite", "lingering"), to)
    assert all(found["conclusive"])
    told = next(str(note) for note in found["notes"] if "by turns" in str(note))
    assert all(f"127.0.0.1:{port}" in told for port in found["ports"])
