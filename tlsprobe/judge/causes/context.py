"""An RST with everything that matters about what went before it."""

from __future__ import annotations

from dataclasses import dataclass

from tlsprobe.model.judgement import Reset
from tlsprobe.model.knowledge import Rewritten
from tlsprobe.model.trace import (
    Coverage,
    Drive,
    EventKind,
    Record,
    RecordKind,
    Segment,
    Side,
    Trace,
)

ALERT_SIZES = frozenset({24, 31})
"""Bytes of an encrypted alert on the wire: in TLS 1.3, and in TLS 1.2 with AES-GCM."""


@dataclass(frozen=True, slots=True)
class ResetContext:
    """An RST in its connection. "The sender" is whoever sent it, "the peer" the other.

    ``answered_to`` is the offset up to which the sender is known to have answered the peer's
    bytes; ``deed`` is how our own side gave the connection up, if it is the sender; ``driven``
    tells our own connections from somebody else's capture. ``next_byte`` is the sender's next
    sequence number, by what was seen of it (SYN and FIN take one); ``peer_sent`` the offset behind
    the peer's last byte, and ``peer_unseen`` says that the capture holds nothing of the peer's.
    """

    rst: Segment
    prior: tuple[Segment, ...]
    later: tuple[Segment, ...]
    next_byte: int
    peer_sent: int
    peer_unseen: bool
    fin: Segment | None
    trigger: Segment | None
    earlier: Reset | None
    answered_to: int
    notified: bool
    cut_short: bool
    deed: EventKind | None
    driven: bool = True
    coverage: Coverage = Coverage.WHOLE
    alerts: tuple[Record, ...] = ()
    rewritten: Rewritten | None = None

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
    def unanswered_segments(self) -> list[int]:
        """The numbers of the packets that brought them."""
        return [
            s.number
            for s in self.prior
            if s.side is self.sender.peer
            and s.length
            and s.end > self.answered_to
            and s.start < (self.rst.ack or 0)
        ]

    @property
    def syn(self) -> Segment | None:
        """The peer's first SYN."""
        return next((s for s in self.prior if s.side is self.sender.peer and s.syn), None)

    @property
    def gave_up_at_next_byte(self) -> bool:
        """Whether it takes the place of a FIN: the sender's decision, at its own next byte."""
        return self.fin is None and not self.passive and self.rst.start == self.next_byte


def context_of(
    trace: Trace, index: int, earlier: list[Reset], rewritten: Rewritten | None = None
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
        next_byte=max((s.end + s.fin + s.syn for s in own if not s.rst), default=0),
        peer_sent=max((s.end for s in theirs if s.length), default=0),
        peer_unseen=not theirs,
        fin=next((s for s in own if s.fin), None),
        trigger=_trigger(rst, own, theirs),
        earlier=next((r for r in earlier if r.side is rst.side), None),
        answered_to=_answered_to(trace.drive, rst.side, own),
        notified=_notified(trace.drive, rst),
        cut_short=rst.side is Side.SERVER and trace.drive.cut_short,
        deed=_own_deed(trace.drive) if rst.side is Side.CLIENT else None,
        driven=_driven(trace.drive),
        coverage=trace.coverage,
        alerts=tuple(r for r in trace.drive.records if _notifies(r)),
        rewritten=rewritten,
    )


def _driven(drive: Drive) -> bool:
    """Whether it was our own connection: a capture has no diary."""
    return bool(drive.events)


def _trigger(rst: Segment, own: list[Segment], theirs: list[Segment]) -> Segment | None:
    """The peer's segment that provoked a passive RST: its ack is the RST's sequence number.

    What the sender still acknowledged provoked nothing. Of the others each draws an RST of its
    own, in order; a pure ACK is taken only where there is nothing else.
    """
    fits = [s for s in theirs if s.ack == rst.start]
    if not fits:
        return None
    acked = max((s.ack for s in own if s.ack is not None), default=0)
    strays = [s for s in fits if (s.length or s.fin) and s.end + s.fin > acked]
    if not strays:
        return fits[-1]
    drawn = sum(s.rst and s.ack is None and s.start == rst.start for s in own)
    return strays[min(drawn, len(strays) - 1)]


