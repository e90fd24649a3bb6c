"""CPU per trial, beside ``openssl s_time -new`` against the same nginx.

``make bench`` prints it; nothing is asserted. CPU is user plus system time: ours is the probe's
process (driver, judge, files) and its sniffer process, s_time's is its own. Ours and theirs take
turns, and the least of several rounds counts: other work on the machine only ever adds to it. A
busy machine also has trials driven once more: what was driven is counted, not what was asked for.
What a run costs once (the sniffer's start, the preflight) is told apart, by runs of few trials.
Last of all one more round is sampled, which says what ours is made of.

Of the time that s_time takes, some goes into looking for the server's CA in the system's folder of
certificates, once per connection; tlsprobe verifies nothing unless told to.
"""

from __future__ import annotations

import gc
import os
import re
import resource
import subprocess
from collections import Counter
from contextlib import closing
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import NamedTuple

import pytest
import trio

from tests.bench.processor import cpu
from tests.bench.sampling import sampled
from tests.servers import Nginx
from tlsprobe.campaign.circumstances import TOOL
from tlsprobe.campaign.garbage import COLLECT_EVERY
from tlsprobe.campaign.settings import Settings, Watcher
from tlsprobe.campaign.trials import measure
from tlsprobe.catalogue import catalogue
from tlsprobe.drive.script import Patience
from tlsprobe.facts.file import FactsFile
from tlsprobe.model.facts import FactsHeader
from tlsprobe.model.run import JudgedTrial, stamp
from tlsprobe.model.target import Login, Target, TlsVersion
from tlsprobe.profiles import load_profile
from tlsprobe.protocols import make_conversation
from tlsprobe.report.document import encode_trial, trial_line

TRIALS, FEW = 1000, 20
ROUNDS = 5
SECONDS = 2


async def campaign(server: Nginx, folder: Path, tls: TlsVersion, trials: int) -> int:
    """How many trials were driven."""
    profile = load_profile("nginx")
    target = Target("nginx", "127.0.0.1", server.port, profile.name, profile.protocol)
    converse = make_conversation(profile, target.host, Login(), target.port)
    settings = Settings(
        trials=trials,
        concurrency=16,
        tls=(tls,),
        patience=Patience(5.0, 5.0, 0.02),
        pcapng=folder / f"capture-{tls}.pcapng",
    )
    sequences = [catalogue()["close-notify-fin"].sequence]
    header = FactsHeader(TOOL, target, stamp(datetime.now(UTC)))
    driven = 0
    with (
        (folder / f"trials-{tls}.jsonl").open("ab", buffering=0) as file,
        closing(FactsFile.create(folder / f"facts-{tls}.jsonl.gz", header)) as facts,
    ):

        def judged(trial: JudgedTrial) -> None:
            nonlocal driven
            driven += 1
            file.write(encode_trial(trial_line(trial)))

        measured = await measure(
            target, converse, sequences, settings, Watcher(judged=judged), trio.Event(), facts
        )
    assert measured.capture.dropped == 0
    return driven


class Cost(NamedTuple):
    """CPU milliseconds of so many trials: of the probe's process, and of its sniffer."""

    probe: float
    sniffer: float
    trials: int

    @property
    def each(self) -> float:
        """Per trial, with its part of what a run costs once."""
        return (self.probe + self.sniffer) / self.trials


def ours(server: Nginx, folder: Path, tls: TlsVersion, trials: int = TRIALS) -> Cost:
    probe, sniffer = cpu(resource.RUSAGE_SELF), cpu(resource.RUSAGE_CHILDREN)
    count = trio.run(campaign, server, folder, tls, trials)
    probe, sniffer = cpu(resource.RUSAGE_SELF) - probe, cpu(resource.RUSAGE_CHILDREN) - sniffer
    return Cost(1000 * probe, 1000 * sniffer, count)


def beyond(many: Cost, few: Cost) -> Cost:
    """What the trials cost by which the one run was longer than the other."""
    probe, sniffer, trials = (more - less for more, less in zip(many, few, strict=True))
    return Cost(probe, sniffer, int(trials))


def theirs(port: int, tls: str) -> float:
    """CPU milliseconds per connection that ``openssl s_time -new`` makes."""
    flag = {"1.2": "-tls1_2", "1.3": "-tls1_3"}[tls]
    command = ["openssl", "s_time", "-new", "-connect", f"127.0.0.1:{port}", "-www", "/"]
    before = cpu()
    said = subprocess.run(
        [*command, flag, "-time", str(SECONDS)], capture_output=True, text=True, check=True
    ).stdout
    found = re.search(r"(\d+) connections in [\d.]+ real seconds", said)
    assert found is not None, said
    return 1000 * (cpu() - before) / int(found[1])


def parts(counts: Counter[str], milliseconds: float) -> str:
    """``tls 0.51, trio 0.30, ...``: how the probe's own CPU divides up."""
    whole = sum(counts.values())
    shares = ((place, milliseconds * count / whole) for place, count in counts.most_common())
    return ", ".join(f"{place} {share:.2f}" for place, share in shares if share >= 0.01)


@pytest.mark.root
@pytest.mark.server("nginx", "openssl")
def test_probe_beside_s_time(
    nginx: Nginx,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)  # installed, all is compiled
    gc.set_threshold(COLLECT_EVERY)
    costs: dict[TlsVersion, list[Cost]] = {tls: [] for tls in TlsVersion}
    starts: dict[TlsVersion, list[Cost]] = {tls: [] for tls in TlsVersion}
    yardsticks: dict[TlsVersion, list[float]] = {tls: [] for tls in TlsVersion}
    for _, tls in product(range(ROUNDS), TlsVersion):
        yardsticks[tls].append(theirs(nginx.port, tls))
        starts[tls].append(ours(nginx, tmp_path, tls, FEW))
        costs[tls].append(ours(nginx, tmp_path, tls))
    lines = [
        f"{os.cpu_count()} CPUs, close-notify-fin at concurrency 16;"
        f" the least of {ROUNDS} rounds of {TRIALS} trials, in ms of CPU"
    ]
    for tls in TlsVersion:
        many, few = min(costs[tls], key=lambda c: c.each), min(starts[tls], key=lambda c: c.each)
        least, yardstick = beyond(many, few), min(yardsticks[tls])
        with sampled() as counts:
            ours(nginx, tmp_path, tls)
        lines += [
            f"TLS {tls}: tlsprobe {many.each:.2f} per trial, s_time {yardstick:.2f} per"
            f" connection: {many.each / yardstick:.2f} times as much",
            f"  without what a run costs once: {least.each:.2f},"
            f" {least.each / yardstick:.2f} times as much",
            f"  sniffer {least.sniffer / least.trials:.2f},"
            f" {parts(counts, least.probe / least.trials)}",
        ]
    with capsys.disabled():
        print("\n" + "\n".join(lines))
