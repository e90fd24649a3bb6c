"""What a trial tells about others: told from its trace without asking for any cause."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from tlsprobe.judge.behind_alert import spoke_behind
from tlsprobe.judge.causes import looks_foreign, resets_of
from tlsprobe.judge.causes.answers import read_to
from tlsprobe.judge.causes.visible import visible
from tlsprobe.judge.closing import closing_of
from tlsprobe.judge.early import ended_before_start
from tlsprobe.judge.foreign_fin import foreign_signs
from tlsprobe.judge.maker import answers_our_fin, is_like_a_proxys, is_wordless, spoke_alert
from tlsprobe.judge.waiting import LONG_NS, ends_with_response, silence_of
from tlsprobe.model.judgement import Control
from tlsprobe.model.knowledge import AlertAlone, CellEnds, Digest, Silence, Visible
from tlsprobe.model.trace import (
    MESSAGES,
    Coverage,
    Drive,
    Mark,
    Record,
    RecordKind,
    Side,
    Trace,
)


def digest_of(trace: Trace) -> Digest:
    """Who reset, before its FIN or after, and whether that can be vouched for."""
    early = trace.drive.ended_early or ended_before_start(trace) is not None
    fin = before = after = False
    gave_up: int | None = None
    behind_fin: int | None = None
    end: int | None = None
    for index, segment in enumerate(trace.segments):
        if segment.side is not Side.SERVER:
            continue
        if end is None and segment.ends:
            end = index
        if segment.rst:
            before, after = before or not fin, after or fin
            if gave_up is None and not fin and segment.ack is not None:
                gave_up = index
            if behind_fin is None and fin and segment.ack is not None:
                behind_fin = index
        elif segment.fin:
            fin = True
    decided = gave_up is not None or behind_fin is not None
    wordless, unasked, at_fin = (False, False, False) if early else _wordless(trace)
    shown = visible(trace.drive, trace.segments[:end])
    return Digest(
        reached=trace.drive.failure is None and not early,
        conclusive=trace.coverage is not Coverage.HOLES,
        before_fin=before,
        after_fin=after,
        gave_up=gave_up is not None,
        fins=fin and not before,
        aborts=gave_up is not None and _has_read_all(trace, gave_up),
        aborts_after=behind_fin is not None and _has_read_all(trace, behind_fin),
        alone=_only_notified(trace.drive),
        silence=None if early else _long_silence(trace),
        spoke=spoke_behind(trace.drive),
        took_ns=_took_ns(trace),
        foreign=decided and any(map(looks_foreign, resets_of(trace))),
        visible=shown,
        wordless=wordless,
        unasked=unasked and Visible.UNFINISHED not in shown,  # where it has another way
        at_fin=at_fin,
        heard_out=not early and _is_heard_out(trace),
    )


def _wordless(trace: Trace) -> tuple[bool, bool, bool]:
    """Whether it ended with a FIN and no alert; where no proxy would; when our FIN was there."""
    if spoke_alert(trace):
        return False, False, False  # as most do: how it closed need not be looked at for that
    closing = closing_of(trace)
    end = closing.server_end
    if end is None or not is_wordless(trace, closing):
        return False, False, False
    at_fin = answers_our_fin(trace, closing, end)
    unasked = not at_fin and not is_like_a_proxys(trace, closing)
    return True, unasked and not foreign_signs(trace, end.packet), at_fin


def _is_heard_out(trace: Trace) -> bool:
    """Whether a response came whole, and its first byte when our FIN was there, with no rest owed.

    A proxy that ends a connection when either side has ended its half does so at once.
    """
    drive, mark = trace.drive, trace.drive.mark
    if mark is None or drive.answered < drive.owed or drive.answered_to <= mark.client:
        return False
    fin = next((s for s in trace.segments if s.fin and s.side is Side.CLIENT), None)
    theirs = (s for s in trace.segments if s.length and s.side is Side.SERVER)
    first = next((s for s in theirs if s.end > mark.server), None)
    if fin is None or first is None:
        return False
    return first.number > fin.number and (first.ack or 0) > fin.end


def _took_ns(trace: Trace) -> int:
    """How long the server took for its first word behind the opening, by the wire.

    It counts from the first byte of the last message that had begun by then: of an upload the
    server takes its time to read all, and may answer before it has.
    """
    mark = trace.drive.mark
    if mark is None:
        return 0
    after = (s for s in trace.segments if s.side is Side.SERVER and s.length)
    word = next((s for s in after if s.end > mark.server), None)
    asked = [r.start for r in trace.drive.records if _asks(r, mark)]
    if word is None or not asked:
        return 0
    began = [
        s.time_ns
        for s in trace.segments
        if s.side is Side.CLIENT
        and s.number < word.number
        and any(s.start <= start < s.end for start in asked)
    ]
    return max(0, word.time_ns - began[-1]) if began else 0


def _asks(record: Record, mark: Mark) -> bool:
    """Whether it is a message of ours behind the opening."""
    return record.side is Side.CLIENT and record.kind in MESSAGES and record.end > mark.client


def _long_silence(trace: Trace) -> Silence | None:
    """The silence that the server ended, if it may have been a timer's."""
    events = trace.drive.events
    if not events or events[-1].time_ns - events[0].time_ns < LONG_NS:
        return None
    closing = closing_of(trace)
    return None if ends_with_response(trace, closing) else silence_of(trace, closing)


