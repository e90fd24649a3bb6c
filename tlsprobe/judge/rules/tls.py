"""What the TLS specifications ask of a close. The version that was negotiated decides."""

from __future__ import annotations

from tlsprobe.judge.behind_alert import unasked
from tlsprobe.judge.closing import FIN, RST, before
from tlsprobe.judge.rules.rule import Answer, Rule, RuleInput, kind_of
from tlsprobe.judge.unsent import may_have_dropped
from tlsprobe.model.causes import Advice, Party, Remedy
from tlsprobe.model.judgement import DataEnd, Level, Result, TlsEnd
from tlsprobe.model.knowledge import AlertAlone
from tlsprobe.model.trace import CLOSING_REMARKS, RecordKind, Side

_WARNING = 1
_USER_CANCELED = 90
_DROPPED = (
    "the server's side ended with an RST and no alert; bytes of its were not acknowledged then, so"
    " that its kernel may have held an alert back and dropped it"
)


def _notify(given: RuleInput) -> Answer:
    """Common to both versions: an alert before the write side ends.

    Before the handshake is over the text covers it, and nobody is hurt.
    """
    end = given.its_end
    if end is None or given.aborted:
        return None
    if given.axes.tls is TlsEnd.NOTIFIED:
        return Result.PASS, "the server sent close_notify before it ended its write side"
    if given.axes.tls is TlsEnd.ALERT and given.sent_error_alert:
        return Result.PASS, "the server sent an error alert before it ended its write side"
    if may_have_dropped(given.trace, end):
        return Result.INFO, _DROPPED
    what = "no alert" if given.axes.tls is TlsEnd.SILENT else "a warning alert only"
    if not given.finished:
        return (
            Result.INFO,
            f"the server left an unfinished handshake with {kind_of(end)} and {what}",
        )
    return Result.FAIL, f"the server ended its write side with {kind_of(end)} and {what}"


def notified(given: RuleInput) -> Answer:
    """Whether an alert came before the end, in whichever version; for other chapters' rules."""
    return _notify(given)


def _tls12_notify(given: RuleInput) -> Answer:
    if given.client_led and given.finished and not given.said_goodbye:
        return None  # answering ours is the next rule's
    return _notify(given)


def _tls12_answer(given: RuleInput) -> Answer:
    if not given.client_led or given.said_goodbye or given.not_the_servers or given.aborted:
        return None  # if we aborted, we were gone whatever it was about to answer
    end = given.closing.server_end
    warned = given.axes.tls is TlsEnd.ALERT and not given.sent_error_alert
    if given.axes.tls is TlsEnd.SILENT or warned:
        return _unanswered(given, " behind a warning" if warned else "")
    if end is None and any(said.kind in CLOSING_REMARKS for said in given.trace.drive.remarks):
        # Its response ended the connection. Whoever begins a close need not end it at once.
        return Result.INFO, "the server's close_notify may belong to its response, not answer ours"
    if end is None:
        return Result.FAIL, "the server answered our close_notify but kept the connection open"
    if given.axes.tls is TlsEnd.ALERT:
        return Result.PASS, "our close_notify was answered with an error alert and the end"
    return Result.PASS, "our close_notify was answered with a close_notify and the end"


def _unanswered(given: RuleInput, behind: str) -> Answer:
    """Our close_notify without one of the server's; ``behind`` which of its words that was."""
    end = given.closing.server_end
    if may_have_dropped(given.trace, end):
        return Result.INFO, _DROPPED
    how = f"with {kind_of(end)} alone" if end else "with nothing at all"
    return Result.FAIL, f"our close_notify was answered {how}{behind}, not with a close_notify"


def _tls13_notify(given: RuleInput) -> Answer:
    answer = _notify(given)
    if answer and answer[0] is Result.FAIL and given.client_led:
        end = given.closing.server_end
        return Result.FAIL, f"our close_notify was met with {kind_of(end)} and no alert"
    return answer


def _tls13_half_close(given: RuleInput) -> Answer:
    if given.ours is None or given.not_the_servers:
        return None
    data = [h for h in given.closing.wire_events if h.side is Side.SERVER and h.letter == "d"]
    asked = [h for h in given.closing.wire_events if h.side is Side.CLIENT and h.letter in "dg"]
    owed = any(before(h, given.ours) for h in asked) and given.trace.drive.owed
    late = any(not before(h, given.ours) for h in data)
    if not owed or not (late or given.axes.data is DataEnd.TRUNCATED):
        return None
    if given.axes.data is DataEnd.TRUNCATED:
        return Result.INFO, "the response owed at our close_notify did not arrive whole"
    return Result.PASS, "the response owed at our close_notify arrived whole after it"


