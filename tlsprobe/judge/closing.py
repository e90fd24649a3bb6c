"""How a connection ended: axes, outcome and signature, from a trace.

First the trace becomes a list of wire_events (this record's last byte passed here, that FIN there)
and everything else is read off that list. With a whole capture the wire_events come from the wire;
without one, or with holes in it, from what our own socket and TLS told us, which know less (a reset
behind an EOF is unseen) but invent nothing. Somebody else's capture is all there is of a
connection, and is taken as it is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from tlsprobe.judge.owed import MEET_WITHIN_NS, ServerEnd, data_end, stuck_behind
from tlsprobe.judge.unheeded import unheeded_ends
from tlsprobe.model.judgement import Axes, DataEnd, Outcome, Reader, TcpEnd, TlsEnd, Word
from tlsprobe.model.trace import (
    Coverage,
    Drive,
    EventKind,
    Record,
    RecordKind,
    Segment,
    Side,
    Stage,
    Trace,
)

LETTERS = {
    RecordKind.DATA: "d",
    RecordKind.PLAIN: "d",
    RecordKind.GOODBYE: "g",
    RecordKind.CLOSE_NOTIFY: "n",
    RecordKind.ALERT: "a",
    RecordKind.HANDSHAKE: "h",
    RecordKind.KEY_UPDATE: "k",
    RecordKind.MALFORMED: "x",
}
"""Signature letters of records, lower case; tickets have none.

Handshake messages come before the judged part, unless the sequence ends in the handshake.
"""

FIN, RST = "f", "r"

_OWN_ENDS = {
    EventKind.FIN_SENT: (Side.CLIENT, FIN),
    EventKind.CLOSED: (Side.CLIENT, FIN),
    EventKind.ABORTED: (Side.CLIENT, RST),
    EventKind.EOF: (Side.SERVER, FIN),
    EventKind.RESET: (Side.SERVER, RST),
    EventKind.BROKEN_PIPE: (Side.SERVER, RST),
}


class WireEvent(NamedTuple):
    """One letter of the signature. ``packet`` groups what shared a segment (None: not captured).

    ``place`` is where it stands among the events of its closing, from 0.
    """

    time_ns: int
    side: Side
    letter: str
    packet: int | None = None
    place: int = 0


_Event = tuple[int, Side, str, int | None]
"""A wire event before it is known where it stands."""


@dataclass(frozen=True, slots=True)
class Closing:
    """The wire_events after the opening exchange, with the first of each kind at hand.

    ``server_end`` is where the server ended its TCP write side: its first FIN or RST;
    ``server_began`` where it first ended anything: with an alert, a FIN or an RST. FINs and RSTs in
    ``unheeded`` packets are among the events and ended nothing.
    """

    wire_events: tuple[WireEvent, ...]
    firsts: dict[tuple[Side, str], WireEvent]
    server_end: WireEvent | None = None
    server_began: WireEvent | None = None
    unheeded: frozenset[int] = frozenset()

    def first(self, side: Side, *letters: str) -> WireEvent | None:
        """The first wire_event of ``side`` with one of these letters."""
        firsts, found = self.firsts, None
        for letter in letters:
            event = firsts.get((side, letter))
            if event is not None and (found is None or event.place < found.place):
                found = event
        return found

    def until(self, event: WireEvent) -> Closing:
        """What went before one of its events."""
        return _closing(self.wire_events[: event.place], self.unheeded)


def _closing(events: tuple[WireEvent, ...], unheeded: frozenset[int]) -> Closing:
    heeded = [e for e in events if e.letter not in _ENDS or e.packet not in unheeded]
    firsts = {(e.side, e.letter): e for e in reversed(heeded)}
    ended = began = None
    for event in heeded:
        if event.side is Side.SERVER and event.letter in _ENDING:
            began = began or event
            if event.letter in _ENDS:
                ended = event
                break
    return Closing(events, firsts, ended, began, unheeded)


_ENDS = frozenset({FIN, RST})
_ENDING = frozenset({"n", "a", FIN, RST})


def before(one: WireEvent | None, other: WireEvent | None) -> bool:
    """Whether ``one`` happened, and not after ``other``, which is of the same closing."""
    return one is not None and (other is None or one.place <= other.place)


def closing_of(trace: Trace) -> Closing:
    """The wire_events of a trace, in the order in which they passed."""
    from_wire = trace.coverage is Coverage.WHOLE or not trace.drive.events
    found = _seen(trace) if from_wire else _told(trace.drive)
    events = tuple(WireEvent(*event, place) for place, event in enumerate(found))
    return _closing(events, unheeded_ends(trace))


def axes_of(trace: Trace, closing: Closing) -> Axes:
    """The four answers to "how did it end"."""
    tcp = _tcp_end(closing)
    reader = _reader_behind(trace.drive) or _reader(tcp)
    return Axes(_tls_end(closing), tcp, _data_end(trace, closing), reader)


def ending_of(trace: Trace, closing: Closing) -> ServerEnd | None:
    """Where the server began to end TLS or TCP, and what it had received by then.

    Of a request that met its idle expiry its kernel may have had all, and it nothing yet.
    """
    event = closing.first(Side.SERVER, "n", FIN, RST)
    if event is None:
        return None
    if trace.drive.did(EventKind.MEETS) is not None and closing.first(Side.SERVER, RST) is None:
        return ServerEnd(event.time_ns - MEET_WITHIN_NS, None)
    segment = trace.segment(event.packet)
    owes = trace.drive.owed > trace.drive.answered
    stuck = stuck_behind(trace, event.time_ns) if owes else None
    return ServerEnd(event.time_ns, None if segment is None else segment.ack, stuck)


def outcome_of(trace: Trace, closing: Closing, axes: Axes) -> Outcome:
    """The axes in one word; what lost data outranks how it was lost."""
    drive = trace.drive
    if drive.failure is not None or drive.ended_early:
        return _not_reached(drive)
    aborted = closing.first(Side.CLIENT, RST)
    forged = drive.shaped and before(aborted, closing.server_end)  # and our socket went on
    if axes.tcp is TcpEnd.OPEN or forged:
        return Outcome.OPEN if aborted is None else Outcome.CLIENT_RESET
    if axes.data is DataEnd.TRUNCATED:
        return Outcome.DATA_LOST
    if axes.tcp is TcpEnd.RESET:
        return Outcome.RESET_BEFORE_FIN
    if axes.tcp is TcpEnd.FIN_RESET:
        return Outcome.RESET_AFTER_FIN
    unheard = Outcome.CLIENT_RESET if left_unread(trace) else Outcome.NO_CLOSE_NOTIFY
    return Outcome.CLEAN if axes.tls is TlsEnd.NOTIFIED else unheard


def left_unread(trace: Trace) -> bool:
    """Whether we aborted, or closed, with bytes of the server's unread that had been on the wire.

    Which records they were nobody knows: a close_notify may be among them.
    """
    return any(e.kind in _GONE for e in trace.drive.events) and has_unread(trace)


def has_unread(trace: Trace) -> bool:
    """Whether something of the server's came, by the wire, that is in no record that we read."""
    read = max((r.end for r in trace.drive.records if r.side is Side.SERVER), default=0)
    return any(s.side is Side.SERVER and s.length and s.end > read for s in trace.segments)


