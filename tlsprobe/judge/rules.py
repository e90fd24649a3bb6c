"""The rules that a close is judged by: each is data plus one small function.

A rule's function sees a ``Case`` and answers with a result and a sentence about what was seen, or
with None where it does not apply. ``checked`` says whether the wording was compared with the
specification's text, or is told from secondary sources.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tlsprobe.judge.closing import FIN, RST, Closing, Happening
from tlsprobe.model.judgement import (
    Axes,
    Cause,
    DataEnd,
    Level,
    Outcome,
    Reset,
    Result,
    RuleResult,
    TcpEnd,
    TlsEnd,
)
from tlsprobe.model.trace import Coverage, Deed, RecordKind, Side, Trace


@dataclass(frozen=True, slots=True)
class Case:
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
    def ours(self) -> Happening | None:
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
    def said_goodbye(self) -> bool:
        """Our side sent the protocol's goodbye."""
        return any(r.kind is RecordKind.GOODBYE for r in self.trace.drive.records)

    @property
    def server_resets(self) -> tuple[Reset, ...]:
        """The RSTs of the server."""
        return tuple(r for r in self.resets if r.side is Side.SERVER)

    @property
    def not_the_servers(self) -> bool:
        """The connection was ended by something in between."""
        first = self.server_resets[:1]
        return bool(first) and first[0].cause is Cause.MIDDLEBOX and first[0].before_fin


Answer = tuple[Result, str] | None


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: whom it binds, how strictly, where it is written, and how it is decided."""

    id: str
    source: str
    level: Level
    binds: str
    text: str
    decide: Callable[[Case], Answer]
    checked: bool = False


def apply_rules(case: Case) -> tuple[RuleResult, ...]:
    """Every rule's answer, in the order of the table."""
    return tuple(_apply(rule, case) for rule in RULES.values())


def _apply(rule: Rule, case: Case) -> RuleResult:
    answer = None if case.trace.drive.failure is not None else rule.decide(case)
    if answer is None:
        return RuleResult(rule.id, rule.level, Result.NOT_APPLICABLE, "")
    return RuleResult(rule.id, rule.level, *answer)


# --- one function a rule, in the order of the table ---------------------------------------------


def _notify(case: Case) -> Answer:
    """Common to both versions: an alert before the write side ends."""
    end = case.closing.server_end
    if end is None or case.aborted or case.not_the_servers:
        return None
    if case.axes.tls is TlsEnd.NOTIFIED:
        return Result.PASS, "the server sent close_notify before it ended its write side"
    if case.axes.tls is TlsEnd.ALERT:
        return Result.PASS, "the server sent an error alert before it ended its write side"
    return Result.FAIL, f"the server ended its write side with {_kind(end)} and no alert"


def _tls12_notify(case: Case) -> Answer:
    if case.tls != "1.2" or (case.client_led and not case.said_goodbye):
        return None  # answering ours is the next rule's
    return _notify(case)


def _tls12_answer(case: Case) -> Answer:
    if case.tls != "1.2" or not case.client_led or case.said_goodbye or case.not_the_servers:
        return None
    end = case.closing.server_end
    if case.axes.tls is TlsEnd.SILENT:
        how = f"with {_kind(end)} alone" if end else "with nothing at all"
        return Result.FAIL, f"our close_notify was answered {how}, not with a close_notify"
    if end is None:
        return Result.FAIL, "the server answered our close_notify but kept the connection open"
    return Result.PASS, "our close_notify was answered with a close_notify and the end"


def _tls13_notify(case: Case) -> Answer:
    if case.tls != "1.3":
        return None
    answer = _notify(case)
    if answer and answer[0] is Result.FAIL and case.client_led:
        end = case.closing.server_end
        return Result.FAIL, f"our close_notify was met with {_kind(end)} and no alert"
    return answer


def _tls13_half_close(case: Case) -> Answer:
    if case.tls != "1.3" or case.ours is None:
        return None
    data = [h for h in case.closing.happenings if h.side is Side.SERVER and h.letter == "d"]
    asked = [h for h in case.closing.happenings if h.side is Side.CLIENT and h.letter in "dg"]
    owed = any(case.closing.before(h, case.ours) for h in asked) and case.trace.drive.owed
    late = any(not case.closing.before(h, case.ours) for h in data)
    if not owed or not (late or case.axes.data is DataEnd.TRUNCATED):
        return None
    if case.axes.data is DataEnd.TRUNCATED:
        return Result.INFO, "the response owed at our close_notify did not arrive whole"
    return Result.PASS, "the response owed at our close_notify arrived whole after it"