def _ignore_after(given: RuleInput) -> Answer:
    """What was sent behind our close_notify, and what the server says to a close_notify alone.

    Some servers answer the alert itself, with an error in words; that is no answer to what came
    behind it.
    """
    if given.ours is None or given.aborted:
        return None
    notify = next(iter(given.said(Side.CLIENT, RecordKind.CLOSE_NOTIFY)), None)
    if notify is None:
        return None
    sent = given.said(Side.CLIENT, RecordKind.DATA, RecordKind.GOODBYE)
    late = [record for record in sent if record.start >= notify.end]
    if not late:
        return None
    if given.trace.drive.answered_to >= late[0].end:
        return Result.FAIL, "the server answered what we sent after our close_notify"
    if not _speaks_behind_late_data(given):
        return Result.PASS, "the server did nothing about what we sent after our close_notify"
    return _compared(given.knowledge.alert_alone)


def _compared(alone: AlertAlone | None) -> Answer:
    """Data after our alert and what came behind it, held against the alert alone."""
    if alone is None:
        return Result.INFO, (
            "the server sent data after our close_notify and what came behind it; whether it says"
            " that to a close_notify alone was not tried"
        )
    if alone.spoke:
        return Result.PASS, "the server sent data after our close_notify, as it does to one alone"
    return Result.FAIL, (
        "the server answered what we sent after our close_notify: to one alone it sends no data"
    )


def _speaks_behind_late_data(given: RuleInput) -> bool:
    """Data of the server behind data behind our alert, with nothing else left to answer.

    What it says about the connection (a GOAWAY) answers nothing: it says so after an alert alone.
    """
    wire_events = given.closing.wire_events
    if given.ours is None:
        return False
    alert = wire_events.index(given.ours)
    ours = [i for i, h in enumerate(wire_events) if h.side is Side.CLIENT and h.letter in "dg"]
    if not ours or ours[0] < alert:
        return False  # what comes may be the response to what we sent before
    said = [h for h in wire_events[ours[0] :] if h.side is Side.SERVER and h.letter == "d"]
    return len(said) > unasked(given.trace.drive)


def _after_own_alert(given: RuleInput) -> Answer:
    """A close_notify says that its sender will send nothing more; a fatal alert ends it all."""
    notices = RecordKind.CLOSE_NOTIFY
    alert = next((r for r in given.alerts if r.kind is notices or given.is_error(r)), None)
    if alert is None or given.outside_tls:
        return None  # what comes outside TLS, INTEROP-PLAINTEXT tells
    kinds = (RecordKind.DATA, RecordKind.ALERT, RecordKind.CLOSE_NOTIFY)
    behind = [r for r in given.said(Side.SERVER, *kinds) if r.start >= alert.end]
    closing = alert.kind is RecordKind.CLOSE_NOTIFY
    own = "close_notify" if closing else "fatal alert"
    if not behind:
        return Result.PASS, f"the server sent nothing after its own {own}"
    if not closing and all(r.kind is RecordKind.CLOSE_NOTIFY for r in behind):
        return Result.INFO, "the server sent a close_notify after its own fatal alert"
    if all(r.kind is RecordKind.CLOSE_NOTIFY for r in behind):
        return Result.FAIL, "the server sent a second close_notify after its own"
    return Result.FAIL, f"the server went on to send after its own {own}"


def _tls13_warning_level(given: RuleInput) -> Answer:
    notify = next(iter(given.said(Side.SERVER, RecordKind.CLOSE_NOTIFY)), None)
    if notify is None or notify.alert is None:
        return None
    level = notify.alert[0]
    if level != _WARNING:
        return Result.FAIL, f"the server's close_notify has level {level}, not 1 (warning)"
    return Result.PASS, "the server's close_notify has the level warning"


def _tls13_canceled(given: RuleInput) -> Answer:
    alerts = given.said(Side.SERVER, RecordKind.ALERT)
    canceled = next((r for r in alerts if r.alert and r.alert[1] == _USER_CANCELED), None)
    if canceled is None or given.aborted:
        return None
    notifies = given.said(Side.SERVER, RecordKind.CLOSE_NOTIFY)
    if any(record.start >= canceled.end for record in notifies):
        return Result.PASS, "the server's user_canceled was followed by a close_notify"
    return Result.WARN, "the server sent user_canceled and no close_notify after it"


def _tls_truncation(given: RuleInput) -> Answer:
    fin, end = given.closing.first(Side.CLIENT, FIN), given.closing.server_end
    unannounced = fin is not None and not before(given.ours, fin)
    if not unannounced or given.aborted or given.not_the_servers:
        return None
    if end is not None and before(end, fin):
        return None
    if end is None:
        return Result.INFO, "the server kept the connection after our FIN without an alert"
    if end.letter == RST:
        return Result.INFO, "the server answered our FIN without an alert with an RST"
    told = {
        TlsEnd.NOTIFIED: "a close_notify and a FIN",
        TlsEnd.ALERT: "an alert and a FIN",
        TlsEnd.SILENT: "a FIN alone",
    }
    return Result.PASS, f"the server answered our FIN without an alert with {told[given.axes.tls]}"


_TLS12 = "RFC 5246 section 7.2.1"
_TLS13 = "RFC 8446 section 6.1, RFC 9846 section 6.1"

