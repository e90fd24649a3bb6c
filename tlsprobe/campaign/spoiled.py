"""Which trials a busy machine or a crowded server spoiled, and are to be driven once more."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from tlsprobe.judge.idle import KINDS
from tlsprobe.judge.waiting import LONG_NS
from tlsprobe.model.judgement import Doubt, Judgement, Outcome, TcpEnd
from tlsprobe.model.load import Load
from tlsprobe.model.run import CellPlan, JudgedTrial
from tlsprobe.model.trace import Drive, EventKind, Side

TIMED = "idle-expiry"
"""The sequence whose timeout is looked at."""

SHORT_S = 10.0
"""An idle timeout that costs so little that it is always measured once more, alone."""

SHORTENED = 0.8
"""A timeout below this share of what it is alone was shortened."""

SLOW_NS = 50_000_000
"""Lag of our event loop from which on short times mean nothing."""

TIMES_LAG = 4
"""A server may be late by so many times the longest lag of our own event loop."""

OFTEN_SLOW = 0.1
"""The share of slow trials from which on the machine is too busy to tell who has no room."""

FEW_UNSERVED = 3
"""So many trials have to be left unserved before our others may be why: one may just hang."""

_SLACK_S = 1.0
"""Many servers look for idle clients once a second, or when something else wakes them."""


class Driven(NamedTuple):
    """A judged trial with the load at its time."""

    cell: CellPlan
    judged: JudgedTrial
    load: Load

    @property
    def idle_s(self) -> float | None:
        """After how many seconds of silence the server ended it, if it did."""
        span = self.judged.judgement.timing_us.get("idle_to_end")
        return None if span is None else span / 1e6

    @property
    def late_s(self) -> float:
        """By how much a slow machine may have delayed the server: some times what delayed us."""
        return TIMES_LAG * self.load.lag_ns / 1e9

    @property
    def is_slow(self) -> bool:
        """Whether this machine had too much to do for short times to mean anything."""
        return self.load.lag_ns > SLOW_NS

    @property
    def most(self) -> int:
        """How many connections of ours were open meanwhile, as far as that was counted."""
        return max(self.load.at_start, self.load.at_end)


def spoiled(driven: Iterable[Driven]) -> list[Driven]:
    """Trials that may come out better at a calmer time.

    Where a server ends most of its connections before we begin, that is its way, and not ours.
    """
    seen = list(driven)
    early = sum(one.judged.judgement.doubt in _EARLY for one in seen)
    rare = _EARLY if 2 * early < len(seen) else frozenset()
    return [one for one in seen if _may_pass(one.judged, rare)]


_EARLY = frozenset({Doubt.ENDED_EARLY, Doubt.OVERTAKEN})


def _may_pass(judged: JudgedTrial, rare: frozenset[Doubt]) -> bool:
    judgement = judged.judgement
    if judgement.doubt is not None:
        return judgement.doubt.may_pass or judgement.doubt in rare
    return was_unserved(judged) or judgement.outcome is Outcome.REFUSED


def turned_away(
    driven: Iterable[Driven], few: int = FEW_UNSERVED, *, dies: bool = False
) -> list[Driven]:
    """Trials that the server ended or left waiting before they began, beside others.

    Whose SYN was refused met nobody who listens: no server is full then, it is away. One that has
    no more room may end the next connection, and may as well leave it to the kernel
    that accepts it, and say nothing until another has ended. If we were slow ourselves, its idle
    timer may have ended them; where much of a run was slow, the server was too, and nothing is
    concluded from any. Who refuses an upload turns that away, and no connection. Fewer than ``few``
    that are left waiting may just hang. Where by the server's own words its processes died
    (``dies``), whom it ended met that, and no limit.
    """
    seen = list(driven)
    if sum(one.is_slow for one in seen) > OFTEN_SLOW * len(seen):
        return []
    beside = [o for o in seen if o.most > 1 and not o.is_slow and not o.cell.sequence.uploads]
    away = [one for one in beside if not dies and _was_turned_away(one.judged)]
    unserved = [one for one in beside if was_unserved(one.judged)]
    return away + (unserved if len(unserved) >= few else [])


def _was_turned_away(judged: JudgedTrial) -> bool:
    judgement = judged.judgement
    if judgement.doubt is Doubt.ENDED_EARLY:
        return True
    return judgement.outcome.failed and judgement.axes.tcp in {TcpEnd.FIN, TcpEnd.RESET}


def was_unserved(judged: JudgedTrial) -> bool:
    """Whether the server kept a connection and never brought it to where its sequence begins.

    One that answers what we asked, be it without end, serves us.
    """
    judgement = judged.judgement
    kept = judgement.axes.tcp is TcpEnd.OPEN and judgement.outcome is not Outcome.REFUSED
    return judgement.outcome.failed and kept and not _is_answering(judgement)


def _is_answering(judgement: Judgement) -> bool:
    """Whether the last that was seen of a connection were data of the server's, behind ours."""
    said = [word.side for word in judgement.words if "d" in word.letters]
    return Side.CLIENT in said and said[-1] is Side.SERVER