def _http_close(case: Case) -> Answer:
    if not _is_http(case) or not case.said_goodbye or case.aborted:
        return None
    if case.closing.server_end is None:
        return Result.FAIL, "the server kept the connection after 'Connection: close'"
    return Result.PASS, "the server closed after 'Connection: close'"


def _http_tls_alert(case: Case) -> Answer:
    return _notify(case) if _is_http(case) else None


def _http_idle(case: Case) -> Answer:
    first = case.closing.happenings[:1]
    idle = first and first[0].side is Side.SERVER and first[0].letter != "d"
    if not _is_http(case) or not idle:
        return None
    if case.axes.tcp is TcpEnd.RESET:
        return Result.WARN, "the idle connection was ended by a reset"
    if case.axes.tls is not TlsEnd.NOTIFIED:
        return Result.WARN, "the idle connection was ended without a close_notify"
    return Result.PASS, "the idle connection was ended with close_notify and FIN"


def _rst_on_unread(case: Case) -> Answer:
    asked_for = {Cause.UNREAD_AT_CLOSE, Cause.UNREAD_AFTER_FIN, Cause.DATA_AFTER_CLOSE}
    if not any(r.cause in asked_for for r in case.server_resets):
        return None
    return Result.PASS, "TCP asks for this reset: data was unread at, or came after, the close"


def _reset_before_fin(case: Case) -> Answer:
    if case.closing.server_end is None or case.aborted:
        return None
    if case.axes.tcp is TcpEnd.RESET:
        return Result.WARN, "the server reset in place of a FIN: a reader gets ECONNRESET, not EOF"
    return Result.PASS, "no reset came before the server's FIN"


def _reset_after_fin(case: Case) -> Answer:
    if case.closing.server_end is None or case.aborted or case.axes.tcp is TcpEnd.RESET:
        return None
    if case.axes.tcp is TcpEnd.FIN_RESET:
        return (
            Result.INFO,
            "the server reset after its FIN: readers saw EOF, reset metrics count it",
        )
    return Result.PASS, "no reset came after the server's FIN"


def _data_lost(case: Case) -> Answer:
    if not case.trace.drive.owed or case.aborted or case.closing.server_end is None:
        return None
    if case.axes.data is DataEnd.COMPLETE:
        return Result.PASS, "every response that was owed arrived whole"
    if case.tls == "1.2" and case.client_led:
        return Result.INFO, "the response was discarded after our close_notify, as TLS 1.2 asks"
    return Result.WARN, "a response that was owed did not arrive whole"


def _leak(case: Case) -> Answer:
    left = "FIN" if case.closing.first(Side.CLIENT, FIN) else "goodbye"
    if (left == "goodbye" and not case.said_goodbye) or case.aborted:
        return None
    if case.closing.server_end is None:
        return Result.WARN, f"after our {left} the server held the connection beyond our patience"
    return Result.PASS, f"the server ended the connection after our {left}"


def _self_notify(case: Case) -> Answer:
    """The capture must show what the driver says it did, or neither can be trusted."""
    trace = case.trace
    if trace.coverage is not Coverage.WHOLE:
        return None
    missing = [what for what, letter in _done(trace) if not case.closing.first(Side.CLIENT, letter)]
    if missing:
        return Result.ERROR, f"the driver sent {' and '.join(missing)}, the capture has none"
    gave_up = any(e.deed in {Deed.ABORTED, Deed.CLOSED} for e in trace.drive.events)
    if case.closing.first(Side.CLIENT, RST) and not gave_up:
        return Result.ERROR, "the capture has an RST of ours that the driver did not ask for"
    return Result.PASS, "driver and capture agree about our side"


