"""What races against the idle expiry come to: how they were timed, probability, what it means.

How far an attempt was from the expiry is read off the capture: between the packet that carries our
bytes and the server's first alert, FIN or RST. Attempts that came too late for what they claim, or
sent nothing at all, are counted and left out.

The interval of a probability is Wilson's (E. B. Wilson, 1927): it stays inside 0 and 1 and is
honest for a handful of trials, where the textbook one is not.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from math import inf, sqrt
from typing import NamedTuple

from tlsprobe.judge.closing import FIN, RST, Closing, WireEvent
from tlsprobe.judge.maker import is_by_others
from tlsprobe.judge.owed import MEET_WITHIN_NS
from tlsprobe.judge.spread import spread
from tlsprobe.model.judgement import Doubt, ExpiryOutcome, Judgement, Outcome
from tlsprobe.model.run import ExpiryCounts, JudgedTrial, Race, Spread
from tlsprobe.model.trace import Coverage, DriverEvent, EventKind, RecordKind, Side, Trace
from tlsprobe.model.verbs import RACES, Verb

_Z = 1.959964
"""Two-sided 95 %."""

WINDOW = "server_close_notify_to_fin"
"""The duration for which a server's idle expiry can be met."""

ANSWERED, MET = "answer_after_expiry", "request_after_expiry"
"""The times of attempts among those of a judgement."""

ANSWER_WITHIN_NS = 1_000_000
"""An answer that is this late is none "within microseconds" any more."""

_EDGES_US = (-4000.0, -2000.0, -1000.0, -500.0, -200.0, 0.0, 200.0, 500.0, 1000.0, 2000.0, 4000.0)
"""Between which distances requests are counted together."""


class Attempt(NamedTuple):
    """A race that one trial was to run, as the capture has it.

    ``after_expiry_ns`` is how long after the server's first word our bytes were on the wire
    (negative: before); where a request was answered and the server said nothing, the expiry is
    where it was expected. None: nothing was sent, or no capture tells when. ``planned_ns`` is the
    distance that was asked for.
    """

    verb: Verb
    planned_ns: int
    after_expiry_ns: int | None

    @property
    def is_in_time(self) -> bool:
        """Whether it came when it says that it came."""
        if self.after_expiry_ns is None:
            return False
        within = MEET_WITHIN_NS if self.verb is Verb.MEET else ANSWER_WITHIN_NS
        return abs(self.after_expiry_ns - self.planned_ns) <= within

    @property
    def timing(self) -> dict[str, float]:
        """Its distance as a judgement lists it, in microseconds."""
        if self.after_expiry_ns is None:
            return {}
        return {MET if self.verb is Verb.MEET else ANSWERED: self.after_expiry_ns / 1000}


def attempt_of(trace: Trace, closing: Closing) -> Attempt | None:
    """The race of a trial; None if its sequence had none, or it never came to it."""
    steps = {e.verb for e in trace.drive.events if e.kind is EventKind.STEP}
    verb = next((verb for verb in RACES if verb in steps), None)
    if verb is None:
        return None
    acted = trace.drive.did(EventKind.MEETS) or trace.drive.did(EventKind.RACED)
    planned = int(acted.detail or 0) * 1000 if acted is not None else 0
    if acted is None or trace.coverage is not Coverage.WHOLE:
        return Attempt(verb, planned, None)
    sent = _sent(closing, verb)
    expiry = _expiry_ns(trace, closing, verb, acted, planned)
    distance = None if sent is None or expiry is None else sent.time_ns - expiry
    return Attempt(verb, planned, distance)


def _sent(closing: Closing, verb: Verb) -> WireEvent | None:
    """Our side of the race: the request, or the answer."""
    letter = "d" if verb is Verb.MEET else "n"
    return closing.first(Side.CLIENT, letter)


def _expiry_ns(
    trace: Trace, closing: Closing, verb: Verb, acted: DriverEvent, planned: int
) -> int | None:
    """When the server's timer fired; for a request that restarted the timer, when it would have."""
    if verb is Verb.MEET and _is_answered(trace):
        return acted.time_ns - planned
    end = closing.first(Side.SERVER, "n", "a", FIN, RST)
    if end is None:
        return acted.time_ns - planned if verb is Verb.MEET else None
    return end.time_ns


def _is_answered(trace: Trace) -> bool:
    drive = trace.drive
    sent = [r for r in drive.records if r.side is Side.CLIENT and r.kind is RecordKind.DATA]
    return bool(sent) and drive.answered_to >= sent[-1].end


def wilson(hits: int, trials: int) -> tuple[float, float]:
    """The 95 % interval of a probability that came out as ``hits`` of ``trials`` (at least 1)."""
    share, square = hits / trials, _Z * _Z / trials
    middle = (share + square / 2) / (1 + square)
    half = _Z * sqrt(share * (1 - share) / trials + square / (4 * trials)) / (1 + square)
    return max(0.0, middle - half), min(1.0, middle + half)