_STOP_READING = Remedy(
    "Anyone who relies on the alert as the end: later bytes may not be the client's.",
    (
        Advice(
            Party.SERVER,
            "stop reading requests once the TLS library has reported close_notify.",
        ),
    ),
)
_SAY_NOTHING_MORE = Remedy(
    "Clients: what comes behind the end is ignored, or reported as a protocol error.",
    (
        Advice(
            Party.SERVER,
            "send everything before the alert, and the alert once: find out who else in the server"
            " writes to the connection or shuts it down.",
        ),
    ),
)

TLS_RULES = (
    Rule(
        "TLS12-NOTIFY",
        _TLS12,
        Level.MUST,
        "closer",
        "Whoever closes the write side sends close_notify first, unless it sent a fatal alert.",
        _tls12_notify,
        in_handshake=True,
        checked=True,
        tls="1.2",
        remedy=Remedy(
            "A reader cannot tell the end from a truncation attack.",
            (Advice(Party.SERVER, "call the TLS library's shutdown before closing the socket."),),
        ),
    ),
    Rule(
        "TLS12-ANSWER",
        _TLS12,
        Level.MUST,
        "peer",
        "A close_notify is answered with a close_notify, and the connection closed at once.",
        _tls12_answer,
        checked=True,
        tls="1.2",
        remedy=Remedy(
            "A client that waits for the answer sees a truncated stream, or waits until"
            " its timeout.",
            (Advice(Party.CLIENT, "do not wait for the answer before closing."),),
        ),
    ),
    Rule(
        "TLS13-NOTIFY",
        _TLS13,
        Level.MUST,
        "each side",
        "Each side sends close_notify before closing its write side, unless it sent an error.",
        _tls13_notify,
        in_handshake=True,
        checked=True,
        tls="1.3",
        remedy=Remedy(
            "A reader cannot tell the end from a truncation attack; strict libraries"
            " report an error.",
            (
                Advice(
                    Party.SERVER,
                    "call the TLS library's shutdown before closing, also when the client led.",
                ),
            ),
        ),
    ),
    Rule(
        "TLS13-HALF-CLOSE",
        _TLS13,
        Level.INFO,
        "receiver",
        "A close_notify ends one direction only; the other may go on to deliver what is owed.",
        _tls13_half_close,
        checked=True,
        tls="1.3",
        timed=True,
    ),
    Rule(
        "TLS13-IGNORE-AFTER",
        _TLS13,
        Level.MUST,
        "receiver",
        "Nothing that arrives after a close_notify is acted upon.",
        _ignore_after,
        checked=True,
        is_apart=True,
        tls="1.3",
        remedy=_STOP_READING,
    ),
    Rule(
        "TLS12-IGNORE-AFTER",
        _TLS12,
        Level.MUST,
        "receiver",
        "Data that arrives after a close_notify is ignored.",
        _ignore_after,
        checked=True,
        is_apart=True,
        tls="1.2",
        remedy=_STOP_READING,
    ),
    Rule(
        "TLS12-AFTER-OWN-ALERT",
        "RFC 5246 section 7.2.1, section 7.2.2",
        Level.MUST,
        "sender",
        "Whoever has sent close_notify or a fatal alert sends nothing more.",
        _after_own_alert,
        in_failure=True,
        if_cut_off=True,
        checked=True,
        is_apart=True,
        tls="1.2",
        remedy=_SAY_NOTHING_MORE,
    ),
    Rule(
        "TLS13-AFTER-OWN-ALERT",
        "RFC 8446 section 6.1, section 6.2",
        Level.MUST,
        "sender",
        "Whoever has sent close_notify or a fatal alert sends nothing more.",
        _after_own_alert,
        in_failure=True,
        if_cut_off=True,
        checked=True,
        is_apart=True,
        tls="1.3",
        remedy=_SAY_NOTHING_MORE,
    ),
    Rule(
        "TLS13-WARNING-LEVEL",
        "RFC 9846 section 6.1",
        Level.MUST,
        "sender",
        "A close_notify carries the level warning.",
        _tls13_warning_level,
        in_failure=True,
        if_cut_off=True,
        checked=True,
        is_apart=True,
        tls="1.3",
        remedy=Remedy(
            "Clients that go by the level, and take an orderly end for an error.",
            (Advice(Party.SERVER, "update the TLS library, or report it there."),),
        ),
    ),
    Rule(
        "TLS13-CANCELED",
        "RFC 8446 section 6.1 (SHOULD), RFC 9846 section 6.1 (MUST)",
        Level.SHOULD,
        "sender",
        "A user_canceled alert is followed by a close_notify.",
        _tls13_canceled,
        checked=True,
        tls="1.3",
        remedy=Remedy(
            "A reader that cannot tell whether anything will follow.",
            (
                Advice(
                    Party.SERVER, "send close_notify after user_canceled, or close_notify alone."
                ),
            ),
        ),
    ),
)
"""The rules of an orderly close of TLS, in the order of reports."""

TRUNCATION_RULES = (
    Rule(
        "TLS-TRUNCATION",
        "RFC 8446 section 6.1; RFC 5246 section 7.2.1",
        Level.INFO,
        "receiver",
        "A FIN without a close_notify may be a truncation attack: how does the server take it?",
        _tls_truncation,
        checked=True,
    ),
)
"""How a server takes a close that is not orderly."""
