"""How far the sender of an RST has demonstrably read its peer.

An answer proves that its question was read, and nothing that arrived later: a response that was
owed before a close_notify and goes out behind it leaves open whether the close_notify was read.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import takewhile

from tlsprobe.model.alerts import FATAL
from tlsprobe.model.protocols import ASKED_ELSEWHERE
from tlsprobe.model.trace import (
    ALERTS,
    CLOSING_REMARKS,
    MESSAGES,
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

GIVING_UP = frozenset({EventKind.ABORTED, EventKind.CLOSED})
"""What our side does to give a connection up before it leaves."""

_OPENS = frozenset({RecordKind.HANDSHAKE, RecordKind.PLAIN})


def read_to(trace: Trace, rst: Segment, own: list[Segment], later: Iterable[Segment]) -> int:
    """The offset up to which the RST's sender is known to have read its peer's stream."""
    drive = trace.drive
    shaken = not drive.events or any(e.kind is EventKind.HANDSHAKEN for e in drive.events)
    if drive.events and rst.side is Side.SERVER and drive.mark is not None:
        begun = 0 if trace.protocol in ASKED_ELSEWHERE else _begun_to(drive, own)
        answered = max(drive.answered_to, _opened_to(drive, own), begun)
        if shaken:
            return max(answered, acted_on(drive, own))
        return max(answered, _answered_to(drive, rst.side, own, notices=False))
    if rst.side is Side.CLIENT and any(e.kind in GIVING_UP for e in drive.events):
        return _read_by_us(drive)
    if rst.side is Side.CLIENT and any(r.side is Side.CLIENT for r in drive.records):
        return _taken_to(drive, rst, own, later)
    return _answered_to(drive, rst.side, own, notices=shaken)


# --- our own connections --------------------------------------------------------------------------


def _read_by_us(drive: Drive) -> int:
    """What our program has read: it has a record of all that it did."""
    return max((r.end for r in drive.records if r.side is Side.SERVER), default=0)


def _opened_to(drive: Drive, own: list[Segment]) -> int:
    """The offset up to which the server must have read to get where the judged part begins."""
    hello = _refused_behind(drive, own)
    if hello is not None:
        return hello
    if drive.mark is not None and (drive.answered or not drive.owed):
        return drive.mark.client
    shaken = (r.end for r in drive.records if r.kind in _OPENS and r.side is Side.CLIENT)
    return max(shaken, default=0) if drive.begun is None else max(drive.begun.client, *shaken, 0)


def _refused_behind(drive: Drive, own: list[Segment]) -> int | None:
    """The end of our hello, where a fatal alert was all that the server said to what followed.

    In TLS 1.3 our side is done with the handshake by then. The server refuses a record of ours, a
    certificate mostly, and may leave unread what came behind that. None: it refused nothing so.
    """
    theirs = [r for r in drive.records if r.side is Side.SERVER]
    flight = list(takewhile(lambda r: r.kind is RecordKind.HANDSHAKE, theirs))
    behind = theirs[len(flight) :]
    if not flight or len(behind) != 1 or (behind[0].alert or (0, 0))[0] != FATAL:
        return None
    told = next((s.ack or 0 for s in own if s.length and s.end >= behind[0].end), 0)
    ours = [r for r in drive.records if r.side is Side.CLIENT and r.end <= told]
    if any(r.kind is not RecordKind.HANDSHAKE for r in ours):
        return None
    return max((r.end for r in ours if r.time_ns <= flight[-1].time_ns), default=0)


def _begun_to(drive: Drive, own: list[Segment]) -> int:
    """The end of the request whose response was begun: the first that has none."""
    if not drive.cut_short:
        return 0
    known = next((s.ack or 0 for s in reversed(own) if s.length), 0)
    asked = (r.end for r in drive.records if r.side is Side.CLIENT and r.kind in MESSAGES)
    return next((end for end in asked if drive.answered_to < end <= known), 0)


def acted_on(drive: Drive, own: list[Segment]) -> int:
    """The offset of what asked for an end and got one; 0 if nothing did.

    A goodbye asks for an end and no answer; a second one, one behind our close_notify, or one that
    came when the server had ended already, need not have been read. Without one, a close_notify
    that the server sent when it had ours is its answer, unless it had something else to say first,
    or had announced the end by itself: a goodbye that crosses the end of an earlier response is not
    its reason.
    """
    ours = [r for r in drive.records if r.side is Side.CLIENT]
    first = next((r for r in ours if r.kind is RecordKind.GOODBYE or notifies(r)), None)
    if first is not None and not notifies(first):
        return 0 if _was_ending(drive, first) or _had_ended(drive, first, own) else first.end
    theirs = next((r for r in drive.records if r.side is Side.SERVER and notifies(r)), None)
    if first is None or theirs is None or drive.remarks or _spoke_unasked(drive, theirs):
        return 0
    return first.end if _answers(theirs, first.end, own) else 0


def _was_ending(drive: Drive, goodbye: Record) -> bool:
    """Whether a response before the goodbye had said that it ends the connection."""
    said = any(remark.kind in CLOSING_REMARKS for remark in drive.remarks)
    return said and drive.answered_to <= goodbye.start


def _had_ended(drive: Drive, goodbye: Record, own: list[Segment]) -> bool:
    """Whether the server had ended TLS, or TCP, before it had the goodbye: for another reason."""
    notice = next((r for r in drive.records if r.side is Side.SERVER and notifies(r)), None)
    told = math.inf if notice is None else notice.end
    end = next((s for s in own if s.ends or (s.length and s.end >= told)), None)
    return end is not None and (end.ack or 0) < goodbye.end


def _spoke_unasked(drive: Drive, notice: Record) -> bool:
    """Whether the server said something before its close_notify that nothing of ours asked for.

    It announced the end (a farewell, a GOAWAY), which would have come without us.
    """
    if drive.mark is None or any(
        r.side is Side.CLIENT and r.kind in MESSAGES and r.end > drive.mark.client
        for r in drive.records
    ):
        return False
    said = (r for r in drive.records if r.side is Side.SERVER and r.kind is RecordKind.DATA)
    return any(drive.mark.server < r.end <= notice.start for r in said)


def _answers(notice: Record, end: int, own: list[Segment]) -> bool:
    """Whether a close_notify was the first word of its sender after it had the peer's ``end``."""
    for segment in own:
        if segment.length and (segment.ack or 0) >= end:
            return segment.start >= notice.start
    return False