_GONE = frozenset({EventKind.ABORTED, EventKind.CLOSED})


def words_of(closing: Closing) -> tuple[Word, ...]:
    """What each segment brought, a letter an event.

    Runs of data are one letter, in a segment and across segments.
    """
    words: list[Word] = []
    last: tuple[Side, int | None] | None = None
    for event in closing.wire_events:
        side, letter = event.side, event.letter
        goes_on = words[-1:] and words[-1].side is side and words[-1].letters[-1] == letter
        if letter in "dh" and goes_on:
            continue
        if event.packet is not None and last == (side, event.packet):
            words[-1] = Word(side, words[-1].letters + letter)
        else:
            words.append(Word(side, letter))
        last = side, event.packet
    return tuple(words)


def timing_of(trace: Trace, closing: Closing) -> dict[str, float]:
    """Durations in microseconds between the wire_events that people ask about."""
    if trace.drive.ended_early:
        return {}
    ours = closing.first(Side.CLIENT, "n")
    theirs = closing.first(Side.SERVER, "n")
    goodbye = closing.first(Side.CLIENT, "g")
    fin = closing.first(Side.SERVER, FIN)
    end = closing.server_end
    spans = {
        "close_notify_to_answer": (ours, theirs),
        "close_notify_to_fin": (ours, fin),
        "goodbye_to_end": (goodbye, end),
        "server_close_notify_to_fin": (theirs, fin),
    }
    return {
        name: (after.time_ns - before.time_ns) / 1000
        for name, (before, after) in spans.items()
        if before is not None and after is not None and after.time_ns >= before.time_ns
    }