def was_timed_out(check: Drive, load: Load) -> bool:
    """Whether a connection failed that the server had taken, while we were slow.

    The path was there, if they shook hands or the server waited for long; it may have ended it for
    want of words that we had no processor to send.
    """
    slow = max(load.lag_ns, load.stalled_ns) > SLOW_NS
    was_there = check.did(EventKind.HANDSHAKEN) is not None or _was_kept(check)
    return slow and not check.worked and was_there


def _was_kept(check: Drive) -> bool:
    """Whether a connection stayed for as long as a timer of the server may have."""
    begun = check.did(EventKind.CONNECTED)
    ended = check.did(EventKind.EOF) or check.did(EventKind.RESET)
    return begun is not None and ended is not None and ended.time_ns - begun.time_ns > LONG_NS


def hasty_timer(driven: Iterable[Driven], expected_s: float) -> Driven | None:
    """A trial whose idle timeout may have been shortened, None if no timeout gives cause for that.

    ``expected_s`` is the timeout that is documented, or as long as we wait.
    """
    timed: defaultdict[tuple[str, str], list[Driven]] = defaultdict(list)
    for one in driven:
        fell = one.judged.judgement.doubt is Doubt.FELL  # of which no timer is the reason
        if one.cell.sequence.name in KINDS and one.idle_s is not None and one.most > 1 and not fell:
            timed[one.cell.sequence.name, one.cell.tls].append(one)
    shortest = {cell: min(trials, key=_idle_s) for cell, trials in timed.items()}
    for cell, trials in timed.items():
        if _idle_s(shortest[cell]) < _least(max(map(_idle_s, trials))):
            return shortest[cell]
    usual = min(
        (o for o in shortest.values() if o.cell.sequence.name == TIMED), key=_idle_s, default=None
    )
    if usual is None:
        return None
    is_early = _idle_s(usual) < SHORTENED * expected_s
    return usual if is_early or _idle_s(usual) <= SHORT_S else None


def opened_alone(driven: Iterable[Driven]) -> Driven | None:
    """The trial whose timeout our other connections cannot have shortened, if it was measured.

    A server sets the timeout of a connection when it accepts it or hears from it; this one was
    there, and had said its last word, before any other.
    """
    timed = (one for one in driven if one.cell.sequence.name == TIMED)
    return next((one for one in timed if one.load.at_start == 1), None)


def _idle_s(one: Driven) -> float:
    return one.idle_s or 0.0


def is_shortened(crowded: Driven, alone: Driven) -> bool:
    """Whether a timeout was shorter than the same one with no other connection of ours open."""
    return outlasts(alone, crowded)


def outlasts(one: Driven, other: Driven) -> bool:
    """Whether a timeout is so much longer than another that neither ticks nor chance made it so.

    Nor a machine that was slow: a server may fire late by more than our event loop was.
    """
    if other.idle_s is None:
        return False
    if one.judged.judgement.doubt is Doubt.NOT_REACHED:
        return not one.is_slow  # it did not fire even while we waited
    return one.idle_s is not None and other.idle_s < _least(one.idle_s - one.late_s)


def is_steady(alone: Iterable[Driven]) -> bool:
    """Whether a timeout is the same each time: all fire about as late, or none while we wait."""
    seconds = [one.idle_s for one in alone]
    fired = [each for each in seconds if each is not None]
    if len(fired) != len(seconds):
        return not fired
    return min(fired) > _least(max(fired))


def _least(usual_s: float) -> float:
    """Below this a timeout is so much shorter that neither ticks nor chance account for it."""
    return SHORTENED * usual_s - _SLACK_S


def better(before: JudgedTrial, after: JudgedTrial) -> bool:
    """Whether a trial that was turned away came to its sequence when it was alone."""
    kept_out = _was_turned_away(before) or was_unserved(before)
    return kept_out and after.judgement.outcome.reached