def _has_read_all(trace: Trace, index: int) -> bool:
    """Whether the server that gave up with this segment had read all of ours that it had."""
    rst, prior = trace.segments[index], trace.segments[:index]
    own = [s for s in prior if s.side is rst.side]
    sent = max((s.end for s in prior if s.side is not rst.side and s.length), default=0)
    reach = min(rst.ack or 0, sent)
    return read_to(trace, rst, own, trace.segments[index + 1 :]) >= reach


def _only_notified(drive: Drive) -> bool:
    """Whether one close_notify was all that we sent in the judged part."""
    mark = drive.mark.client if drive.mark is not None else 0
    ours = [r.kind for r in drive.records if r.side is Side.CLIENT and r.end > mark]
    return ours == [RecordKind.CLOSE_NOTIFY]


@dataclass(slots=True)
class Tally:
    """How the trials of a close ended, of those that can be vouched for."""

    trials: int = 0
    before_fin: int = 0
    after_fin: int = 0
    fins: int = 0
    aborts: int = 0
    aborts_after: int = 0
    alone: int = 0
    spoke: int = 0
    unasked: int = 0
    heard_out: int = 0
    led: int = 0
    worded: int = 0
    visible: Counter[Visible] = field(default_factory=Counter)

    def count(self, digest: Digest, times: int = 1) -> None:
        """Count one trial; -1 ``times``: take it out again."""
        if digest.reached and digest.conclusive:
            self.trials += times
            self.before_fin += times * digest.before_fin
            self.after_fin += times * digest.after_fin
            self.fins += times * digest.fins
            self.aborts += times * digest.aborts
            self.aborts_after += times * digest.aborts_after
            self.alone += times * digest.alone
            self.spoke += times * digest.spoke
            self.unasked += times * digest.unasked
            self.heard_out += times * digest.heard_out
            self.led += times * (digest.unasked and not digest.visible)
            self.worded += times * (digest.fins and not digest.wordless)
            for what in digest.visible:
                self.visible[what] += times

    def as_control(self, name: str) -> Control | None:
        """What this says as the control of another close."""
        return Control(name, self.before_fin, self.trials) if self.trials else None

    def as_alert_alone(self, name: str) -> AlertAlone | None:
        """What this says of a server that is sent a close_notify, and nothing behind it."""
        return AlertAlone(name, self.trials, self.spoke) if self.trials else None

    def as_cell_ends(self, sequence: str, tls: str) -> CellEnds:
        """What this says of the server."""
        resets = self.before_fin, self.after_fin
        always = frozenset(what for what, times in self.visible.items() if times == self.trials)
        ends = self.fins, self.aborts, self.alone
        return CellEnds(sequence, tls, self.trials, *resets, *ends, always)
