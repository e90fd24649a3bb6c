"""What races against the idle expiry come to: probability, window, and what it means.

The interval of a probability is Wilson's (E. B. Wilson, 1927): it stays inside 0 and 1 and is
honest for a handful of trials, where the textbook one is not.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from math import sqrt

from tlsprobe.model.judgement import Judgement, Met, Outcome
from tlsprobe.model.run import ExpiryOutcome, JudgedTrial, Race, Spread

_Z = 1.959964
"""Two-sided 95 %."""

WINDOW = "server_close_notify_to_fin"
"""The duration for which a server's idle expiry can be met."""


def wilson(hits: int, trials: int) -> tuple[float, float]:
    """The 95 % interval of a probability that came out as ``hits`` of ``trials`` (at least 1)."""
    share, square = hits / trials, _Z * _Z / trials
    middle = (share + square / 2) / (1 + square)
    half = _Z * sqrt(share * (1 - share) / trials + square / (4 * trials)) / (1 + square)
    return max(0.0, middle - half), min(1.0, middle + half)


def race_of(trials: Iterable[JudgedTrial], window: Spread | None = None) -> Race | None:
    """The races of a cell, beside the server's ``window`` where that is known."""
    said = [t.judgement for t in trials if t.failure is None and _acted(t.judgement)]
    if not said:
        return None
    resets = sum(j.outcome is Outcome.RESET_BEFORE_FIN or _lost(j) for j in said)
    low, high = (round(end, 4) for end in wilson(resets, len(said)))
    met = tuple(_met(said))
    how = _of_requests(met, len(said)) if met else _of_answers(resets, len(said))
    percent = f"{100 * low:.1f} to {100 * high:.1f} %"
    return Race(
        trials=len(said),
        resets=resets,
        probability=round(resets / len(said), 4),
        low=low,
        high=high,
        text=f"{how} ({percent}). {_reach(window)}".strip(),
        window_us=window,
        met=met,
    )


def _of_requests(met: Iterable[ExpiryOutcome], count: int) -> str:
    answered, lost = (sum(getattr(m, word) for m in met) for word in ("answered", "lost"))
    return (
        f"of {count} requests that met the expiry {answered} were answered,"
        f" {count - answered - lost} refused cleanly and {lost} lost with a reset"
    )


def _of_answers(resets: int, count: int) -> str:
    return (
        f"answered within microseconds, {resets} of {count} expiries ended in a reset in place of"
        " the FIN"
    )


def _reach(window: Spread | None) -> str:
    """Which clients can hit the window at all: those whose answer arrives while it is open."""
    if window is None or window.max is None:
        return ""
    return (
        f"The server is exposed between its close_notify and its FIN for {window.p50:.0f} µs"
        f" (p95 {window.p95:.0f}, max {window.max:.0f}): a client hits that only if its answer is"
        " back within that time, which a longer round trip rules out"
    )


def _met(said: list[Judgement]) -> Iterable[ExpiryOutcome]:
    by_offset: defaultdict[float, list[Judgement]] = defaultdict(list)
    for judgement in said:
        if "request_after_expiry" in judgement.timing_us:
            by_offset[judgement.timing_us["request_after_expiry"]].append(judgement)
    for offset, met in sorted(by_offset.items()):
        answered = sum(j.met is Met.ANSWERED for j in met)
        lost = sum(map(_lost, met))
        yield ExpiryOutcome(offset, answered, len(met) - answered - lost, lost)


def _acted(judgement: Judgement) -> bool:
    """Whether the racer was in time: there was an expiry, and something was sent at it."""
    return not {"raced", "request_after_expiry"}.isdisjoint(judgement.timing_us)


def _lost(judgement: Judgement) -> bool:
    """No response, and an error instead of an end."""
    return judgement.met is Met.LOST
