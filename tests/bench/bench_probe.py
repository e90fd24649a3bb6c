"""Trials a second, and CPU a trial, beside ``openssl s_time -new`` against the same nginx.

``make bench`` prints it; nothing is asserted. CPU is user plus system time: ours is the probe's
process (driver, judge, files) and its sniffer process together, s_time's is its own.
"""

from __future__ import annotations

import os
import re
import resource
import subprocess
import time
from pathlib import Path

import pytest
import trio

from tests.servers import Nginx
from tlsprobe.campaign.probe import measure
from tlsprobe.campaign.settings import Settings, Watcher
from tlsprobe.catalogue import catalogue
from tlsprobe.drive.script import Patience
from tlsprobe.model.run import JudgedTrial
from tlsprobe.model.target import Login, Target, TlsVersion
from tlsprobe.profiles import load_profile
from tlsprobe.protocols import make_conversation
from tlsprobe.report.document import encode_trial, trial_line

TRIALS = 3000
SECONDS = 5


def cpu() -> float:
    """CPU seconds of this process and of the children that it has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


async def campaign(server: Nginx, folder: Path, tls: TlsVersion) -> int:
    profile = load_profile("nginx")
    target = Target("nginx", "127.0.0.1", server.port, profile.name, profile.protocol)
    converse = make_conversation(profile, target.host, Login(), target.port)
    settings = Settings(
        trials=TRIALS,
        concurrency=16,
        tls=(tls,),
        patience=Patience(5.0, 5.0, 0.02),
        pcapng=folder / f"capture-{tls}.pcapng",
    )
    sequences = [catalogue()["close-notify-fin"].sequence]
    with (folder / f"trials-{tls}.jsonl").open("ab", buffering=0) as file:

        def judged(trial: JudgedTrial) -> None:
            file.write(encode_trial(trial_line(trial)))

        measured = await measure(
            target, converse, sequences, settings, Watcher(judged=judged), trio.Event()
        )
    assert measured.capture.dropped == 0
    return measured.cells[0].trials


def s_time(port: int, tls: str) -> tuple[int, float]:
    """Connections that ``openssl s_time -new`` made, and its CPU seconds."""
    flag = {"1.2": "-tls1_2", "1.3": "-tls1_3"}[tls]
    command = ["openssl", "s_time", "-new", "-connect", f"127.0.0.1:{port}", "-www", "/"]
    before = cpu()
    said = subprocess.run(
        [*command, flag, "-time", str(SECONDS)], capture_output=True, text=True, check=True
    ).stdout
    found = re.search(r"(\d+) connections in [\d.]+ real seconds", said)
    assert found is not None, said
    return int(found[1]), cpu() - before


@pytest.mark.packet_socket
@pytest.mark.server("nginx", "openssl")
def test_probe_beside_s_time(
    nginx: Nginx, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [f"{os.cpu_count()} CPUs, close-notify-fin at concurrency 16, {TRIALS} trials"]
    for tls in TlsVersion:
        theirs, their_cpu = s_time(nginx.port, tls)
        used, begun = cpu(), time.perf_counter()
        count = trio.run(campaign, nginx, tmp_path, tls)
        took, used = time.perf_counter() - begun, cpu() - used
        ours, yardstick = 1000 * used / count, 1000 * their_cpu / theirs
        lines += [
            f"TLS {tls}: tlsprobe {count / took:5.0f}/s, {ours:.2f} ms CPU a trial;"
            f" s_time {theirs / SECONDS:5.0f}/s, {yardstick:.2f} ms CPU a connection;"
            f" ratio {ours / yardstick:.2f}",
        ]
    with capsys.disabled():
        print("\n" + "\n".join(lines))