# --- somebody else's ------------------------------------------------------------------------------


def _taken_to(drive: Drive, rst: Segment, own: list[Segment], later: Iterable[Segment]) -> int:
    """What a client need not answer: responses, unless more of one was still coming.

    Alerts and tickets behind its last request are nothing that it waited for. Of a handshake that
    it refused with an alert it need not have read more than the message that it refused: OpenSSL
    reads one record at a time, and a certificate is not the last of them.
    """
    answered = _answered_to(drive, Side.CLIENT, own, notices=False)
    acked = rst.ack or 0
    if any(s.side is Side.SERVER and s.length and s.end > acked for s in later):
        return answered
    refused = any(r.side is Side.CLIENT and r.kind is RecordKind.ALERT for r in drive.records)
    kinds = MESSAGES if refused else MESSAGES | _OPENS
    said = (r for r in drive.records if r.side is Side.SERVER and r.kind in kinds)
    return max(answered, max((r.end for r in said if r.end <= acked), default=0))


def _answered_to(drive: Drive, sender: Side, own: list[Segment], *, notices: bool = True) -> int:
    """What it had received of requests and responses when it last sent anything but an alert.

    ``notices``: a close_notify of its own counts as the answer to one, where nothing else does.
    In an unfinished handshake it may be what the library says of any failure.
    """
    loaded = [s for s in own if s.length and not s.rst]
    said = [r for r in drive.records if r.side is sender]
    if not said:
        if loaded and loaded[-1].length in ALERT_SIZES:
            loaded.pop()
        return (loaded[-1].ack or 0) if loaded else 0
    answers = (r.end for r in said if r.kind not in ALERTS and r.kind is not RecordKind.TICKET)
    known = _heard_by(loaded, max(answers, default=0))
    peers = [r for r in drive.records if r.side is sender.peer]
    asked = (r.end for r in peers if r.kind not in ALERTS and r.end <= known)
    answered = max(asked, default=0 if peers else known)
    # A ticket follows from the handshake; a request that came with that need not have been read.
    tickets = max((r.end for r in said if r.kind is RecordKind.TICKET), default=0)
    greeted = _heard_by(loaded, tickets)
    shaken = (r.end for r in peers if r.kind in _OPENS and r.end <= greeted)
    answered = max(answered, *shaken, 0)
    notice = next((r for r in said if notifies(r)), None)
    if notice is None or not notices:
        return answered
    return _ended_to(notice, own, peers, answered)


def _heard_by(loaded: list[Segment], reach: int) -> int:
    """How far the peer was acknowledged in the last of the segments up to ``reach``."""
    return max((s.ack or 0 for s in loaded if s.start < reach), default=0)


def _ended_to(notice: Record, own: list[Segment], peers: list[Record], answered: int) -> int:
    """How far a stranger's close_notify answers, when its last data answered up to ``answered``.

    To a close_notify alone it is the answer. With a message before that, the message asked for
    the end (the protocol's goodbye), and what came behind it need not have been read: nobody reads
    on behind an alert that ends TLS, and any of the peer's may be one.
    """
    known = next((s.ack or 0 for s in own if s.end >= notice.end), 0)
    heard = [r for r in peers if answered < r.end <= known]
    messages = list(takewhile(lambda r: not _may_be_alert(r), heard))
    if messages:
        return messages[-1].end
    if heard and _answers(notice, heard[0].end, own):
        return heard[0].end
    return answered


def _may_be_alert(record: Record) -> bool:
    """Whether it is an alert, or what has the size of one, whose type nobody sees in TLS 1.3."""
    return record.kind in ALERTS or record.end - record.start in ALERT_SIZES


def notifies(record: Record) -> bool:
    """Whether it is a close_notify."""
    return record.kind is RecordKind.CLOSE_NOTIFY
