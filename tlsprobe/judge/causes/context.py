"""An RST with everything that matters about what went before it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import takewhile

from tlsprobe.judge.causes.answers import GIVING_UP, acted_on, notifies, read_to
from tlsprobe.judge.causes.trigger import prompt_ns, trigger_of
from tlsprobe.judge.path import forged, is_exact
from tlsprobe.model.judgement import Reset
from tlsprobe.model.knowledge import NOTHING_KNOWN, Knowledge, Rewritten
from tlsprobe.model.trace import (
    ALERTS,
    Coverage,
    Drive,
    EventKind,
    Flag,
    Record,
    RecordKind,
    Segment,
    Side,
    Trace,
)

_FIN, _SYN, _RST = Flag.FIN, Flag.SYN, Flag.RST
_UNSEALED = frozenset({RecordKind.PLAIN, RecordKind.DATA})


@dataclass(frozen=True, slots=True)
class ResetContext:
    """An RST in its connection. "The sender" is whoever sent it, "the peer" the other.

    ``next_byte`` is the sender's next sequence number, by what was seen of it (SYN and FIN take
    one); ``peer_sent`` the offset behind the peer's last byte, and ``peer_unseen`` says that the
    capture holds nothing of the peer's. ``trigger`` is the peer's segment that provoked a passive
    RST, and ``repeats_an_ack`` says that some segment of the peer has its number as its ack.

    ``answered_to`` is the offset up to which the sender is known to have read the peer's bytes,
    ``ended_at`` the one up to which it had them when it acted upon an end, its own or the peer's
    (None: it did not). ``asked_to`` is the one up to which requests have had their responses; 0:
    none has. ``own_end`` is how our own side gave the connection up, if it is the sender;
    ``forged``: our own path made this RST in our name; ``unasked``: it is a decision in our name
    that our program did not take. ``ended_by_path`` is the peer's RST, forged by our own path at
    exactly the byte that the sender expected, which went before and ended the connection.
    """

    rst: Segment
    prior: tuple[Segment, ...]
    later: tuple[Segment, ...]
    next_byte: int
    peer_sent: int
    peer_unseen: bool
    fin: Segment | None
    trigger: Segment | None
    repeats_an_ack: bool
    earlier: Reset | None
    answered_to: int
    ended_at: int | None
    notified: bool
    cut_short: bool
    own_end: EventKind | None
    drive: Drive
    coverage: Coverage = Coverage.WHOLE
    asked_to: int = 0
    rewritten: Rewritten | None = None
    elsewhere: str | None = None
    begun_anew: int | None = None
    forged: bool = False
    unasked: bool = False
    ended_by_path: Segment | None = None

    @property
    def records(self) -> tuple[Record, ...]:
        """What came of the stream bytes of both sides."""
        return self.drive.records

    @property
    def driven(self) -> bool:
        """Whether it was our own connection: a capture has no diary."""
        return bool(self.drive.events)

    @property
    def passive(self) -> bool:
        """No ACK flag: an answer to a segment, not a decision."""
        return self.rst.ack is None

    @property
    def sender(self) -> Side:
        """Who sent the RST."""
        return self.rst.side

    @property
    def peer_reach(self) -> int:
        """The offset behind the peer's last byte that the RST acknowledges (0 without ACK)."""
        acked = self.rst.ack or 0
        if self.peer_unseen:  # half a capture: the ack alone tells, and may count a FIN
            return max(0, acked - 1)
        return min(acked, self.peer_sent)

    @property
    def unanswered(self) -> int:
        """Bytes of the peer that the RST acknowledges and the sender never answered."""
        return max(0, self.peer_reach - self.answered_to)

    @property
    def unanswered_shown(self) -> int:
        """Those of them that the capture shows: it may begin in the middle of the stream."""
        first = min((s.start for s in self._unanswered), default=0)
        return max(0, self.peer_reach - max(self.answered_to, first))

    @property
    def unanswered_segments(self) -> list[int]:
        """The numbers of the packets that brought them."""
        return [s.number for s in self._unanswered]

    @property
    def _unanswered(self) -> list[Segment]:
        return [
            s
            for s in self.prior
            if s.side is self.sender.peer
            and s.length
            and s.end > self.answered_to
            and s.start < (self.rst.ack or 0)
        ]

    @property
    def asked_together(self) -> list[int]:
        """The packets with which the messages of the peer end that the sender's last words follow.

        In a capture nobody knows whether one response answers them all, or the first. A stack
        pushes the last segment of what a program wrote at once.
        """
        loaded = [s for s in self.prior if s.length and not s.syn and not s.rst]
        while loaded and loaded[-1].side is not self.sender:
            loaded.pop()
        while loaded and loaded[-1].side is self.sender:
            loaded.pop()
        asked = list(takewhile(lambda s: s.side is not self.sender, reversed(loaded)))[::-1]
        ends = {s.end: s.number for s in asked if s.flags & Flag.PSH and self._is_said_in(s)}
        return [] if self.driven else list(ends.values())

    def _is_said_in(self, segment: Segment) -> bool:
        """Whether it brings more than a handshake or an alert."""
        inside = [r for r in self.records if r.side is segment.side and r.end > segment.start]
        return not inside or any(r.kind in _UNSEALED and r.start < segment.end for r in inside)

    @property
    def syn(self) -> Segment | None:
        """The peer's last SYN: each retried one has its own answer."""
        peer = self.sender.peer
        syns = (s for s in reversed(self.prior) if s.flags & _SYN)
        return next((s for s in syns if s.side is peer), None)

    @property
    def acknowledged(self) -> int:
        """The offset up to which the sender had acknowledged the peer's bytes before."""
        acks = (s.ack for s in self.prior if s.side is self.sender and s.ack is not None)
        return max(acks, default=0)

    @property
    def lacks_of_peer(self) -> bool:
        """Whether the capture lacks bytes of the peer that the sender had acknowledged."""
        return self.acknowledged > self.peer_sent + 1  # a FIN counts as one

    @property
    def has_odd_ack(self) -> bool:
        """Whether it acknowledges more than was sent, or less than its sender had before."""
        ack = self.rst.ack
        if ack is None or self.peer_unseen:
            return False
        return ack > self.peer_sent + 1 or ack < self.acknowledged

    @property
    def is_behind_an_end(self) -> bool:
        """Whether all bytes that it left unread came behind an end that it had acted upon."""
        return self.ended_at is not None and self.ended_at <= self.answered_to

    @property
    def alerts(self) -> tuple[Record, ...]:
        """The alerts of both sides."""
        return tuple(r for r in self.records if r.kind in ALERTS)

    @property
    def may_notify(self) -> bool:
        """Whether anything says that TLS is spoken: what has no TLS has no close_notify."""
        if self.driven or self.drive.tls is not None:
            return True
        return any(r.kind not in _UNSEALED for r in self.records)

    @property
    def is_quiet(self) -> bool:
        """Whether a response answers the last byte that the peer had sent."""
        return self.asked_to > 0 and self.peer_reach <= self.asked_to

    def promptly(self, since: Segment, until: Segment) -> bool:
        """Whether the one may be the answer to the other, by the time between them."""
        return until.time_ns - since.time_ns <= prompt_ns(self.prior)

    @property
    def went_back(self) -> bool:
        """Whether its number is behind what its sender had sent again last.

        Some stacks count from there on again (Windows, BSD) when nothing was acknowledged.
        """
        last = next((s for s in reversed(self.prior) if s.side is self.sender and not s.rst), None)
        return last is not None and last.length > 0 and self.rst.start == last.end + last.fin

    @property
    def gave_up_behind_its_fin(self) -> bool:
        """Whether it is the sender's decision, at the number behind its own FIN."""
        return self.fin is not None and not self.passive and self.rst.start == self.fin.end + 1

    @property
    def gave_up_at_next_byte(self) -> bool:
        """Whether it takes the place of a FIN: the sender's decision, at its own next byte."""
        return self.fin is None and not self.passive and self.rst.start == self.next_byte


