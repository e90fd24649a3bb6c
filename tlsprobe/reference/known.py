"""What the demo must find out about each of its servers, for tlsprobe to trust itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tlsprobe.model.judgement import NO_ANSWER, Outcome, Result
from tlsprobe.model.run import Cell, Run

_BROKEN = {Result.FAIL, Result.WARN, Result.ERROR}
_OURS = frozenset({Outcome.CLIENT_RESET})
"""What any server shows where the sequence aborts."""


@dataclass(frozen=True, slots=True)
class Known:
    """What the closes of the demo bring to light of a server, all of it and nothing else.

    Some trial shows each of the outcomes ``shows``, and the others show one of these or ``also``;
    ``breaks`` are the rules that some trial breaks.
    """

    shows: frozenset[Outcome]
    breaks: frozenset[str] = frozenset()
    also: frozenset[Outcome] = frozenset()


def _known(*shows: Outcome, breaks: tuple[str, ...] = (), also: tuple[Outcome, ...] = ()) -> Known:
    return Known(frozenset(shows), frozenset(breaks), frozenset(also))


_NOTIFY = ("TLS12-NOTIFY", "TLS12-ANSWER", "TLS13-NOTIFY")
_RESETS = ("INTEROP-RESET-BEFORE-FIN",)
_RACES = (Outcome.CLEAN, Outcome.RESET_AFTER_FIN)

KNOWN = {
    "polite": _known(Outcome.CLEAN),
    "silent": _known(Outcome.NO_CLOSE_NOTIFY, breaks=_NOTIFY),
    "hasty": _known(Outcome.RESET_BEFORE_FIN, breaks=_RESETS, also=_RACES),
    "rude": _known(Outcome.RESET_BEFORE_FIN, breaks=_RESETS, also=_RACES),
    "aborting": _known(Outcome.RESET_BEFORE_FIN, breaks=(*_NOTIFY, *_RESETS)),
    "lingering": _known(Outcome.CLEAN),
    "mute": _known(Outcome.OPEN, breaks=("TLS12-ANSWER", "INTEROP-LEAK")),
    "truncating": _known(Outcome.DATA_LOST, breaks=("INTEROP-DATA-LOST",)),
    "half-closing": _known(Outcome.RESET_AFTER_FIN, also=(Outcome.CLEAN,)),
}
"""By server; the demo says nothing about others."""


def differences(run: Run) -> tuple[str, ...]:
    """How a run of the demo differs from what is known of its server, in sentences.

    Cells without an answer say nothing for or against it, nor do trials that came out of time.
    """
    known = KNOWN.get(run.target.name)
    return () if known is None else tuple(_differences(known, run))


def _differences(known: Known, run: Run) -> Iterator[str]:
    asked = [cell for cell in run.cells if cell.role == "asked"]
    cells = [cell for cell in asked if cell.verdict not in NO_ANSWER]
    outcomes = {Outcome(outcome) for cell in cells for outcome in cell.outcomes}
    certain = {outcome for cell in cells for outcome in _certain(cell)}
    broken = {rule for cell in cells for rule in _broken(cell)}
    broken |= {f.rule for cell in asked for f in cell.findings if f.result is Result.ERROR}
    for what, missing, extra in (
        ("outcome", known.shows - outcomes, certain - known.shows - known.also - _OURS),
        ("broken rule", known.breaks - broken, broken - known.breaks),
    ):
        if missing:
            yield f"{what} not found: {_list(missing)}"
        if extra:
            yield f"{what} not expected: {_list(extra)}"


def _certain(cell: Cell) -> Iterator[Outcome]:
    """What more trials show than were left out, of which nobody knows what they show."""
    left_out = sum(cell.left_out.values())
    return (Outcome(outcome) for outcome, count in cell.outcomes.items() if count > left_out)


def _broken(cell: Cell) -> set[str]:
    return {finding.rule for finding in cell.findings if finding.result in _BROKEN}


def _list(words: set[str] | set[Outcome] | frozenset[str] | frozenset[Outcome]) -> str:
    return ", ".join(sorted(map(str, words)))