def _answered_to(drive: Drive, sender: Side, own: list[Segment]) -> int:
    """How far the sender has answered its peer, or acted on what it said.

    For a server that we drove: up to the last request whose response came, and to what it must
    have read to do what it did. Otherwise: what it had received when it last sent anything that
    is not an alert, which answers nothing but an alert.
    """
    loaded = [s for s in own if s.length]
    if sender is Side.SERVER and drive.mark is not None and _driven(drive):
        begun = (loaded[-1].ack or 0) if drive.cut_short and loaded else 0
        return max(drive.answered_to, _opened_to(drive), begun, _acted_on(drive, own))
    if not any(r.side is sender for r in drive.records):
        if loaded and loaded[-1].length in ALERT_SIZES:
            loaded.pop()
        return (loaded[-1].ack or 0) if loaded else 0
    said = max((r.end for r in drive.records if r.side is sender and not _alerts(r)), default=0)
    answers = [s.ack or 0 for s in loaded if s.start < said]
    return _ended_to(drive, sender, own, max(answers, default=0))


def _ended_to(drive: Drive, sender: Side, own: list[Segment], answered: int) -> int:
    """How far a stranger's close_notify answers, when its last data answered up to ``answered``.

    To a close_notify alone it is the answer. With a message before that, the message asked for
    the end (the protocol's goodbye), and what came behind it need not have been read.
    """
    theirs = [r.end for r in drive.records if r.side is sender and _notifies(r)]
    notice = next((s for s in own if theirs and s.end >= theirs[0]), None)
    if notice is None:
        return answered
    peers = [r for r in drive.records if r.side is sender.peer and r.end > answered]
    heard = [r for r in peers if r.end <= (notice.ack or 0)]
    messages = [r.end for r in heard if not _notifies(r)]
    return max(messages or [r.end for r in heard[:1]] or [answered])


def _alerts(record: Record) -> bool:
    return record.kind in {RecordKind.CLOSE_NOTIFY, RecordKind.ALERT}


def _opened_to(drive: Drive) -> int:
    """The offset up to which the server must have read to get where the judged part begins."""
    if drive.mark is not None and (drive.answered or not drive.owed):
        return drive.mark.client
    shaken = (r for r in drive.records if r.kind in {RecordKind.HANDSHAKE, RecordKind.PLAIN})
    return max((r.end for r in shaken if r.side is Side.CLIENT), default=0)


def _acted_on(drive: Drive, own: list[Segment]) -> int:
    """The offset of what asked for an end and got one.

    A goodbye asks for an end and no answer; a second one, or one behind our close_notify, need
    not have been read. Without one, a close_notify that the server sent when it had ours is its
    answer; behind a goodbye it would have come anyway.
    """
    ours = [r for r in drive.records if r.side is Side.CLIENT]
    first = next((r for r in ours if r.kind is RecordKind.GOODBYE or _notifies(r)), None)
    if first is not None and not _notifies(first):
        return first.end
    theirs = [r.end for r in drive.records if r.side is Side.SERVER and _notifies(r)]
    answer = next((s for s in own if theirs and s.end >= theirs[0]), None)
    known = (answer.ack or 0) if answer else 0
    return next((r.end for r in ours if _notifies(r) and r.end <= known), 0)


def _notifies(record: Record) -> bool:
    return record.kind is RecordKind.CLOSE_NOTIFY


def _notified(drive: Drive, rst: Segment) -> bool:
    return any(
        r.side is rst.side and (r.alert == (1, 0) or _notifies(r)) and r.end <= rst.start
        for r in drive.records
    )


def _own_deed(drive: Drive) -> EventKind | None:
    """What our side did, if it gave the connection up before it left."""
    given_up = {EventKind.ABORTED, EventKind.CLOSED}
    return next((e.kind for e in drive.events if e.kind in given_up), None)