def context_of(
    trace: Trace, index: int, earlier: list[Reset], knowledge: Knowledge = NOTHING_KNOWN
) -> ResetContext:
    """The context of the RST that is the trace's segment ``index``; ``earlier`` went before it."""
    rst = trace.segments[index]
    prior = trace.segments[:index]
    own = [s for s in prior if s.side is rst.side]
    theirs = [s for s in prior if s.side is not rst.side]
    return ResetContext(
        rst=rst,
        prior=prior,
        later=trace.segments[index + 1 :],
        next_byte=max([s.behind for s in own if not s.flags & _RST], default=0),
        peer_sent=max([s.end for s in theirs if s.length and not s.flags & _RST], default=0),
        peer_unseen=not theirs,
        fin=next((s for s in own if s.flags & _FIN), None),
        trigger=trigger_of(rst, prior, own, theirs) if rst.ack is None else None,
        repeats_an_ack=rst.ack is None and any(s.ack == rst.start for s in theirs),
        earlier=next((r for r in earlier if r.side is rst.side), None),
        answered_to=read_to(trace, rst, own, trace.segments[index + 1 :]),
        ended_at=_ended_at(trace.drive, rst, own),
        notified=_notified(trace.drive, rst),
        cut_short=rst.side is Side.SERVER and trace.drive.cut_short,
        own_end=_own_end(trace.drive, rst),
        unasked=_is_unasked(trace.drive, rst, theirs),
        drive=trace.drive,
        coverage=trace.coverage,
        asked_to=_asked_to(trace.drive),
        rewritten=knowledge.rewritten,
        elsewhere=knowledge.elsewhere,
        begun_anew=_begun_anew(rst, own, knowledge),
        forged=forged(trace.drive, rst) is not None,
        ended_by_path=next(
            (s for s in theirs if s.flags & _RST and is_exact(trace.drive, s)), None
        ),
    )


