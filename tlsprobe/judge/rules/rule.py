"""What a rule is, and what it gets to see.

A rule is data plus one small function. The function sees a ``RuleInput`` and answers with a result
and a sentence about what was seen, or with None where it does not apply.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import dropwhile

from tlsprobe.judge.closing import FIN, RST, Closing, WireEvent
from tlsprobe.model.judgement import Axes, Cause, Level, Outcome, Reset, Result, RuleResult
from tlsprobe.model.trace import Record, RecordKind, Side, Trace

_FATAL, _USER_CANCELED = 2, 90


@dataclass(frozen=True, slots=True)
class RuleInput:
    """A trace with everything that was derived from it before the rules are asked."""

    trace: Trace
    closing: Closing
    axes: Axes
    outcome: Outcome
    resets: tuple[Reset, ...]

    @property
    def tls(self) -> str | None:
        """The version that was negotiated."""
        return self.trace.drive.tls

    @property
    def ours(self) -> WireEvent | None:
        """Our close_notify."""
        return self.closing.first(Side.CLIENT, "n")

    @property
    def client_led(self) -> bool:
        """Our close_notify came before the server did anything to end the connection."""
        theirs = self.closing.first(Side.SERVER, "n", "a", FIN, RST)
        return self.ours is not None and self.closing.before(self.ours, theirs)

    @property
    def aborted(self) -> bool:
        """We reset before the server had ended, so it owes nothing any more."""
        ours = self.closing.first(Side.CLIENT, RST)
        return ours is not None and self.closing.before(ours, self.closing.server_end)

    @property
    def goodbye(self) -> Record | None:
        """The record with the protocol's goodbye, if our side sent it."""
        return next((r for r in self.trace.drive.records if r.kind is RecordKind.GOODBYE), None)

    @property
    def said_goodbye(self) -> bool:
        """Our side sent the protocol's goodbye."""
        return self.goodbye is not None

    @property
    def sent_error_alert(self) -> bool:
        """The server sent an alert that ends the connection: fatal, or any error in TLS 1.3."""
        alerts = [r.alert for r in self.trace.drive.records if r.side is Side.SERVER and r.alert]
        if self.tls == "1.3":  # RFC 8446 section 6: the level says nothing; two are no errors
            return any(alert[1] not in {0, _USER_CANCELED} for alert in alerts)
        return any(alert[0] == _FATAL for alert in alerts)

    @property
    def server_resets(self) -> tuple[Reset, ...]:
        """The RSTs of the server."""
        return tuple(r for r in self.resets if r.side is Side.SERVER)

    @property
    def not_the_servers(self) -> bool:
        """The connection was ended by something in between."""
        first = self.server_resets[:1]
        return bool(first) and first[0].cause is Cause.MIDDLEBOX and first[0].before_fin

    def speaks(self, *protocols: str) -> bool:
        """Whether the protocol inside TLS is one of these."""
        return self.trace.protocol in protocols

    def said(self, side: Side, *kinds: RecordKind) -> list[Record]:
        """The judged part's records of these kinds."""
        mark = self.trace.drive.mark
        since = (mark.client if side is Side.CLIENT else mark.server) if mark else 0
        records = self.trace.drive.records
        return [r for r in records if r.side is side and r.kind in kinds and r.end > since]

    @property
    def outside_tls(self) -> int:
        """Bytes of the server's that are no TLS, though TLS had begun."""
        theirs = [r for r in self.trace.drive.records if r.side is Side.SERVER]
        since = dropwhile(lambda record: record.kind is RecordKind.PLAIN, theirs)
        return sum(r.end - r.start for r in since if r.kind is RecordKind.PLAIN)


Answer = tuple[Result, str] | None


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: whom it binds, how strictly, where it is written, and how it is decided.

    ``checked``: the sentence was compared with the text of the first document that ``source``
    names, and is not told from secondary sources.
    """

    id: str
    source: str
    level: Level
    binds: str
    text: str
    decide: Callable[[RuleInput], Answer]
    checked: bool = False


def apply(rule: Rule, given: RuleInput) -> RuleResult:
    """One rule's answer; a trial that never reached its sequence has none."""
    drive = given.trace.drive
    unasked = drive.failure is not None or drive.ended_early
    answer = None if unasked else rule.decide(given)
    if answer is None:
        return RuleResult(rule.id, rule.level, Result.NOT_APPLICABLE, "")
    return RuleResult(rule.id, rule.level, *answer)


def kind_of(end: WireEvent | None) -> str:
    """How a write side was ended, in words."""
    return "an RST" if end is not None and end.letter == RST else "a FIN"
