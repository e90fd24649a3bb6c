"""What TLS asks of a server once TLS has failed, or is about to change its keys.

Behind a fatal alert no alert is owed any more, and nobody owes an answer: both sides close. Where
it was our side that made TLS fail, the rules of an orderly close are not asked (``in_failure``).
"""

from __future__ import annotations

from tlsprobe.judge.closing import FIN, WireEvent
from tlsprobe.judge.rules.rule import Answer, Rule, RuleInput, kind_of
from tlsprobe.model.alerts import alert_name
from tlsprobe.model.causes import Advice, Party, Remedy
from tlsprobe.model.judgement import Level, Result, TlsEnd
from tlsprobe.model.trace import Coverage, EventKind, Record, RecordKind, Segment, Side

_QUIET_NS = 10_000_000
"""So long a server must have been silent: what it sends then it was not about to send anyway."""

_ASKING = frozenset({"key_update request"})
_CUT = frozenset({"alert fragmented", "alert double"})
_OVERFULL = frozenset({"send overfull"})
"""What the driver calls steps that ask for a KeyUpdate, and those whose record is none to take.

TLS 1.3 forbids to cut an alert or to double it (RFC 8446 section 5.1), TLS 1.2 does not, and
neither says what their receiver has to do. Of a record that holds a byte too much TLS 1.3 says it
(section 5.1: record_overflow); TLS 1.2 forbids to send it and leaves its receiver a margin (RFC
5246 section 6.2.1, 7.2.2).
"""


def _tls_fatal_closes(given: RuleInput) -> Answer:
    if given.aborted or given.not_the_servers:
        return None
    if given.failed is not None and given.is_error(given.failed):
        whose = "our"
    elif given.sent_error_alert:
        whose = "its own"
    else:
        return None
    end = given.closing.server_end
    if end is not None:
        whose = "our" if whose == "our" else "the server's"
        return Result.PASS, f"{whose} fatal alert was followed by {kind_of(end)}"
    if whose == "our":
        said = "the server kept the connection open after our fatal alert"
        return (Result.FAIL, said) if _was_waited_for(given) else None
    return Result.FAIL, "the server sent a fatal alert and kept the connection open"


def _stepped(given: RuleInput, labels: frozenset[str]) -> bool:
    """Whether our side took one of these steps."""
    steps = (e for e in given.trace.drive.events if e.kind is EventKind.STEP)
    return any(not labels.isdisjoint(step.labels) for step in steps)


def _was_waited_for(given: RuleInput) -> bool:
    """Whether our side gave the server its time, or saw an end that was none of its answers."""
    kinds = {EventKind.GAVE_UP, EventKind.EOF, EventKind.RESET}
    return any(event.kind in kinds for event in given.trace.drive.events)


def _bad_record(given: RuleInput) -> Answer:
    """A record that nothing opens: the server says so, in an alert, and closes.

    An alert in front of an RST may have been discarded with it, so that nobody knows of it. Behind
    a close_notify or a goodbye of ours the server ends the connection anyway, and need not read.
    """
    failed = given.failed
    if failed is None or failed.kind is not RecordKind.MALFORMED:
        return None
    if given.aborted or given.not_the_servers:
        return None
    ending = given.said(Side.CLIENT, RecordKind.CLOSE_NOTIFY, RecordKind.GOODBYE)
    if any(record.start < failed.start for record in ending):
        return None
    what = "an alert that was no record of its own" if _stepped(given, _CUT) else None
    if given.tls == "1.2" and _stepped(given, _OVERFULL):
        what = "a record that held a byte too much"
    if what is not None:
        return Result.INFO, f"{what} was met with {_met(given)}"
    end = given.closing.server_end
    if end is None:
        said = "the server kept the connection open after a record of ours that nobody may take"
        return (Result.FAIL, said) if _was_waited_for(given) else None
    return _refused(given, end)


def _met(given: RuleInput) -> str:
    """What the server did, where nothing is asked of it."""
    end = given.closing.server_end
    how = "nothing" if end is None else kind_of(end)
    return f"an error alert and {how}" if given.sent_error_alert else how


def _refused(given: RuleInput, end: WireEvent) -> Answer:
    if given.sent_error_alert:
        alert = next(r.alert for r in given.alerts if r.alert is not None and given.is_error(r))
        return Result.PASS, f"our broken record was answered with {alert_name(alert)} and the end"
    if end.letter != FIN:
        return (
            Result.INFO,
            "our broken record was answered with an RST; an alert may have been lost",
        )
    said = "our broken record was answered with a FIN and no error alert"
    if given.axes.tls is TlsEnd.NOTIFIED:
        said = "our broken record was answered with a close_notify in place of an error alert"
    return Result.FAIL if given.tls == "1.2" else Result.WARN, said


def _after_fatal(broken: Result, given: RuleInput) -> Answer:
    """Data of the server's that it began to send when it had our fatal alert."""
    failed = given.failed
    if failed is None or not given.is_error(failed) or given.aborted:
        return None
    if given.trace.coverage is not Coverage.WHOLE:
        return None
    behind = [record for record in given.said(Side.SERVER, RecordKind.DATA) if _had(given, record)]
    if not behind:
        if given.closing.server_end is None:
            return None
        return Result.PASS, "the server sent no data after our fatal alert"
    size = sum(record.end - record.start for record in behind)
    said = f"the server sent data in records of {size} bytes after our fatal alert"
    if _was_asked(given, failed) or not _was_quiet(given, failed):
        return Result.INFO, f"{said}, which it may have been about to send anyway"
    return broken, said


