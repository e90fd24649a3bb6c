"""What a rule is, and what it gets to see.

A rule is data plus one small function. The function sees a ``RuleInput`` and answers with a result
and a sentence about what was seen, or with None where it does not apply.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import dropwhile

from tlsprobe.judge.closing import (
    RST,
    Closing,
    WireEvent,
    before,
    ending_of,
    judged_part,
    left_unread,
)
from tlsprobe.judge.foreign_fin import foreign_signs
from tlsprobe.judge.maker import (
    Maker,
    as_far_as_settled,
    is_like_a_proxys,
    is_wordless,
    maker_of,
)
from tlsprobe.judge.path import CutOff
from tlsprobe.model.alerts import FATAL, is_error
from tlsprobe.model.causes import Remedy
from tlsprobe.model.judgement import Axes, Level, Outcome, Reset, Result, RuleResult, TlsEnd
from tlsprobe.model.knowledge import NOTHING_KNOWN, Knowledge
from tlsprobe.model.trace import DriverEvent, EventKind, Record, RecordKind, Side, Trace
from tlsprobe.model.verbs import Form, Verb

OURS = "tlsprobe's own"
"""The source of a rule that stands in no document."""

_HALF = f"{Verb.SEND} {Form.CUT}"


@dataclass(frozen=True, slots=True)
class RuleInput:
    """A trace with everything that was derived from it before the rules are asked.

    What several rules look up is worked out once, by ``rule_input``. ``ours`` is our close_notify,
    unless it stood behind half a record: to the server that was no TLS;
    ``client_led``: it came before the server did anything to end the connection. ``aborted``: we
    reset before the server had ended, so it owes nothing any more, or gave our socket up, and did
    not stay to see what else it did, or read the rest of what it had said. ``goodbye`` is the
    record with the protocol's goodbye, if our side sent it. ``maker`` is who ended the
    connection; ``its_end`` is where the server ended its TCP write side, unless something else
    did. ``judged`` holds the records of
    each side behind the opening exchange. ``finished``: the handshake was; ``tls`` is the version
    that was negotiated, or else the one that was offered to a server that began the handshake.
    ``alerts`` are the server's, ``kinds`` what records there are of either side. ``failed`` is the
    record of ours with which TLS failed, a fatal alert or one that no receiver may take, unless the
    server had begun to end the connection before it had any of it. Where a shaper was in our path,
    the trace and the closing are those of what reached the server, ``seen`` is what went over the
    wire, and ``cut_off`` says how the path kept the two sides from each other until the end.
    ``foreign_fin`` is what shows that another machine made the server's FIN. ``done`` are the verbs
    that our sequence did without giving up.
    """

    trace: Trace
    closing: Closing
    axes: Axes
    outcome: Outcome
    resets: tuple[Reset, ...]
    ours: WireEvent | None
    client_led: bool
    aborted: bool
    goodbye: Record | None
    server_resets: tuple[Reset, ...]
    maker: Maker
    its_end: WireEvent | None
    judged: dict[Side, list[Record]]
    finished: bool
    tls: str | None
    alerts: tuple[Record, ...]
    kinds: frozenset[RecordKind]
    knowledge: Knowledge
    failed: Record | None = None
    seen: Closing | None = None
    cut_off: CutOff | None = None
    foreign_fin: tuple[str, ...] = ()
    done: frozenset[str] = frozenset()

    @property
    def not_the_servers(self) -> bool:
        """Something else ended it, a box in between or a host that forgot it."""
        return self.maker is Maker.OTHERS

    @property
    def said_goodbye(self) -> bool:
        """Our side sent the protocol's goodbye."""
        return self.goodbye is not None

    @property
    def sent_error_alert(self) -> bool:
        """The server sent an alert that ends the connection: fatal, or any error in TLS 1.3."""
        return any(map(self.is_error, self.alerts))

    def is_error(self, record: Record) -> bool:
        """Whether it is an alert that ends the connection."""
        return record.alert is not None and is_error(record.alert, self.tls)

    def said(self, side: Side, *kinds: RecordKind) -> list[Record]:
        """The judged part's records of these kinds."""
        return [record for record in self.judged[side] if record.kind in kinds]

    @property
    def spoken(self) -> bool:
        """Whether anything of the protocol was said inside TLS."""
        return RecordKind.DATA in self.kinds or RecordKind.GOODBYE in self.kinds

    def crossed(self, record: Record) -> bool:
        """Whether the server had begun to end it before it had anything of this record of ours."""
        end = ending_of(self.trace, self.closing)
        return end is not None and end.crossed(record)

    @property
    def outside_tls(self) -> int:
        """Bytes of the server's that are no TLS, though TLS had begun."""
        if RecordKind.PLAIN not in self.kinds:
            return 0
        theirs = [r for r in self.trace.drive.records if r.side is Side.SERVER]
        since = dropwhile(lambda record: record.kind is RecordKind.PLAIN, theirs)
        return sum(r.end - r.start for r in since if r.kind is RecordKind.PLAIN)


