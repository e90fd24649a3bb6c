"""What a trial tells about others: told from its trace without asking for any cause."""

from __future__ import annotations

from dataclasses import dataclass

from tlsprobe.judge.behind_alert import spoke_behind
from tlsprobe.judge.closing import closing_of
from tlsprobe.judge.early import ended_before_start
from tlsprobe.judge.waiting import LONG_NS, ends_with_response, silence_of
from tlsprobe.model.judgement import Control
from tlsprobe.model.knowledge import AlertAlone, Digest, Habit, Silence
from tlsprobe.model.trace import Coverage, Side, Trace


def digest_of(trace: Trace) -> Digest:
    """Who reset, before its FIN or after, and whether that can be vouched for."""
    early = trace.drive.ended_early or ended_before_start(trace) is not None
    fin = before = after = gave_up = False
    for segment in trace.segments:
        if segment.side is not Side.SERVER:
            continue
        if segment.rst:
            before, after = before or not fin, after or fin
            gave_up = gave_up or (not fin and segment.ack is not None)
        elif segment.fin:
            fin = True
    return Digest(
        reached=trace.drive.failure is None and not early,
        conclusive=trace.coverage is not Coverage.HOLES,
        before_fin=before,
        after_fin=after,
        gave_up=gave_up,
        silence=None if early else _long_silence(trace),
        spoke=spoke_behind(trace.drive),
    )


def _long_silence(trace: Trace) -> Silence | None:
    """The silence that the server ended, if it may have been a timer's."""
    events = trace.drive.events
    if not events or events[-1].time_ns - events[0].time_ns < LONG_NS:
        return None
    closing = closing_of(trace)
    return None if ends_with_response(trace, closing) else silence_of(trace, closing)


@dataclass(slots=True)
class Tally:
    """How the trials of a close ended, of those that can be vouched for."""

    trials: int = 0
    before_fin: int = 0
    after_fin: int = 0
    spoke: int = 0

    def count(self, digest: Digest, times: int = 1) -> None:
        """Count one trial; -1 ``times``: take it out again."""
        if digest.reached and digest.conclusive:
            self.trials += times
            self.before_fin += times * digest.before_fin
            self.after_fin += times * digest.after_fin
            self.spoke += times * digest.spoke

    def as_control(self, name: str) -> Control | None:
        """What this says as the control of another close."""
        return Control(name, self.before_fin, self.trials) if self.trials else None

    def as_alert_alone(self, name: str) -> AlertAlone | None:
        """What this says of a server that is sent a close_notify, and nothing behind it."""
        return AlertAlone(name, self.trials, self.spoke) if self.trials else None

    def as_habit(self, sequence: str, tls: str) -> Habit:
        """What this says of the server."""
        return Habit(sequence, tls, self.trials, self.before_fin, self.after_fin)
