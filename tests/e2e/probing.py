"""Runs tlsprobe as a user does, and reads what it wrote.

How a connection ends may depend on who is quicker, and a busy machine is slow: it may stop us for
seconds between two steps. tlsprobe drives such trials again, and of those that stay spoiled it says
so. What it promises holds for the others, so tests ask about the trials that were ``timely``.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tests.prepared import run_tlsprobe
from tests.servers import GENEROUS_S
from tlsprobe.facts.file import FACTS_FILE, RecordedFacts
from tlsprobe.model.facts import TrialFact
from tlsprobe.model.judgement import Doubt, Outcome, Reader, Result
from tlsprobe.model.load import Load
from tlsprobe.model.run import Cell, Run, TrialLine
from tlsprobe.model.trace import Side
from tlsprobe.report.document import decode_run, read_run, read_trials

PATIENCE = GENEROUS_S * 5
"""Seconds that a whole command may take: a campaign on a busy machine is no hang."""


SPOILED = frozenset(
    {
        *(Doubt.LATE, Doubt.BUSY, Doubt.OVERTAKEN, Doubt.ENDED_EARLY, Doubt.NOT_REACHED),
        Doubt.WITH_RESPONSE,
    }
)
"""What may be said of a trial because the machine was slow: how it came out is no promise."""

SLOW_US, STALLED_NS = 1000.0, 5_000_000
"""Lateness of a step in microseconds, and a wait of ours, that a quiet machine does not know."""

MEANWHILE_NS = 1_000_000_000
"""A machine that was slow so shortly before or after a trial was slow for it."""


class Driven(NamedTuple):
    """A trial with when it began and ended, by the real-time clock, and what else went on."""

    line: TrialLine
    begun_ns: int
    ended_ns: int
    load: Load | None

    def overlaps(self, other: Driven) -> bool:
        """Whether both were driven at the same time, or all but."""
        begun, ended = other.begun_ns - MEANWHILE_NS, other.ended_ns + MEANWHILE_NS
        return self.begun_ns <= ended and self.ended_ns >= begun


@dataclass(frozen=True, slots=True)
class Ran:
    """A finished command: exit code, both outputs, and the folder it was told to write."""

    code: int
    out: str
    err: str
    folder: Path

    @property
    def run(self) -> Run:
        """The run document in the folder."""
        return read_run(self.folder)

    @property
    def printed(self) -> Run:
        """The run document on standard output (``--json``)."""
        return decode_run(self.out.encode(), Path("standard output"))

    @property
    def trials(self) -> list[TrialLine]:
        """The trial lines."""
        return list(read_trials(self.folder))

    def cell(self, sequence: str, tls: str = "1.3") -> Cell:
        """One cell of the matrix."""
        (found,) = (c for c in self.run.cells if (c.sequence, c.tls) == (sequence, tls))
        return found

    @property
    def asked(self) -> list[Cell]:
        """The cells that were asked for, without the controls that were added to them."""
        return [cell for cell in self.run.cells if cell.role == "asked"]

    def timely(self, sequence: str, tls: str = "1.3") -> list[TrialLine]:
        """The trials of a cell, but for those that came out of time.

        That any did is a failure of its own, unless the machine was slow while it was driven.
        """
        lines = [line for line in self.trials if (line.sequence, line.tls) == (sequence, tls)]
        assert len(lines) == self.cell(sequence, tls).trials
        spoiled = [line for line in lines if line.doubt in SPOILED]
        unexplained = [line for line in spoiled if not self.was_slow_for(line)]
        assert not unexplained, unexplained
        return [line for line in lines if line.doubt not in SPOILED]

    def was_slow_for(self, line: TrialLine) -> bool:
        """Whether it, or another trial at the same time, shows that the machine was slow.

        A server that was stopped shows in whatever else was driven meanwhile.
        """
        driven = self._driven()
        own = driven.get((line.sequence, line.tls, line.trial))
        meanwhile = [one for one in driven.values() if own and one.overlaps(own)]
        timings = (one.line.timing_us for one in meanwhile)
        return was_slow(timings, (one.load for one in meanwhile))

    def _driven(self) -> dict[tuple[str, str, int], Driven]:
        """Every trial with when it was driven and under which load; of a repeated one the last."""
        facts = RecordedFacts(self.folder / FACTS_FILE).read()
        last = {f.trial: f for f in facts if isinstance(f, TrialFact) and f.trace.drive.events}
        lines = {(line.sequence, line.tls, line.trial): line for line in self.trials}
        found = {}
        for trial, fact in last.items():
            key = trial.sequence, trial.tls, trial.index
            times = [event.time_ns for event in fact.trace.drive.events]
            found[key] = Driven(lines[key], times[0], times[-1], fact.load)
        return found

    @property
    def slow(self) -> bool:
        """Whether the run shows that the machine was slow at any time."""
        facts = RecordedFacts(self.folder / FACTS_FILE).read()
        loads = [fact.load for fact in facts if isinstance(fact, TrialFact)]
        return was_slow((line.timing_us for line in self.trials), loads)

    @property
    def all_timely(self) -> list[TrialLine]:
        """Those of every cell that was asked for."""
        return [line for c in self.asked for line in self.timely(c.sequence, c.tls)]

    def outcomes(self, sequence: str, tls: str = "1.3") -> Counter[Outcome]:
        """How the timely trials of a cell came out."""
        return Counter(line.outcome for line in self.timely(sequence, tls))


def was_slow(timings: Iterable[Mapping[str, float]], loads: Iterable[Load | None]) -> bool:
    """Whether some step of a run was late, or we had to wait, for a processor or for our turn."""
    late = (timing.get(name, 0.0) for timing in timings for name in ("step_late", "spoiled_by"))
    waits = (max(load.lag_ns, load.stalled_ns) for load in loads if load is not None)
    return max(late, default=0.0) > SLOW_US or max(waits, default=0) > STALLED_NS


def causes_in(lines: Iterable[TrialLine]) -> Counter[str]:
    """In how many trials the server reset for what cause."""
    told = ({reset.cause for reset in line.resets if reset.side is Side.SERVER} for line in lines)
    return Counter(str(cause) for causes in told for cause in causes)


def fell_as_they_are_told(lines: Iterable[TrialLine]) -> None:
    """Holds what drew each trial's RST against the side of the server's FIN on which it fell.

    A server that closes at once may be stopped just before it does, and then leaves unread what it
    would have met already closed. Either is true, each with its own cause.
    """
    for line in lines:
        (first, *_) = [reset for reset in line.resets if reset.side is Side.SERVER]
        expected = "unread-data-at-close" if first.before_fin else "data-after-close"
        assert first.cause == expected, line
        assert line.outcome == ("reset-before-fin" if first.before_fin else "reset-after-fin")
        assert line.axes.reader is (Reader.RESET if first.before_fin else Reader.EOF)


def results_in(lines: Iterable[TrialLine], rule: str) -> Counter[Result | None]:
    """In how many trials a rule says what; None where it says nothing."""
    return Counter(
        next((found.result for found in line.findings if found.rule == rule), None)
        for line in lines
    )


def tlsprobe(*words: str, cwd: Path, env: dict[str, str] | None = None) -> Ran:
    """``tlsprobe WORDS`` with ``cwd/out`` as its results folder."""
    told = {**os.environ, "NO_COLOR": "1", **(env or {})}
    return Ran(*run_tlsprobe(words, cwd=cwd, env=told, timeout=PATIENCE), cwd / "out")


def probe(target: str, *words: str, cwd: Path, env: dict[str, str] | None = None) -> Ran:
    """``tlsprobe run`` against one target, with a capture or not at all."""
    asked = ("run", "--target", target, "--out", str(cwd / "out"), "--require-capture")
    return tlsprobe(*asked, *words, cwd=cwd, env=env)


def at(host: str, port: int) -> str:
    """HOST:PORT as the command line wants it."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
