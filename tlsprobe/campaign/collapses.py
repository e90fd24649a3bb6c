"""A server that ends several of our connections at one moment, however long they had been idle.

So does one whose process crashes, is started again or told to reload: whoever else is connected is
ended, too. An idle timer ends each when its own time is over, and one that looks for idle clients
at every tick ends those together that have waited for about as long. Here some have waited for a
small part of what others of the same sequence were given.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from tlsprobe.judge.idle import KINDS
from tlsprobe.model.trace import ALERTS, EventKind, RemarkKind, Side, Trace

TOGETHER_NS = 5_000_000
"""How far apart the ends of one process's connections are, at most."""

FEW = 3
"""So many of ours that had said nothing just then are ended together by no accident."""

QUIET_NS = 50_000_000
"""Who had said something later than this before may have been answered."""

PART = 3
"""An idle timer is no such part of what others of the same sequence were given."""

APART = 1.5
"""How much longer one of them had been quiet than another, at least: no common timer ended them."""

SHARP, MOST = 0.95, 0.66
"""A timer is sharp if this share of it is reached by this share of those that it ends alone."""

EARLY = 0.92
"""Below this share of a sharp timer it was not that timer."""

IDLE = "idle-"
"""How sequences are called that wait for an idle timer first."""

MANY = 5
"""So many that no timer ended, of whatever kind, are no accident where no timer is known."""

WIDE = 1.1
"""How much longer one had been quiet than another where the server is known to end them so."""


class Close(NamedTuple):
    """How one of our connections ended, and what it waited for: times in ns, None if it never was.

    ``quiet_ns`` is how long nothing had been said before the server ended it, or our wait did;
    ``alerted``: the server sent an alert. ``until_ns`` is when it was over for either side,
    ``acted_ns`` when we had done something last before. ``waits``: for an idle timer. ``told``: by
    the server's own words another's death is why it was ended.
    """

    place: int
    sequence: str
    refused_ns: int | None
    taken_ns: int | None
    end_ns: int | None
    quiet_ns: int
    alerted: bool
    until_ns: int = 0
    acted_ns: int = 0
    waits: bool = False
    told: bool = False


def close_of(place: int, sequence: str, trace: Trace, *, waits: bool = False) -> Close:
    """What is to be known of a trial, by its place among the trial facts; ``waits`` as there.

    Who is told that the server recovers meets nobody who serves, as if the SYN had been refused.
    Whose opening failed came to no close that anybody could have died of.
    """
    drive = trace.drive
    begun, taken = drive.did(EventKind.CONNECT), drive.did(EventKind.CONNECTED)
    is_away = drive.refused or drive.told(RemarkKind.RECOVERING)
    refused_ns = begun.time_ns if is_away and begun is not None else None
    if taken is None or is_away:
        return Close(place, sequence, refused_ns, None, None, 0, alerted=False)
    end_ns = _ended_ns(trace)
    until_ns = end_ns or drive.events[-1].time_ns
    said = (r.time_ns for r in drive.records if r.time_ns < until_ns - TOGETHER_NS)
    quiet_ns = until_ns - max(said, default=taken.time_ns)
    alerted = any(r.side is Side.SERVER and r.kind in ALERTS for r in drive.records)
    return Close(
        *(place, sequence, refused_ns, taken.time_ns, end_ns, quiet_ns, alerted),
        *(until_ns, 0 if drive.failure is not None else _acted_ns(trace, until_ns), waits),
        drive.told(RemarkKind.CRASHED),
    )


def _acted_ns(trace: Trace, until_ns: int) -> int:
    """When our side had said something last, or ended its stream, before then."""
    said = (r.time_ns for r in trace.drive.records if r.side is Side.CLIENT)
    sent = (s.time_ns for s in trace.segments if s.side is Side.CLIENT and (s.length or s.fin))
    fin = trace.drive.did(EventKind.FIN_SENT)
    acts = (*said, *sent, *(() if fin is None else (fin.time_ns,)))
    return max((act for act in acts if act < until_ns), default=0)


def _ended_ns(trace: Trace) -> int | None:
    """When the server ended its side, by the packets, or else by what our socket told us."""
    packets = (s.time_ns for s in trace.segments if s.side is Side.SERVER and (s.fin or s.rst))
    told = trace.drive.did(EventKind.EOF) or trace.drive.did(EventKind.RESET)
    return next(packets, None if told is None else told.time_ns)