def _begun_anew(rst: Segment, own: list[Segment], knowledge: Knowledge) -> int | None:
    """The SYN with which its sender had begun another connection on these ports meanwhile."""
    if rst.side is not Side.CLIENT:
        return None
    last = max((s.number for s in own), default=0)
    return next((syn for syn in knowledge.begun_anew if last < syn < rst.number), None)


def _notified(drive: Drive, rst: Segment) -> bool:
    return any(
        r.side is rst.side and (r.alert == (1, 0) or notifies(r)) and r.end <= rst.start
        for r in drive.records
    )


CLOCKS_NS = 50_000_000
"""So long before our program wrote down what it did a packet may have left."""


def _own_end(drive: Drive, rst: Segment) -> EventKind | None:
    """What our side did, if this is its RST and it gave the connection up before it left."""
    if rst.side is not Side.CLIENT:
        return None
    until = rst.time_ns + CLOCKS_NS
    done = (e.kind for e in drive.events if e.kind in GIVING_UP and e.time_ns <= until)
    return next(done, None)


def _is_unasked(drive: Drive, rst: Segment, theirs: list[Segment]) -> bool:
    """Whether it is in our name, and our program had its socket still: no kernel resets that.

    An answer of our kernel's it may be where the server had ended the connection.
    """
    if rst.side is not Side.CLIENT or not drive.events:
        return False
    if rst.ack is None and any(s.ends for s in theirs):
        return False
    gone = GIVING_UP | {EventKind.LEFT}
    return all(e.kind not in gone or e.time_ns > rst.time_ns + CLOCKS_NS for e in drive.events)


def _asked_to(drive: Drive) -> int:
    """What responses prove to have been read."""
    if not drive.answered:
        return 0
    opened = drive.mark.client if drive.mark is not None and drive.begun is None else 0
    return max(drive.answered_to, opened)


def _ended_at(drive: Drive, rst: Segment, own: list[Segment]) -> int | None:
    """What the server had of us when it acted upon an end: our goodbye or close_notify, or its own.

    Its own counts where it came first: what we sent later cannot have been its reason.
    """
    if rst.side is not Side.SERVER or rst.ack is None or drive.mark is None:
        return None
    asked = acted_on(drive, own)
    if asked:
        return asked
    notice = next((r for r in drive.records if r.side is rst.side and notifies(r)), None)
    if notice is None:
        return None
    return next((s.ack for s in own if s.end >= notice.end), None)
