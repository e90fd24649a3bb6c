"""How a server ended its side, as one compares it: its own alerts, FIN and RST, in order.

Signatures show both sides, segment by segment. Where our FIN fell between two of the server's
events is chance, and what data it sends is the protocol's affair; neither makes two servers
unlike. What is left is short, and the same for the same close.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from tlsprobe.model.judgement import Outcome, Verdict
from tlsprobe.model.run import Cell, Run
from tlsprobe.report.matrix import ranked_outcomes

EVENTS = {"n": "close_notify", "a": "alert", "f": "FIN", "r": "RST"}
"""The server's letters that end a connection; data, handshake and goodbye end nothing."""

NOT_MEASURED = "not measured"

NO_ANSWER = frozenset({Verdict.UNSUPPORTED, Verdict.ERROR, Verdict.INCONCLUSIVE})
"""Verdicts of cells that compare with nothing."""


@dataclass(frozen=True, slots=True)
class Ending:
    """The commonest ending of a cell.

    ``events`` holds the server's letters (``nf``: close_notify, then FIN), ``count`` of ``trials``
    ended so. ``outcome`` is the commonest too. ``resets_for_fin`` counts the trials in which an
    RST took the place of the FIN, whether or not that was the commonest.
    """

    outcome: str
    events: str
    count: int
    trials: int
    resets_for_fin: int = 0

    @property
    def is_open(self) -> bool:
        """Whether the server had not ended its TCP side when we stopped waiting."""
        return not set(self.events) & set("fr")

    @property
    def is_reset_for_fin(self) -> bool:
        """Whether an RST took the place of the FIN, so that a reader gets an error."""
        return "r" in self.events and "f" not in self.events.partition("r")[0]

    def describe(self) -> str:
        """``close_notify, FIN``; how often, if not always; and the rare RST in place of a FIN."""
        text = ", ".join(EVENTS[letter] for letter in self.events)
        if self.is_open and self.outcome != Outcome.CLIENT_RESET:
            text = f"{text}, no FIN" if text else "stays open"
        text = text or "nothing"
        if self.outcome == Outcome.DATA_LOST:
            text += ", data lost"
        if self.count < self.trials:
            text += f" {self.count}/{self.trials}"
            if self.resets_for_fin and not self.is_reset_for_fin:
                text += f" (RST in place of FIN {self.resets_for_fin}/{self.trials})"
        return text


def ending_of(cell: Cell) -> Ending | None:
    """The commonest ending of a cell, the worse of two equals; None if the cell has no answer."""
    outcomes = ranked_outcomes(cell)
    if not outcomes or cell.verdict in NO_ANSWER:
        return None
    outcome = max(outcomes, key=lambda item: item[1])[0]  # the worst come first
    seen: Counter[str] = Counter()
    for signature, count in cell.signatures.items():
        seen[events_of(signature)] += count
    events, count = max(seen.items(), key=_commonest, default=("", 0))
    trials = max(cell.trials, seen.total())
    return Ending(outcome, events, count, trials, cell.resets.server.before_fin)


def events_of(signature: str) -> str:
    """The server's events in a signature, in order, the same one twice in a row only once."""
    kept = ""
    for letter in signature:
        if letter in EVENTS and not kept.endswith(letter):
            kept += letter
    return kept


def cells_of(run: Run, sequence: str) -> list[Cell]:
    """The cells of a sequence that somebody asked for, by TLS version."""
    found = [c for c in run.cells if c.sequence == sequence and c.role == "asked"]
    return sorted(found, key=lambda cell: cell.tls)


def endings_of(run: Run, sequences: Iterable[str]) -> list[tuple[str, Ending]]:
    """TLS versions and endings of the first sequence in which the server did something.

    Of those in which it did nothing, the first has to do; none at all: none was measured.
    """
    silent: list[tuple[str, Ending]] = []
    for sequence in sequences:
        cells = ((cell.tls, ending_of(cell)) for cell in cells_of(run, sequence))
        endings = [(tls, ending) for tls, ending in cells if ending]
        if any(ending.events for _, ending in endings):
            return endings
        silent = silent or endings
    return silent


def describe_ending(run: Run, sequence: str) -> str:
    """How the server ends that sequence, the TLS versions folded where they agree."""
    endings = [(cell.tls, _describe_cell(cell)) for cell in cells_of(run, sequence)]
    return by_tls(endings) if endings else NOT_MEASURED


def by_tls(texts: list[tuple[str, str]]) -> str:
    """The text once if all versions share it, else each behind its version."""
    if len({text for _, text in texts}) == 1:
        return texts[0][1]
    return "; ".join(f"{tls}: {text}" for tls, text in texts)


def _describe_cell(cell: Cell) -> str:
    ending = ending_of(cell)
    return ending.describe() if ending else str(cell.verdict)


def _commonest(item: tuple[str, int]) -> tuple[int, bool, str]:
    events, count = item
    return count, "r" in events, events