class _Quiet(NamedTuple):
    """A quiet connection that the server ended: when, whose, and how long nothing was said."""

    end_ns: int
    quiet_ns: int
    sequence: str
    place: int


class Collapses:
    """The quiet connections of a run that the server ended together, by their places."""

    def __init__(self) -> None:
        self._ended: list[_Quiet] = []
        self._longest: defaultdict[str, int] = defaultdict(int)
        self._fallen: frozenset[int] | None = frozenset()
        self._early: frozenset[int] = frozenset()
        self._settled = 0

    def see(self, close: Close) -> None:
        """Take one more connection into account."""
        sequence, quiet_ns = close.sequence, close.quiet_ns
        if close.taken_ns is None or quiet_ns < QUIET_NS:
            return
        longest = self._longest[sequence]
        if quiet_ns > longest or quiet_ns * PART <= longest:
            self._fallen = None  # seldom: thousands wait for the same timer
        self._longest[sequence] = max(longest, quiet_ns)
        if close.end_ns is not None:
            self._ended.append(_Quiet(close.end_ns, quiet_ns, sequence, close.place))

    @property
    def fallen(self) -> frozenset[int]:
        """The places of those that were ended together with others."""
        if self._fallen is None:
            early = sorted(
                one for one in self._ended if one.quiet_ns * PART <= self._longest[one.sequence]
            )
            times = [one.end_ns for one in early]
            moments: list[int] = []
            for one in early:
                first = bisect_left(times, one.end_ns)
                together = early[first : bisect_right(times, one.end_ns + TOGETHER_NS)]
                if _is_no_timer(together):
                    moments.append(one.end_ns)
            self._fallen = frozenset(self._ended_then(moments))
        return self._fallen | self._early if self._early else self._fallen

    def settle(self) -> None:
        """Look for those as well that ended not much before a timer would have.

        That takes all that were seen, so that it is not done for each. Some ended together, of
        which one had been quiet for a small part of the time of another; or a little before a timer
        that is sharp otherwise. In a run in which that was seen, others that ended early did so.
        """
        if self._settled == len(self._ended):
            return
        self._settled = len(self._ended)
        ended = sorted(one for one in self._ended if one.sequence.startswith(IDLE))
        moments = _together(ended)
        solitary = [group[0] for group in moments if len(group) == 1]
        longest, due = _longest(ended), _sharp(solitary)
        too_early = [one for one in ended if one.quiet_ns < EARLY * due.get(_kind_of(one), 0)]
        groups = [
            group
            for group in moments
            if len(group) >= FEW
            and all(one.quiet_ns < EARLY * longest[_kind_of(one)] for one in group)
        ]
        apart = any(len(group) >= MANY and _widest(group) >= PART for group in groups)
        if apart or self.fallen or any(_is_no_timer(group) for group in _together(too_early)):
            fallen = {one.place for one in too_early}
            fallen |= {one.place for group in groups if _widest(group) >= WIDE for one in group}
            self._early = frozenset(fallen)

    def _ended_then(self, moments: list[int]) -> Iterator[int]:
        """All that ended in these moments, those as well that had waited for long."""
        for one in self._ended if moments else ():
            near = bisect_right(moments, one.end_ns + TOGETHER_NS) - 1
            if near >= 0 and moments[near] >= one.end_ns - TOGETHER_NS:
                yield one.place


def _kind_of(one: _Quiet) -> str:
    """Which idle timer a sequence waits for, by the sequence that measures it."""
    return next((kind for kind in KINDS if one.sequence.startswith(kind)), one.sequence)


def _longest(ended: list[_Quiet]) -> dict[str, int]:
    longest: defaultdict[str, int] = defaultdict(int)
    for one in ended:
        longest[_kind_of(one)] = max(longest[_kind_of(one)], one.quiet_ns)
    return longest


def _widest(group: list[_Quiet]) -> float:
    """How often the shortest time of these goes into the longest."""
    quiet = [one.quiet_ns for one in group]
    return max(quiet) / min(quiet)


