"""A server that shuts us out for a while and serves again, as one that limits connections does.

A limit on new connections or requests (fail2ban, HAProxy's rates, MaxStartups, nginx's limit_req)
ends what comes above it without a word, or leaves it waiting. Which of ours it hits is chance: no
close of before is why, and what a connection met that had said nothing yet is no answer to what we
did.
"""

from __future__ import annotations

from math import inf

from tlsprobe.model.trace import ALERTS, MESSAGES, Drive, EventKind, RemarkKind, Side, Stage

OPENING_NS = 500_000_000
"""What failed to open no longer than this from a death that the server tells of met that."""

IN_A_ROW = 5
"""So many connections that are ended alike, one after the other or in a run, are no accident."""


def taken_ns(found: Drive) -> int | None:
    """When the server, or its kernel, took a connection; None if it did not.

    One that was reset before we had a look was taken, too.
    """
    reset = found.did(EventKind.RESET) is not None
    taken = found.did(EventKind.CONNECTED) or (found.did(EventKind.CONNECT) if reset else None)
    return None if taken is None else taken.time_ns


def is_shut_out(found: Drive) -> bool:
    """Whether the server took a connection and ended it without a word, though TLS was to begin."""
    spoke = any(record.side is Side.SERVER for record in found.records)
    return (
        found.stage in {Stage.CONNECT, Stage.HANDSHAKE}
        and taken_ns(found) is not None
        and found.failure is not None
        and not (spoke or found.only_late)
    )


def is_declined(found: Drive) -> bool:
    """Whether the server said that it does not serve a connection, as SMTP does with 421.

    The path to it works: it was heard. One that recovers from a death is not full: it is away.
    """
    if found.told(RemarkKind.RECOVERING):
        return False
    said = (r for r in found.records if r.side is Side.SERVER and r.kind in MESSAGES)
    return found.stage is Stage.GREETING and found.failure is not None and any(said)


def is_kept_out(found: Drive) -> bool:
    """Whether a connection was one too many for the server, with or without a word."""
    return is_shut_out(found) or is_declined(found)


def is_unheard(found: Drive) -> bool:
    """Whether the server said nothing behind the opening, and ended it or let us give up.

    An alert is no answer: who turns us away politely ends TLS, too.
    """
    start = 0 if found.mark is None else found.mark.server
    ends = EventKind.EOF, EventKind.RESET, EventKind.GAVE_UP
    over = any(found.did(kind) is not None for kind in ends)
    theirs = (r for r in found.records if r.side is Side.SERVER and r.end > start)
    return over and all(record.kind in ALERTS for record in theirs)


_Span = tuple[float, float]


class ShutOuts:
    """When a server shut us out, by the connections of a run: each is shown with its own time.

    Many trials are asked about between two that are shown, so that the spans in which it served
    nobody are kept, each without its ends: of those that it ended, and of those that it left
    waiting. None where these are too few for an accident, or it served no others behind the first.
    """

    def __init__(self) -> None:
        self._ended: list[int] = []
        self._waiting: list[tuple[int, int]] = []
        self._room = inf
        self._deaths: list[int] = []
        self._served: list[int] = []
        self._spans: tuple[_Span | None, _Span | None] | None = None

    def has_room_for(self, most: int) -> None:
        """What waited beside more of ours than so many found the server full, and met no limit."""
        self._room, self._spans = most, None

    def see(self, found: Drive, most_open: int = 1) -> None:
        """Take one more connection into account; ``most_open`` of ours were open meanwhile."""
        taken = taken_ns(found)
        if taken is None:
            return
        self._spans = None
        if found.told(RemarkKind.CRASHED) or found.told(RemarkKind.RECOVERING):
            self._deaths.append(found.events[-1].time_ns)
        elif is_shut_out(found) or found.ended_early:
            self._ended.append(taken)
        elif found.failure is not None:
            if found.only_late:
                self._waiting.append((taken, most_open))
        elif found.did(EventKind.HANDSHAKEN) is not None and (found.answered or not found.owed):
            self._served.append(taken)

    @property
    def at_times(self) -> bool:
        """Whether it ended too many for an accident, and served others behind the first."""
        return self._unserved()[0] is not None

    @property
    def were_seen(self) -> bool:
        """Whether it ended, or left waiting, too many for an accident, and served others."""
        return any(self._unserved())

    def may_have_met(self, time_ns: int) -> bool:
        """Whether a connection that was taken then came while it may not have been served.

        That is from the last one that was served before to the first one that was again.
        """
        return any(span[0] < time_ns < span[1] for span in self._unserved() if span)

    def _unserved(self) -> tuple[_Span | None, _Span | None]:
        if self._spans is None:
            waiting = [taken for taken, beside in self._waiting if beside <= self._room]
            ended = [taken for taken in self._ended if not self._is_beside_a_death(taken)]
            self._spans = self._span(ended), self._span(waiting)
        return self._spans

    def _is_beside_a_death(self, taken: int) -> bool:
        """Whether the server said of others just then why they ended: no limit of its was met."""
        return any(0 <= death - taken <= OPENING_NS for death in self._deaths)

    def _span(self, unserved: list[int]) -> _Span | None:
        """From the last that was served before these to the first that was again."""
        if len(unserved) < IN_A_ROW:
            return None
        first, last = min(unserved), max(unserved)
        if max(self._served, default=0) <= first:
            return None
        before = max((one for one in self._served if one < first), default=0)
        behind = min((one for one in self._served if one > last), default=inf)
        return before, behind
