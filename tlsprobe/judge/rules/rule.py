"""What a rule is, and what it gets to see.

A rule is data plus one small function. The function sees a ``RuleInput`` and answers with a result
and a sentence about what was seen, or with None where it does not apply.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import dropwhile

from tlsprobe.judge.closing import FIN, RST, Closing, WireEvent, before
from tlsprobe.model.causes import Remedy
from tlsprobe.model.judgement import Axes, Level, Outcome, Reset, Result, RuleResult
from tlsprobe.model.trace import Record, RecordKind, Side, Trace

_FATAL, _USER_CANCELED = 2, 90


@dataclass(frozen=True)
class RuleInput:
    """A trace with everything that was derived from it before the rules are asked.

    What several rules look up is worked out once.
    """

    trace: Trace
    closing: Closing
    axes: Axes
    outcome: Outcome
    resets: tuple[Reset, ...]

    @property
    def tls(self) -> str | None:
        """The version that was negotiated."""
        return self.trace.drive.tls

    @cached_property
    def ours(self) -> WireEvent | None:
        """Our close_notify."""
        return self.closing.first(Side.CLIENT, "n")

    @cached_property
    def client_led(self) -> bool:
        """Our close_notify came before the server did anything to end the connection."""
        theirs = self.closing.first(Side.SERVER, "n", "a", FIN, RST)
        return self.ours is not None and before(self.ours, theirs)

    @cached_property
    def aborted(self) -> bool:
        """We reset before the server had ended, so it owes nothing any more."""
        ours = self.closing.first(Side.CLIENT, RST)
        return ours is not None and before(ours, self.closing.server_end)

    @cached_property
    def goodbye(self) -> Record | None:
        """The record with the protocol's goodbye, if our side sent it."""
        return next((r for r in self.trace.drive.records if r.kind is RecordKind.GOODBYE), None)

    @property
    def said_goodbye(self) -> bool:
        """Our side sent the protocol's goodbye."""
        return self.goodbye is not None

    @cached_property
    def sent_error_alert(self) -> bool:
        """The server sent an alert that ends the connection: fatal, or any error in TLS 1.3."""
        alerts = [r.alert for r in self.trace.drive.records if r.side is Side.SERVER and r.alert]
        if self.tls == "1.3":  # RFC 8446 section 6: the level says nothing; two are no errors
            return any(alert[1] not in {0, _USER_CANCELED} for alert in alerts)
        return any(alert[0] == _FATAL for alert in alerts)

    @cached_property
    def server_resets(self) -> tuple[Reset, ...]:
        """The RSTs of the server."""
        return tuple(r for r in self.resets if r.side is Side.SERVER)

    @cached_property
    def not_the_servers(self) -> bool:
        """The connection was ended by something else: a box in between, a host that forgot it."""
        first = self.server_resets[:1]
        return bool(first) and not first[0].cause.row.by_sender and first[0].before_fin

    @property
    def its_end(self) -> WireEvent | None:
        """Where the server ended its TCP write side, if it was the server that did."""
        return None if self.not_the_servers else self.closing.server_end

    def said(self, side: Side, *kinds: RecordKind) -> list[Record]:
        """The judged part's records of these kinds."""
        return [record for record in self._judged_part[side] if record.kind in kinds]

    @cached_property
    def _judged_part(self) -> dict[Side, list[Record]]:
        """The records of each side behind the opening exchange."""
        mark = self.trace.drive.mark
        since = {Side.CLIENT: mark.client if mark else 0, Side.SERVER: mark.server if mark else 0}
        part: dict[Side, list[Record]] = {Side.CLIENT: [], Side.SERVER: []}
        for record in self.trace.drive.records:
            if record.end > since[record.side]:
                part[record.side].append(record)
        return part

    @cached_property
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
    names, and is not told from secondary sources. ``tls`` and ``protocols`` say to which
    connections it can apply at all: a version, names of protocols; where they are empty, to any.
    ``remedy`` is there where there is more to say of a breach than the cause of a reset does.
    """

    id: str
    source: str
    level: Level
    binds: str
    text: str
    decide: Callable[[RuleInput], Answer]
    checked: bool = False
    tls: str = ""
    protocols: tuple[str, ...] = ()
    remedy: Remedy | None = None

    def can_apply(self, tls: str | None, protocol: str) -> bool:
        """Whether it has anything to say of connections in this version with this protocol."""
        is_version = not self.tls or self.tls == tls
        return is_version and (not self.protocols or protocol in self.protocols)


def apply(rule: Rule, given: RuleInput) -> RuleResult | None:
    """One rule's answer, None where it does not apply."""
    answer = rule.decide(given)
    return None if answer is None else _result(rule.id, rule.level, *answer)


@lru_cache(maxsize=4096)
def _result(rule: str, level: Level, result: Result, text: str) -> RuleResult:
    """One value for all trials that come out alike: a run has thousands of them."""
    return RuleResult(rule, level, result, text)


def kind_of(end: WireEvent | None) -> str:
    """How a write side was ended, in words."""
    return "an RST" if end is not None and end.letter == RST else "a FIN"