def rule_input(
    trace: Trace,
    closing: Closing,
    axes: Axes,
    outcome: Outcome,
    resets: tuple[Reset, ...],
    *,
    knowledge: Knowledge = NOTHING_KNOWN,
    seen: Closing | None = None,
    cut_off: CutOff | None = None,
) -> RuleInput:
    """What the rules get to see of a judged trace."""
    ours = None if _is_behind_half_a_record(trace) else closing.first(Side.CLIENT, "n")
    end = closing.server_end
    records, judged = trace.drive.records, judged_part(trace.drive)
    kinds = frozenset([record.kind for record in records])
    server_resets = tuple(r for r in resets if r.side is Side.SERVER)
    maker = maker_of(closing, resets, near=knowledge.near)
    strange: tuple[str, ...] = ()
    if not knowledge.near and is_wordless(trace, closing):
        strange = foreign_signs(trace, end.packet if end is not None else None)
        if strange:
            maker = Maker.OTHERS
        elif not knowledge.wordless and is_like_a_proxys(trace, closing):
            maker = Maker.PERHAPS_A_PROXY
    shaken = trace.drive.did(EventKind.HANDSHAKEN) is not None
    finished = shaken and trace.drive.tls is not None
    has_left = trace.drive.did(EventKind.CLOSED) is not None
    tls = trace.drive.tls or (knowledge.offered if _answered_hello(records) else None)
    return RuleInput(
        trace=trace,
        closing=closing,
        axes=axes,
        outcome=outcome,
        resets=resets,
        ours=ours,
        client_led=before(ours, closing.server_began),
        aborted=before(closing.first(Side.CLIENT, RST), end)
        or (end is None and has_left)
        or (axes.tls is TlsEnd.SILENT and left_unread(trace)),
        goodbye=_goodbye(records) if RecordKind.GOODBYE in kinds else None,
        server_resets=server_resets,
        maker=maker,
        its_end=None if maker is Maker.OTHERS else end,
        judged=judged,
        finished=finished,
        tls=tls,
        alerts=tuple([r for r in records if r.alert is not None and r.side is Side.SERVER]),
        kinds=kinds,
        knowledge=knowledge,
        failed=_failed(trace, closing, judged[Side.CLIENT], tls),
        seen=seen,
        cut_off=cut_off,
        foreign_fin=strange,
        done=_done(trace.drive.events),
    )


def _done(events: tuple[DriverEvent, ...]) -> frozenset[str]:
    """The verbs of our steps, but for those that waited in vain."""
    steps = {event.verb for event in events if event.kind is EventKind.STEP}
    return frozenset(steps.difference([e.verb for e in events if e.kind is EventKind.GAVE_UP]))


def _is_behind_half_a_record(trace: Trace) -> bool:
    """Whether a step of ours left a record unfinished before any sent a close_notify."""
    steps = (event for event in trace.drive.events if event.kind is EventKind.STEP)
    labels = (label for step in steps for label in step.labels)
    told = (label for label in labels if label == _HALF or label.startswith(Verb.CLOSE_NOTIFY))
    return next(told, None) == _HALF