def _together(ended: list[_Quiet]) -> list[list[_Quiet]]:
    """Those that ended at one moment, moment by moment; they are in the order of their ends."""
    groups: list[list[_Quiet]] = []
    for one in ended:
        if groups and one.end_ns - groups[-1][0].end_ns <= TOGETHER_NS:
            groups[-1].append(one)
        else:
            groups.append([one])
    return groups


def _sharp(solitary: list[_Quiet]) -> dict[str, int]:
    """Of timers that nearly always fired after the same time, for one alone: that time."""
    times: defaultdict[str, list[int]] = defaultdict(list)
    for one in solitary:
        times[_kind_of(one)].append(one.quiet_ns)
    due: dict[str, int] = {}
    for kind, quiet in times.items():
        near = sum(one >= SHARP * max(quiet) for one in quiet)
        if near >= FEW and near >= MOST * len(quiet):
            due[kind] = max(quiet)
    return due


def _is_no_timer(together: list[_Quiet]) -> bool:
    quiet = [one.quiet_ns for one in together]
    return len(quiet) >= FEW and max(quiet) >= APART * min(quiet)


JUST_BEFORE_NS = 1_000_000_000
"""A process that dies of a close does so no longer than this before nobody listens."""

OFTEN = 0.5
"""The share of a close's trials from which on it is no accident that the server was gone then."""


class Gone(NamedTuple):
    """A close behind which nobody listened for a moment: how often, in how many of its trials."""

    sequence: str
    times: int
    trials: int
    of: int


class Absences:
    """When nobody listened for a moment, and behind which close of ours.

    A SYN that is refused met no listener: a server that is full leaves it unanswered, or takes it
    and ends it. Blamed is a close only if it was the one whose trials the server had just ended
    without an alert, more than once, in most of its trials.
    """

    def __init__(self) -> None:
        self._refused: list[int] = []
        self._taken: list[int] = []
        self._ended: list[tuple[int, str]] = []
        self._quiet: list[tuple[int, str, int]] = []
        self._driven: Counter[str] = Counter()
        self._fallen: frozenset[int] | None = frozenset()

    def see(self, close: Close) -> None:
        """Take one more connection into account."""
        if close.refused_ns is not None:
            self._refused.append(close.refused_ns)
        self._fallen = None
        if close.taken_ns is None:
            return
        self._taken.append(close.taken_ns)
        self._driven[close.sequence] += 1
        if close.end_ns is None:
            return
        if close.quiet_ns > QUIET_NS:
            self._quiet.append((close.end_ns, close.sequence, close.place))
        elif not (close.alerted or close.told):
            self._ended.append((close.end_ns, close.sequence))

    @property
    def fallen(self) -> frozenset[int]:
        """The places of quiet connections that ended right before nobody listened any more.

        Together with one of another sequence: of those that ended by themselves, their own end may
        be what the server died of.
        """
        if not self._refused:
            return frozenset()
        if self._fallen is None:
            taken = sorted(self._taken)
            self._fallen = frozenset(
                place
                for first_ns in self._begun()
                for end_ns, sequence, place in self._quiet
                if 0 <= first_ns - end_ns <= JUST_BEFORE_NS
                and bisect_left(taken, end_ns) == bisect_left(taken, first_ns)
                and self._is_beside_others(end_ns, sequence)
            )
        return self._fallen

    def _is_beside_others(self, end_ns: int, sequence: str) -> bool:
        ends = (*self._ended, *((end, name) for end, name, _ in self._quiet))
        return any(abs(end - end_ns) <= TOGETHER_NS and name != sequence for end, name in ends)

    def behind(self) -> list[Gone]:
        """The closes behind which the server was gone, the surest first."""
        times: Counter[str] = Counter()
        trials: Counter[str] = Counter()
        for first_ns in self._begun():
            last = [s for end_ns, s in self._ended if 0 <= first_ns - end_ns <= JUST_BEFORE_NS]
            if len(set(last)) == 1:
                times[last[0]] += 1
                trials[last[0]] += len(last)
        found = [Gone(s, n, trials[s], self._driven[s]) for s, n in times.most_common()]
        return [one for one in found if one.times > 1 and one.trials >= OFTEN * one.of]

    def _begun(self) -> Iterator[int]:
        """When each absence was first met: the first refusal behind a connection that was taken."""
        taken = sorted(self._taken)
        before = -1
        for refused in sorted(self._refused):
            here = bisect_left(taken, refused)
            if here != before:
                yield refused
            before = here