def _done(trace: Trace) -> list[tuple[str, str]]:
    mark = trace.drive.mark
    since = mark.client if mark else 0
    notified = any(
        r.side is Side.CLIENT and r.kind is RecordKind.CLOSE_NOTIFY and r.end > since
        for r in trace.drive.records
    )
    deeds = {event.deed for event in trace.drive.events}
    done = [("a close_notify", "n", notified), ("a FIN", FIN, Deed.FIN_SENT in deeds)]
    done.append(("an RST", RST, Deed.ABORTED in deeds))
    return [(what, letter) for what, letter, did in done if did]


def _is_http(case: Case) -> bool:
    return case.trace.protocol == "http1"


def _kind(happening: Happening | None) -> str:
    return "an RST" if happening is not None and happening.letter == RST else "a FIN"


_TLS12 = "RFC 5246 section 7.2.1"
_TLS13 = "RFC 8446 section 6.1, RFC 9846 section 6.1"

RULES = {
    rule.id: rule
    for rule in (
        Rule(
            "TLS12-NOTIFY",
            _TLS12,
            Level.MUST,
            "closer",
            "Whoever closes the write side sends close_notify first, unless it sent a fatal alert.",
            _tls12_notify,
        ),
        Rule(
            "TLS12-ANSWER",
            _TLS12,
            Level.MUST,
            "peer",
            "A close_notify is answered with a close_notify, and the connection closed at once.",
            _tls12_answer,
        ),
        Rule(
            "TLS13-NOTIFY",
            _TLS13,
            Level.MUST,
            "each side",
            "Each side sends close_notify before closing its write side, unless it sent an error.",
            _tls13_notify,
        ),
        Rule(
            "TLS13-HALF-CLOSE",
            _TLS13,
            Level.INFO,
            "receiver",
            "A close_notify ends one direction only; the other may go on to deliver what is owed.",
            _tls13_half_close,
        ),
        Rule(
            "HTTP-CLOSE",
            "RFC 9112 section 9.6",
            Level.MUST,
            "server",
            "After the response to a request with 'Connection: close' the server closes.",
            _http_close,
        ),
        Rule(
            "HTTP-IDLE-GRACEFUL",
            "RFC 9112 section 9.5",
            Level.SHOULD,
            "server",
            "Idle connections are ended gracefully, so that the other side can tell.",
            _http_idle,
        ),
        Rule(
            "HTTP-TLS-ALERT",
            "RFC 9112 section 9.8",
            Level.MUST,
            "server",
            "A server tries to exchange closure alerts before it closes the connection.",
            _http_tls_alert,
        ),
        Rule(
            "TCP-RST-ON-UNREAD",
            "RFC 9293 section 3.6.1 (SHLD-3); RFC 1122 section 4.2.2.13; RFC 2525 section 2.17",
            Level.SHOULD,
            "TCP",
            "A close with data unread, or data after a close, is answered with an RST.",
            _rst_on_unread,
        ),
        Rule(
            "INTEROP-RESET-BEFORE-FIN",
            "tlsprobe's own",
            Level.INTEROP,
            "server",
            "A reader gets EOF, not ECONNRESET: forwarders die of a read error.",
            _reset_before_fin,
        ),
        Rule(
            "INTEROP-RESET-AFTER-FIN",
            "tlsprobe's own",
            Level.INTEROP,
            "server",
            "No reset follows the FIN: harmless to readers, but metrics and firewalls count it.",
            _reset_after_fin,
        ),
        Rule(
            "INTEROP-DATA-LOST",
            "tlsprobe's own",
            Level.INTEROP,
            "server",
            "A response that is owed arrives whole, however the connection ends.",
            _data_lost,
        ),
        Rule(
            "INTEROP-LEAK",
            "tlsprobe's own",
            Level.INTEROP,
            "server",
            "The server lets go of a connection that the client has closed.",
            _leak,
        ),
        Rule(
            "INTEROP-PATH",
            "tlsprobe's own",
            Level.INTEROP,
            "path",
            "After this close, the next connection through the same path works.",
            lambda _: None,  # decided over a whole cell, by a connection of its own
        ),
        Rule(
            "SELF-NOTIFY",
            "tlsprobe's own",
            Level.CHECK,
            "prober",
            "Our own side did what the sequence says, by the capture's word.",
            _self_notify,
        ),
    )
}
"""All rules by id."""