def _had(given: RuleInput, record: Record) -> bool:
    """Whether the server had our fatal alert when it sent the first byte of this record."""
    failed = given.failed
    first = next((s for s in _said(given, Side.SERVER) if s.end > record.start), None)
    return failed is not None and first is not None and (first.ack or 0) >= failed.end


def _was_asked(given: RuleInput, failed: Record) -> bool:
    """Whether something of ours may have been on its way to an answer when our alert left."""
    asked = given.said(Side.CLIENT, RecordKind.DATA, RecordKind.GOODBYE)
    return given.trace.drive.cut_short or any(record.start < failed.start for record in asked)


def _was_quiet(given: RuleInput, failed: Record) -> bool:
    """Whether the server had been silent for a while when our alert left."""
    left = next((s for s in _said(given, Side.CLIENT) if s.end >= failed.end), None)
    if left is None:
        return False
    before = [s.time_ns for s in _said(given, Side.SERVER) if s.time_ns < left.time_ns]
    return not before or left.time_ns - before[-1] >= _QUIET_NS


def _said(given: RuleInput, side: Side) -> list[Segment]:
    return [s for s in given.trace.segments if s.side is side and s.length and not s.rst]


def _tls13_after_fatal(given: RuleInput) -> Answer:
    return _after_fatal(Result.FAIL, given)


def _tls12_after_fatal(given: RuleInput) -> Answer:
    return _after_fatal(Result.WARN, given)


def _key_update(given: RuleInput) -> Answer:
    """Asked for new keys, the server changes its own before it sends more data.

    Only a response to what came behind our KeyUpdate is certain to have come after it.
    """
    if given.aborted or not _stepped(given, _ASKING):
        return None
    ours = next(iter(given.said(Side.CLIENT, RecordKind.KEY_UPDATE)), None)
    if ours is None:
        return None
    if given.said(Side.SERVER, RecordKind.KEY_UPDATE):
        return Result.PASS, "our request for new keys was answered with a KeyUpdate"
    asked = given.said(Side.CLIENT, RecordKind.DATA, RecordKind.GOODBYE)
    later = [record for record in asked if record.start >= ours.end]
    if not later or given.trace.drive.answered_to < later[0].end:
        return None
    return Result.FAIL, "the server answered a later request and never sent the KeyUpdate asked for"


_CLOSE_AT_ONCE = Remedy(
    "The client waits on a connection that can carry nothing more.",
    (Advice(Party.SERVER, "close the socket when the TLS library reports a fatal error."),),
)
_SAY_NOTHING = Remedy(
    "Nobody who keeps to the specification: the client has given the connection up.",
    (
        Advice(
            Party.SERVER,
            "take a fatal alert for the end of the connection, not for a request that could not be"
            " read, and answer nothing.",
        ),
    ),
)

FAILURE_RULES = (
    Rule(
        "TLS-FATAL-CLOSES",
        "RFC 8446 section 6.2; RFC 5246 section 7.2.2",
        Level.MUST,
        "both",
        "After a fatal alert the connection is closed at once.",
        _tls_fatal_closes,
        in_handshake=True,
        in_failure=True,
        checked=True,
        fails_if_slow=True,
        remedy=_CLOSE_AT_ONCE,
    ),
    Rule(
        "TLS13-AFTER-FATAL",
        "RFC 8446 section 6",
        Level.MUST,
        "receiver",
        "Whoever has received an error alert sends no data any more.",
        _tls13_after_fatal,
        in_failure=True,
        opt_in=True,
        checked=True,
        is_apart=True,
        tls="1.3",
        remedy=_SAY_NOTHING,
    ),
    Rule(
        "TLS12-AFTER-FATAL",
        "RFC 5246 section 7.2.2",
        Level.SHOULD,
        "receiver",
        "Whoever has received a fatal alert closes the connection, and sends no data any more.",
        _tls12_after_fatal,
        in_failure=True,
        opt_in=True,
        checked=True,
        is_apart=True,
        tls="1.2",
        remedy=_SAY_NOTHING,
    ),
    Rule(
        "TLS-BAD-RECORD",
        "RFC 8446 section 5, 5.1, 5.2 and 6.2; RFC 5246 section 6.2.3.3, 7.2.2",
        Level.MUST,
        "receiver",
        "A record that cannot be opened ends the connection, with an alert that says so.",
        _bad_record,
        in_failure=True,
        opt_in=True,
        checked=True,
        fails_if_slow=True,
        remedy=Remedy(
            "A client whose bytes were damaged on the way learns nothing, and waits.",
            (
                Advice(
                    Party.SERVER,
                    "have the TLS library send its alert before the socket is closed.",
                ),
            ),
        ),
    ),
    Rule(
        "TLS13-KEY-UPDATE",
        "RFC 8446 section 4.6.3",
        Level.MUST,
        "receiver",
        "A KeyUpdate that asks for one is answered with one before any more data.",
        _key_update,
        opt_in=True,
        checked=True,
        is_apart=True,
        tls="1.3",
        remedy=Remedy(
            "Clients that change keys on long connections: the server's are never renewed.",
            (Advice(Party.SERVER, "update the TLS library, or report it there."),),
        ),
    ),
)
"""The rules of a TLS that has failed, and of its keys, in the order of reports."""