def _failed(trace: Trace, closing: Closing, ours: list[Record], tls: str | None) -> Record | None:
    """Which of our records made TLS fail.

    An alert is one if a step was to send it: our TLS library's own answers what the server did.
    """
    steps = (event for event in trace.drive.events if event.kind is EventKind.STEP)
    alerts = any(label.startswith("alert") for step in steps for label in step.labels)
    failing = next((record for record in ours if _fails(record, tls, alerts=alerts)), None)
    if failing is None:
        return None
    end = ending_of(trace, closing)
    return None if end is not None and end.crossed(failing) else failing


def _fails(record: Record, tls: str | None, *, alerts: bool) -> bool:
    if record.kind is RecordKind.MALFORMED:
        return True
    if not alerts or record.alert is None:
        return False
    # A close_notify at the level fatal: in TLS 1.3 the level "can" be ignored, and need not be.
    return record.alert[0] == FATAL or is_error(record.alert, tls)


def _goodbye(records: tuple[Record, ...]) -> Record | None:
    return next((record for record in records if record.kind is RecordKind.GOODBYE), None)


def _answered_hello(records: tuple[Record, ...]) -> bool:
    """Whether the server began a handshake: before that it knows no version to send an alert in."""
    return any(r.kind is RecordKind.HANDSHAKE and r.side is Side.SERVER for r in records)


Answer = tuple[Result, str] | None


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: whom it binds, how strictly, where it is written, and how it is decided.

    ``checked``: the sentence was compared with the text of the first document that ``source``
    names, and is not told from secondary sources. ``tls`` and ``protocols`` say to which
    connections it can apply at all: a version, names of protocols; where they are empty, to any.
    ``remedy`` is there where there is more to say of a breach than the cause of a reset does.
    ``in_handshake``: it can also be asked where a handshake was broken off. ``timed``: its answer
    depends on when our steps came, as that of most rules about an RST does, and a late step takes
    it away. ``in_failure``: it can also be asked where our side made TLS fail, after which the
    server owes nothing but the end. ``fails_if_slow``: a breach may mean no more than that the
    server was slow, and where the machine was busy it is in doubt. ``opt_in``: nothing decides it
    but sequences that are measured only where somebody asks for them. ``if_cut_off``: it can also
    be asked where our own path kept the two sides from each other. ``is_apart``: its breach has
    nothing to do with how the connection ended, and stands whoever ended it.
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
    in_handshake: bool = False
    in_failure: bool = False
    timed: bool = False
    fails_if_slow: bool = False
    opt_in: bool = False
    if_cut_off: bool = False
    is_apart: bool = False

    @property
    def of_server(self) -> bool:
        """Whether a breach is held against the server."""
        return self.binds not in {"path", "prober"}

    def can_apply(self, tls: str | None, protocol: str, finished: bool = True) -> bool:
        """Whether it has anything to say of connections in this version with this protocol.

        ``finished``: the handshake was.
        """
        is_version = not self.tls or self.tls == tls
        is_spoken = not self.protocols or protocol in self.protocols
        return is_version and is_spoken and (finished or self.in_handshake)


def apply(rule: Rule, given: RuleInput) -> RuleResult | None:
    """One rule's answer, None where it does not apply."""
    answer = rule.decide(given)
    if answer is None:
        return None
    result, text = answer
    key = rule.id, text, result
    known = _RESULTS.get(key)
    if known is None:
        if len(_RESULTS) > _MOST_RESULTS:
            _RESULTS.clear()
        known = _RESULTS[key] = RuleResult(rule.id, rule.level, result, text)
    return as_far_as_settled(known, given.maker, of_server=rule.of_server, is_apart=rule.is_apart)


_RESULTS: dict[tuple[str, str, Result], RuleResult] = {}
"""One value for all trials that come out alike: a run has thousands of them."""
_MOST_RESULTS = 4096


def kind_of(end: WireEvent | None) -> str:
    """How a write side was ended, in words."""
    return "an RST" if end is not None and end.letter == RST else "a FIN"