def race_of(trials: Iterable[JudgedTrial], window: Spread | None = None) -> Race | None:
    """The races of a cell, beside the server's ``window`` where that is known.

    Whom something else reset has run no race with the server.
    """
    reached = (t.judgement for t in trials if t.failure is None and t.judgement.outcome.reached)
    asked = [j for j in reached if not is_by_others(j.resets)]
    timed = [j for j in asked if _distance(j) is not None]
    said = [j for j in timed if j.doubt is None]
    if not asked:
        return None
    resets = sum(j.outcome is Outcome.RESET_BEFORE_FIN or _lost(j) for j in said)
    low, high = (round(end, 4) for end in wilson(resets, len(said))) if said else (0.0, 1.0)
    late = sum(j.doubt is Doubt.LATE for j in timed)
    race = Race(
        trials=len(said),
        resets=resets,
        probability=round(resets / len(said), 4) if said else 0.0,
        low=low,
        high=high,
        text="",
        window_us=window,
        met=tuple(_met(said)),
        distance_us=spread([d for j in said if (d := _distance(j)) is not None]),
        late=late,
        late_us=spread([d for j in timed if j not in said and (d := _distance(j)) is not None]),
        missing=len(asked) - len(said) - late,
    )
    return replace(race, text=" ".join(_sentences(race)))


def _distance(judgement: Judgement) -> float | None:
    """How many microseconds after the expiry it was on the wire; None if that is not known."""
    return judgement.timing_us.get(MET, judgement.timing_us.get(ANSWERED))


def _sentences(race: Race) -> Iterator[str]:
    if race.trials:
        percent = f"{100 * race.low:.1f} to {100 * race.high:.1f} %"
        yield f"{_of_requests(race) if race.met else _of_answers(race)} ({percent})."
    else:
        yield "no attempt was in time."
    if race.late:
        yield f"Left out: {race.late} that came at another time, {_range(race.late_us)}."
    if race.missing:
        yield f"Left out: {race.missing} in which nothing was sent at an expiry."
    if reach := _reach(race.window_us):
        yield reach


def _of_requests(race: Race) -> str:
    answered, lost = sum(m.answered for m in race.met), sum(m.lost for m in race.met)
    return (
        f"of {race.trials} requests that met the expiry, {_range(race.distance_us)}, {answered}"
        f" were answered, {race.trials - answered - lost} refused cleanly and {lost} lost with a"
        " reset"
    )


def _of_answers(race: Race) -> str:
    return (
        f"answered {_range(race.distance_us)}, {race.resets} of {race.trials} expiries ended in a"
        " reset in place of the FIN"
    )


def _range(distances: Spread) -> str:
    """Between which distances from the expiry, as the capture has them."""
    least, middle, most = distances.min or 0.0, distances.p50 or 0.0, distances.max or 0.0
    between = _time(least)
    if distances.n > 1:
        between += f" to {_time(most)} (median {_time(middle)})"
    return f"{between} after the server's first word"


def _time(microseconds: float) -> str:
    """``81 µs``, ``12.3 ms``, ``263 ms``."""
    size = abs(microseconds)
    if size < 999.5:
        return f"{microseconds:.0f} µs"
    return f"{microseconds / 1000:.{1 if size < 99_950 else 0}f} ms"


def _reach(window: Spread | None) -> str:
    """Which clients can hit the window at all: those whose answer arrives while it is open."""
    if window is None or window.p50 is None or window.p95 is None or window.max is None:
        return ""
    return (
        f"The server is exposed between its close_notify and its FIN for {_time(window.p50)}"
        f" (p95 {_time(window.p95)}, max {_time(window.max)}): a client hits that only if its"
        " answer is back within that time, which a longer round trip rules out"
    )


def _met(said: list[Judgement]) -> Iterable[ExpiryCounts]:
    """What became of requests, those counted together that met the expiry at a like distance."""
    by_bucket: defaultdict[int, list[Judgement]] = defaultdict(list)
    for judgement in said:
        if MET in judgement.timing_us:
            by_bucket[bisect_right(_EDGES_US, judgement.timing_us[MET])].append(judgement)
    edges = (-inf, *_EDGES_US, inf)
    for bucket, met in sorted(by_bucket.items()):
        answered = sum(j.met is ExpiryOutcome.ANSWERED for j in met)
        lost = sum(map(_lost, met))
        distances = spread([j.timing_us[MET] for j in met])
        low, high = (None if abs(edge) == inf else edge for edge in edges[bucket : bucket + 2])
        middle = distances.p50 or 0.0
        yield ExpiryCounts(middle, answered, len(met) - answered - lost, lost, low, high)


def _lost(judgement: Judgement) -> bool:
    """No response, and an error instead of an end."""
    return judgement.met is ExpiryOutcome.LOST