def _seen(trace: Trace) -> Iterator[_Event]:
    """What the capture shows; retransmitted bytes and FINs count once."""
    reach = _floor(trace.drive)
    pending = {side: deque(records) for side, records in judged_part(trace.drive).items()}
    finished: set[Side] = set()
    for segment in trace.segments:
        side, length = segment.side, segment.length
        if not length and not segment.ends:
            continue
        time_ns, number = segment.time_ns, segment.number
        if segment.rst:
            yield time_ns, side, RST, number
            continue
        end = segment.start + length
        if trace.drive.shaped and side is Side.CLIENT:  # out of order, perhaps
            for letter in _brought(pending[side], segment):
                yield time_ns, side, letter, number
        elif length and end > reach[side]:
            reach[side] = end
            for letter in _passed(pending[side], end):
                yield time_ns, side, letter, number
        if segment.fin and side not in finished:
            finished.add(side)
            yield time_ns, side, FIN, number


def _brought(pending: deque[Record], segment: Segment) -> Iterator[str]:
    """The letters of the records whose last byte a segment brings, whatever lacks before them."""
    for record in tuple(pending):
        if segment.start < record.end <= segment.end:
            pending.remove(record)
            if record.kind in LETTERS:
                yield LETTERS[record.kind]


def _passed(pending: deque[Record], end: int) -> Iterator[str]:
    """The letters of records that are there up to ``end``, and of bytes that nobody could name."""
    if not pending:
        yield "d"
    while pending and pending[0].end <= end:
        letter = LETTERS.get(pending.popleft().kind)
        if letter is not None:
            yield letter


def judged_part(drive: Drive) -> dict[Side, list[Record]]:
    """The records of each side behind the opening exchange."""
    floor = _floor(drive)
    part: dict[Side, list[Record]] = {Side.CLIENT: [], Side.SERVER: []}
    for record in drive.records:
        if record.end > floor[record.side]:
            part[record.side].append(record)
    return part


def _floor(drive: Drive) -> dict[Side, int]:
    """The offset of each side at which the judged part begins."""
    mark = drive.mark
    return {Side.CLIENT: mark.client, Side.SERVER: mark.server} if mark else dict.fromkeys(Side, 0)


def _told(drive: Drive) -> Iterator[_Event]:
    """What our own socket knows.

    A write that fails tells of the server's RST before we have read what came ahead of it: the RST
    stands behind all that the server sent.
    """
    floor = _floor(drive)
    told: list[_Event] = [
        (record.time_ns, record.side, LETTERS[record.kind], None)
        for record in drive.records
        if record.kind in LETTERS and record.end > floor[record.side]
    ]
    ends: dict[tuple[Side, str], _Event] = {}
    for event in drive.events:
        if event.kind in _OWN_ENDS:  # a FIN, like a reset, counts once, however often we met it
            ends.setdefault(_OWN_ENDS[event.kind], (event.time_ns, *_OWN_ENDS[event.kind], None))
    reset = ends.pop((Side.SERVER, RST), None)
    told += ends.values()
    if reset is not None:
        last = max((event[0] for event in told if event[1] is Side.SERVER), default=reset[0])
        told.append((max(reset[0], last), *reset[1:]))
    yield from sorted(told, key=lambda event: event[0])


def _tls_end(closing: Closing) -> TlsEnd:
    end = closing.server_end
    if before(closing.first(Side.SERVER, "n"), end):
        return TlsEnd.NOTIFIED
    if before(closing.first(Side.SERVER, "a"), end):
        return TlsEnd.ALERT
    return TlsEnd.SILENT


def _tcp_end(closing: Closing) -> TcpEnd:
    fin, rst = closing.first(Side.SERVER, FIN), closing.first(Side.SERVER, RST)
    if fin is None:
        return TcpEnd.OPEN if rst is None else TcpEnd.RESET
    if rst is None:
        return TcpEnd.FIN
    return TcpEnd.FIN_RESET if before(fin, rst) else TcpEnd.RESET


def _data_end(trace: Trace, closing: Closing) -> DataEnd:
    drive = trace.drive
    left = drive.answered < drive.owed
    return data_end(drive, ending_of(trace, closing) if left else None)


def _reader(tcp: TcpEnd) -> Reader:
    if tcp is TcpEnd.OPEN:
        return Reader.TIMEOUT
    return Reader.RESET if tcp is TcpEnd.RESET else Reader.EOF


def _reader_behind(drive: Drive) -> Reader | None:
    """What our socket was told, where our own path may have changed what came first."""
    told = {EventKind.EOF: Reader.EOF, EventKind.RESET: Reader.RESET}
    if not any(s.side is Side.SERVER for s in drive.shaped):
        return None
    return next((told[e.kind] for e in drive.events if e.kind in told), Reader.TIMEOUT)


def _not_reached(drive: Drive) -> Outcome:
    if drive.ended_early:
        return Outcome.ENDED_BEFORE_START
    if drive.refused:
        return Outcome.REFUSED
    return Outcome.HANDSHAKE_FAILED if drive.stage is Stage.HANDSHAKE else Outcome.ERROR
