"""What is amiss at the end of a connection that nobody, or not only somebody's RST, ended.

What came first is told by the packets' times: a capture of several interfaces need not be in order.

Nothing is claimed that the packets do not bear out. A sender that repeats itself has had no answer,
whatever was captured of its peer; but a FIN that is not in a capture may have been sent all the
same: so each side must have been seen to the end of what the other acknowledged, and what rests on
a silence needs enough of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from tlsprobe.judge.refusals import completing, other_language, refused
from tlsprobe.model.explanation import Trouble, TroubleKind
from tlsprobe.model.trace import ALERTS, Flag, Record, RecordKind, Segment, Side, Trace

_S = 10**9
_FIN, _RST = Flag.FIN, Flag.RST

TRIES = 3
"""So often the same thing must have been sent before it says that nothing answered."""

SHORTEST_NS = _S
"""Over such a time it must have been sent; a window must have been shut as long."""

SLOW_NS = 2 * _S
"""A close that takes longer is slow."""

LEAK_NS = 60 * _S
"""So long nothing may happen on a connection of which one side has closed."""

MOST_PACKETS = 8
"""So many packets are named."""


_ALERT_BYTES = 24
"""A sealed alert of TLS 1.3 with its head; one that is padded would be longer."""


class Owed(NamedTuple):
    """What a side had begun and not finished.

    ``what`` is ``record``, ``content-length``, ``chunks``, ``stream`` (of HTTP/2, whose response
    had begun) or ``goaway`` (one that the server's GOAWAY took, without a response). ``octets`` are
    None where nobody knows how many, ``stream`` where there is none.
    """

    what: str
    octets: int | None = None
    stream: int | None = None


@dataclass(frozen=True, slots=True)
class Remains:
    """What is known of a connection beside its trace.

    ``until_ns`` is the time of the last packet of the whole capture, ``lossy`` says that it lacks
    packets that passed. ``tls`` are the sides that speak TLS in the open, ``owed`` what each had
    not finished when it ended.
    """

    until_ns: int
    lossy: bool = False
    tls: frozenset[Side] = frozenset()
    plain: frozenset[Side] = frozenset()
    owed: Mapping[Side, Owed] = field(default_factory=dict)


def troubles_of(trace: Trace, remains: Remains) -> tuple[Trouble, ...]:
    """What is amiss, the worst first."""
    segments = tuple(sorted(trace.segments, key=_when))
    ends = {side: _Direction.of(segments, side) for side in Side}
    resets = tuple([segment for segment in segments if segment.flags & _RST])
    found = [*_cut_short(ends, resets, remains), *_repeated(ends, resets)]
    if not resets:
        found += refused(trace, segments)
        found += other_language(trace, segments, remains.tls, remains.plain)
        found += _unanswered(segments)
        vanished = list(_vanished(ends))
        found += vanished
        found += [] if vanished else _zero_window(ends)
        found += _half_closed(ends, remains)
        found += _slow_close(trace, segments, ends)
        found += _no_close_notify(trace, ends, remains)
    order = tuple(TroubleKind)
    return tuple(sorted(found, key=lambda trouble: order.index(trouble.kind)))


@dataclass(frozen=True, slots=True)
class _Direction:
    """What one side sent, and what its peer said of it.

    ``reached`` is the offset behind its last byte, its FIN included; ``acked`` how much of that the
    peer acknowledged.
    """

    side: Side
    sent: tuple[Segment, ...]
    heard: tuple[Segment, ...]
    reached: int
    acked: int
    fins: tuple[Segment, ...]

    @classmethod
    def of(cls, segments: Sequence[Segment], side: Side) -> _Direction:
        """One direction of a connection."""
        sent: list[Segment] = []
        heard: list[Segment] = []
        acked = 0
        for segment in segments:
            if segment.flags & _RST:
                continue
            if segment.side is side:
                sent.append(segment)
                continue
            heard.append(segment)
            if segment.ack is not None and segment.ack > acked:
                acked = segment.ack
        return cls(
            side=side,
            sent=tuple(sent),
            heard=tuple(heard),
            reached=max([s.behind for s in sent], default=0),
            acked=acked,
            fins=tuple([s for s in sent if s.flags & _FIN]),
        )

    @property
    def fin(self) -> Segment | None:
        """Its FIN, the first time."""
        return self.fins[0] if self.fins else None

    @property
    def is_seen_to_its_end(self) -> bool:
        """Whether all that the peer acknowledged is there."""
        return bool(self.sent) and self.acked <= self.reached

    @property
    def has_fin_acknowledged(self) -> bool:
        """Whether the peer has its FIN."""
        return self.fin is not None and self.acked >= self.fin.end + 1


_Ends = Mapping[Side, _Direction]


def _numbers(segments: Sequence[Segment]) -> tuple[int, ...]:
    """The packets, of many the first and the last ones."""
    numbers = [segment.number for segment in segments]
    if len(numbers) > MOST_PACKETS:
        numbers = numbers[: MOST_PACKETS - 1] + numbers[-1:]
    return tuple(numbers)


def _when(segment: Segment) -> tuple[int, int]:
    return segment.time_ns, segment.number


def _seconds(since: Segment, until: Segment) -> float:
    return (until.time_ns - since.time_ns) / _S


def _is_enough(tries: Sequence[Segment]) -> bool:
    """Whether something was sent often and long enough to say that nobody answered."""
    return len(tries) >= TRIES and tries[-1].time_ns - tries[0].time_ns >= SHORTEST_NS


# --- nobody there ---------------------------------------------------------------------------------


def _unanswered(segments: Sequence[Segment]) -> Iterator[Trouble]:
    """A SYN that is repeated, and nothing else: whoever had an answer goes on from it."""
    if not segments or any(not s.syn or s.ack is not None for s in segments):
        return
    side = segments[0].side
    if any(s.side is not side or s.start != -1 for s in segments) or not _is_enough(segments):
        return
    yield Trouble(
        TroubleKind.UNANSWERED,
        side.peer,
        _numbers(segments),
        segments[0].time_ns,
        seconds=_seconds(segments[0], segments[-1]),
    )


def _vanished(ends: _Ends) -> Iterator[Trouble]:
    """The same bytes, or probes, again and again, and not a word from the peer.

    The peer had spoken before, and the sender went on to nothing else.
    """
    for side, own in ends.items():
        tries = _tries(own)
        if not _is_enough(tries) or not own.heard or own.heard[0].time_ns > tries[0].time_ns:
            continue
        silent = own.heard[-1].time_ns <= tries[0].time_ns
        was_there = any(not s.syn for s in own.heard)
        if silent and was_there and own.sent[-1] is tries[-1]:
            yield Trouble(
                TroubleKind.VANISHED,
                side.peer,
                _numbers(tries),
                tries[0].time_ns,
                seconds=_seconds(tries[0], tries[-1]),
                what="data" if own.reached > own.acked else "probes",
            )


def _tries(own: _Direction) -> list[Segment]:
    """The segments that carry the first thing that is not acknowledged; without one, the probes."""
    if own.reached > own.acked:
        return [s for s in own.sent if s.start <= own.acked < s.end + s.fin]
    return [s for s in own.sent if s.start == own.acked - 1 and s.length <= 1 and not s.syn]


# --- a window that is shut ------------------------------------------------------------------------


def _zero_window(ends: _Ends) -> Iterator[Trouble]:
    """The reader's window was shut when the other side had more to send, and did not close."""
    for side, writer in ends.items():
        shut = _last_shut(writer.heard)
        if not shut or not any(s.window for s in writer.heard if not s.syn):
            continue
        opened = next((s for s in writer.heard if _when(s) > _when(shut[-1])), None)
        until = opened or max((*shut, *writer.sent), key=lambda s: s.time_ns)
        probes = [
            s
            for s in writer.sent
            if shut[0].time_ns < s.time_ns <= until.time_ns and _probes(s, shut[0].ack)
        ]
        if not probes or until.time_ns - shut[0].time_ns < SHORTEST_NS:
            continue
        if opened is None and writer.fin is None:
            what = "never-opened"
        elif opened is not None and _closes_behind(writer.fin, opened):
            what = "opened-late"
        else:
            continue
        named = (shut[0], *probes[:MOST_PACKETS], until)
        yield Trouble(
            TroubleKind.ZERO_WINDOW,
            side.peer,
            _numbers(sorted(set(named), key=lambda s: s.number)),
            shut[0].time_ns,
            seconds=_seconds(shut[0], until),
            what=what,
        )


def _last_shut(heard: Sequence[Segment]) -> list[Segment]:
    """The last run of segments that say that the window is shut."""
    run: list[Segment] = []
    for segment in reversed(heard):
        if segment.syn or segment.window:
            if run:
                break
            continue
        run.insert(0, segment)
    return run


def _probes(segment: Segment, ack: int | None) -> bool:
    """Whether it asks if the window is still shut: the byte before, or a single next one."""
    if ack is None or segment.fin or segment.length > 1:
        return False
    return segment.start == ack - 1 or (segment.start == ack and segment.length == 1)


def _closes_behind(fin: Segment | None, opened: Segment) -> bool:
    """Whether the FIN went out as soon as it could."""
    return fin is not None and 0 <= fin.time_ns - opened.time_ns <= SHORTEST_NS


# --- one side has closed, and the other has not ---------------------------------------------------


_LONGEST_NS = 14 * 86_400 * _S
"""No capture waits so long for a FIN: it was put together of several, or a clock was wrong."""


def _half_closed(ends: _Ends, remains: Remains) -> Iterator[Trouble]:
    for side, own in ends.items():
        peer = ends[side.peer]
        if own.fin is None or peer.fins or remains.lossy:
            continue
        if not own.has_fin_acknowledged or not peer.is_seen_to_its_end:
            continue
        loaded = [s.time_ns for s in peer.sent if s.length and s.time_ns > own.fin.time_ns]
        quiet_ns = remains.until_ns - max(own.fin.time_ns, *loaded, 0)
        if LEAK_NS <= quiet_ns <= _LONGEST_NS:
            yield Trouble(
                TroubleKind.HALF_CLOSED,
                side.peer,
                (own.fin.number,),
                own.fin.time_ns,
                seconds=quiet_ns / _S,
                what="data" if loaded else "",
            )


def _slow_close(trace: Trace, segments: Sequence[Segment], ends: _Ends) -> Iterator[Trouble]:
    """The time between what began the close and what ended it, less that of data in between."""
    fins = [d.fin for d in ends.values() if d.fin is not None]
    if not fins or not all(d.is_seen_to_its_end for d in ends.values()):
        return
    first = min(fins, key=_when)
    later = ends[first.side.peer].fin
    if later is not None and _is_prompt(ends[first.side], first):
        yield from _waited(segments, first, later, later.side, "fin")
    notice = _first_notice(trace, segments)
    if notice is not None and _when(notice[0]) < _when(first):
        segment, record = notice
        what = "own-fin" if first.side is record.side else "fin"
        if what == "own-fin" and _is_answered(trace, record, first):
            return
        sure = record.alert is not None
        yield from _waited(segments, segment, first, record.side.peer, what, sure=sure)


def _is_answered(trace: Trace, notice: Record, fin: Segment) -> bool:
    """Whether the other side had ended its own direction of TLS before this FIN."""
    others = (r for r in trace.drive.records if r.side is not notice.side and r.kind in ALERTS)
    return any(record.time_ns <= fin.time_ns for record in others)


def _waited(
    segments: Sequence[Segment],
    since: Segment,
    until: Segment,
    on: Side,
    what: str,
    *,
    sure: bool = True,
) -> Iterator[Trouble]:
    between = [
        s.time_ns
        for s in segments
        if _when(since) < _when(s) < _when(until) and s.length and not s.syn
    ]
    waited = until.time_ns - max(since.time_ns, *between, 0)
    if waited >= SLOW_NS:
        numbers = (since.number, until.number)
        time_ns, seconds = since.time_ns, waited / _S
        told = "alert" if what == "own-fin" or not since.fin else "fin"
        kind = TroubleKind.SLOW_CLOSE
        yield Trouble(kind, on, numbers, time_ns, seconds, what=f"{told}-{what}", sure=sure)


def _is_prompt(own: _Direction, fin: Segment) -> bool:
    """Whether the peer had the FIN soon: otherwise the path is what was slow."""
    acks = (s for s in own.heard if s.ack is not None and s.ack >= fin.end + 1)
    first = next(acks, None)
    return first is not None and first.time_ns - fin.time_ns <= SHORTEST_NS


def _first_notice(trace: Trace, segments: Sequence[Segment]) -> tuple[Segment, Record] | None:
    """The first close_notify, and the segment that completed it."""
    notices = [r for r in trace.drive.records if r.kind is RecordKind.CLOSE_NOTIFY]
    for record in sorted(notices, key=lambda r: r.time_ns):
        if (segment := completing(record, segments)) is not None:
            return segment, record
    return None


# --- what was left unsaid -------------------------------------------------------------------------


def _no_close_notify(trace: Trace, ends: _Ends, remains: Remains) -> Iterator[Trouble]:
    """A FIN that nothing announced, on a connection that had come to its data."""
    if not any(r.kind is RecordKind.DATA for r in trace.drive.records if r.side in remains.tls):
        return
    for side in remains.tls:
        own, records = ends[side], [r for r in trace.drive.records if r.side is side]
        fin = own.fin
        if fin is None or not records or side in remains.owed:
            continue
        announced = any(r.kind in ALERTS for r in records)
        is_whole = own.is_seen_to_its_end and max(r.end for r in records) == fin.end
        if announced or not is_whole or not _is_read_by(ends[side.peer], own, fin):
            continue
        if _answers_the_end(trace, side, fin):
            continue
        last = max(records, key=lambda r: r.end)
        kind = TroubleKind.NO_CLOSE_NOTIFY
        sure = trace.drive.tls not in {None, "1.3"}
        if not sure and any(_may_be_alert(r) for r in records):
            continue
        yield Trouble(kind, side, (fin.number,), last.time_ns, sure=sure)


def _answers_the_end(trace: Trace, side: Side, fin: Segment) -> bool:
    """Whether the peer had ended TLS for both, as a close_notify does before TLS 1.3.

    What was still to be written is dropped then (RFC 5246 section 7.2.1). Where something was said
    all the same, who reads it cannot tell whether it was all.
    """
    last = next((r for r in reversed(trace.drive.records) if r.side is side.peer), None)
    if trace.drive.tls in {None, "1.3"} or last is None or last.end > (fin.ack or 0):
        return False
    said = (r.time_ns for r in trace.drive.records if r.side is side)
    return last.kind is RecordKind.CLOSE_NOTIFY and max(said, default=0) <= last.time_ns


def _may_be_alert(record: Record) -> bool:
    return record.kind is RecordKind.DATA and record.end - record.start <= _ALERT_BYTES


def _is_read_by(peer: _Direction, own: _Direction, fin: Segment) -> bool:
    """Whether the peer was still there to be misled: it had not closed, or was sent data since.

    A FIN that acknowledges more than was captured of the peer may acknowledge the peer's end.
    """
    if (fin.ack or 0) > peer.reached:
        return False
    if peer.fin is None or _when(peer.fin) > _when(fin):
        return True
    return any(s.length and _when(s) > _when(peer.fin) for s in own.sent)


def _cut_short(ends: _Ends, resets: tuple[Segment, ...], remains: Remains) -> Iterator[Trouble]:
    """Something that had been begun when its sender ended, and its peer had not."""
    for side, owed in remains.owed.items():
        own, peer = ends[side], ends[side.peer]
        if not own.is_seen_to_its_end:
            continue
        end = own.fin or next((rst for rst in resets if rst.side is side), None)
        theirs = (*peer.fins, *(rst for rst in resets if rst.side is not side))
        if end is not None and all(_when(other) > _when(end) for other in theirs):
            kind, numbers = TroubleKind.CUT_SHORT, (end.number,)
            yield Trouble(
                kind,
                side,
                numbers,
                end.time_ns,
                octets=owed.octets,
                stream=owed.stream,
                what=owed.what,
            )


def _repeated(ends: _Ends, resets: tuple[Segment, ...]) -> Iterator[Trouble]:
    """A FIN that had to be sent again and again and came through at last; RST after RST."""
    for side, own in ends.items():
        again = [("FIN", own.fins)] if own.has_fin_acknowledged and _is_enough(own.fins) else []
        rsts = tuple(rst for rst in resets if rst.side is side)
        again += [("RST", rsts)] if own.sent and len(rsts) >= TRIES else []
        for what, sent in again:
            yield Trouble(
                TroubleKind.REPEATED,
                side,
                _numbers(sent),
                sent[0].time_ns,
                seconds=_seconds(sent[0], sent[-1]),
                what=what,
            )
