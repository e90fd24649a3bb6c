"""Every capture of the corpus explained, and each cause held against the kernel's own reason.

ARCHITECTURE.md, "Reading an RST": `high` is a promise, and the kernel says whether it was kept.
"""

from __future__ import annotations

import io
import json
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from tlsprobe.captures.reader import open_capture_file
from tlsprobe.explain import Filter, explain
from tlsprobe.lab.kernel_reasons import agrees
from tlsprobe.model.causes import Cause
from tlsprobe.model.explanation import ExplainedFlow, ExplainedReset, Explanation
from tlsprobe.model.judgement import Confidence
from tlsprobe.model.kernel import KernelReset
from tlsprobe.model.trace import Side

CORPUS = Path(__file__).parents[1] / "data/corpus"
CAPTURES = sorted(CORPUS.glob("*.pcapng"))
CLOSE_NS = 50_000_000

pytestmark = pytest.mark.skipif(not CAPTURES, reason="make it with tests/data/make_corpus.py")


@dataclass(frozen=True)
class Witnessed:
    """An RST as it was explained, and as the kernel told it; None: no kernel sent it."""

    flow: ExplainedFlow
    told: ExplainedReset
    kernel: KernelReset | None

    @property
    def agrees(self) -> bool:
        """Whether the kernel's reason allows the cause."""
        if self.kernel is None:
            return self.told.reset.cause is Cause.MIDDLEBOX
        return agrees(self.told.reset.cause, self.kernel.reason, self.kernel.state)

    @property
    def is_open_to_it(self) -> bool:
        """Whether the cause, or an alternative that is named, is what the kernel says."""
        if self.kernel is None:
            return self.agrees
        causes = (self.told.reset.cause, *self.told.reset.alternatives)
        return any(agrees(cause, self.kernel.reason, self.kernel.state) for cause in causes)


@cache
def explained(path: Path) -> Explanation:
    reading = open_capture_file(path)
    try:
        return explain(reading, Filter(quiet=True))
    finally:
        reading.close()


def truth(path: Path) -> list[KernelReset]:
    told = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))["resets"]
    return [
        KernelReset(r["time_ns"], tuple(r["src"]), tuple(r["dst"]), r["state"], r["reason"])
        for r in told
    ]


def endpoint(printed: str) -> tuple[str, int]:
    host, _, port = printed.rpartition(":")
    return host.strip("[]"), int(port)


def witnessed(path: Path) -> list[Witnessed]:
    """Every RST of the capture with the kernel's word for it."""
    found = held_against(explained(path), truth(path))
    assert sum(one.kernel is not None for one in found) == len(truth(path)), "not all were found"
    return found


def held_against(explanation: Explanation, left: list[KernelReset]) -> list[Witnessed]:
    """Every RST that was explained with the kernel's word for it, the nearest in time of its flow.

    What is taken goes from the list.
    """
    found: list[Witnessed] = []
    for flow in explanation.flows:
        client, server = endpoint(flow.client), endpoint(flow.server)
        for told in flow.resets:
            reset = told.reset
            sender = server if reset.side is Side.SERVER else client
            fits = [k for k in left if k.belongs_to(client, server) and k.sent_by(sender)]
            fits.sort(key=lambda k: abs(k.time_ns - reset.time_ns))
            kernel = fits[0] if fits and abs(fits[0].time_ns - reset.time_ns) < CLOSE_NS else None
            if kernel is not None:
                left.remove(kernel)
            found.append(Witnessed(flow, told, kernel))
    return found


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.stem)
def test_every_cause_agrees_with_the_kernel_at_the_confidence_claimed(path: Path) -> None:
    for one in witnessed(path):
        assert one.is_open_to_it, one
        if one.told.reset.confidence is Confidence.HIGH:
            assert one.agrees, one


WITHOUT_TEXT = (
    *("keepalive", "forged", "data-after-close-with-the-fin-unsent"),
    "client-renamed-on-the-way",
)
"""Told by TTL, IP ID, absolute numbers or what else is not printed."""


@pytest.mark.server("tcpdump")
@pytest.mark.parametrize("words", [("-n",), ("-nn", "-S"), ("-n", "-v", "-tttt"), ("-n", "-t")])
def test_what_tcpdump_prints_has_the_same_causes(words: tuple[str, ...]) -> None:
    for path in CAPTURES:
        if path.stem.startswith(WITHOUT_TEXT):
            continue
        command = ["tcpdump", *words, "-r", str(path)]
        printed = subprocess.run(command, capture_output=True, check=True).stdout
        with open_capture_file(io.BytesIO(printed)) as reading:
            from_text = causes(explain(reading))
        whole = causes(explained(path))
        # An abort that nothing explains may be a box's, and a text explains less.
        left = {key: found | {Cause.MIDDLEBOX} for key, found in whole.items()}
        whole = {k: left[k] if from_text.get(k) == left[k] else whole[k] for k in whole}
        assert from_text == whole, path.stem


def causes(explanation: Explanation) -> dict[tuple[str, int], frozenset[Cause]]:
    """The cause of each RST with what is left open: of an alert at the end text knows the place."""
    return {
        (flow.client, told.reset.packet): frozenset((told.reset.cause, *told.reset.alternatives))
        for flow in explanation.flows
        for told in flow.resets
    }


def test_the_corpus_holds_every_row() -> None:
    """But for orphans under memory pressure, which nothing here provokes."""
    told = [k for path in CAPTURES for k in truth(path)]
    assert {k.reason for k in told} >= {
        "NO_SOCKET",
        "TCP_ABORT_ON_CLOSE",
        "TCP_ABORT_ON_DATA",
        "TCP_ABORT_ON_LINGER",
        "TCP_DISCONNECT_WITH_DATA",
        "TCP_FLAGS",
        "TCP_KEEPALIVE_TIMEOUT",
        "TCP_STATE",
        "TCP_TIMEWAIT_SOCKET",
    }
    found = {
        told.reset.cause for path in CAPTURES for f in explained(path).flows for told in f.resets
    }
    assert found >= set(Cause) - {Cause.UNKNOWN}
    assert {path.stem[-1] for path in CAPTURES} == {"4", "6"}
    assert all(path.stat().st_size < 20_000 for path in CAPTURES)
