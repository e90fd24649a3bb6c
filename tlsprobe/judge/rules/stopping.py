"""What becomes of a connection when its server is told to stop, to drain or to reload.

We told it so ourselves, and the trial's facts say what and when: that the server ends is no fault
of its. What is asked is whom its end hurts. Told to stop at once, it may cut a response off; told
to drain, or to reload, it has said that it would not.
"""

from __future__ import annotations

from tlsprobe.judge.closing import FIN, RST, before
from tlsprobe.judge.rules.rule import OURS, Answer, Rule, RuleInput, kind_of
from tlsprobe.model.causes import Advice, Party, Remedy
from tlsprobe.model.judgement import DataEnd, Level, Result, TcpEnd, TlsEnd
from tlsprobe.model.sequence import Signal
from tlsprobe.model.trace import DriverEvent, EventKind, Record, RecordKind, RemarkKind, Side

KILLED_AFTER_NS = 10_000_000_000
"""How long Docker waits before it kills what it has told to stop; other supervisors wait longer."""

_IN_ORDER = frozenset({Signal.GRACEFUL, Signal.RELOAD})
_REFUSALS = frozenset(
    {RemarkKind.ERROR, RemarkKind.NOTICE_OF_DISCONNECTION, RemarkKind.CONNECTION_CLOSE}
)


def _told(given: RuleInput) -> DriverEvent | None:
    """That we told the server something, if nothing else ended the connection."""
    if given.aborted or given.not_the_servers:
        return None
    return given.trace.drive.did(EventKind.SIGNALLED)


def _in_flight(given: RuleInput) -> Answer:
    """A request that the server had when it was told, and had not answered in full."""
    told = _told(given)
    if told is None:
        return None
    asked = [r for r in given.said(Side.CLIENT, RecordKind.DATA) if r.time_ns <= told.time_ns]
    if not asked:
        return None
    if given.trace.drive.answered_to >= asked[-1].end:
        late = any(r.time_ns > told.time_ns for r in given.said(Side.SERVER, RecordKind.DATA))
        return (Result.PASS, "the response that was under way arrived whole") if late else None
    if given.closing.server_end is None or given.axes.data is not DataEnd.TRUNCATED:
        return None
    if told.verb in _IN_ORDER:
        return Result.WARN, f"told to {told.verb}, the server cut off the response under way"
    return Result.INFO, "the server stopped at once, and cut off the response under way"


def _race(given: RuleInput) -> Answer:
    """A request that the server had not received when it was told."""
    told, request = _told(given), _late_request(given)
    if told is None or request is None:
        return None
    drive, closing = given.trace.drive, given.closing
    if drive.answered_to >= request.end:
        return Result.PASS, "a request behind the signal was answered"
    if closing.server_end is None and given.axes.tls is not TlsEnd.NOTIFIED:
        waited = drive.did(EventKind.GAVE_UP) is not None
        silent = Result.WARN, "a request behind the signal met neither an answer nor an end"
        return silent if waited else None
    if _is_refused(given):
        return Result.PASS, "a request behind the signal was refused in the server's own words"
    if given.axes.tcp is TcpEnd.RESET:
        return Result.WARN, "a request behind the signal was lost with an RST before EOF"
    return Result.INFO, "a request behind the signal met EOF: it is lost unless it is sent again"


def _late_request(given: RuleInput) -> Record | None:
    """The first request that was sent behind the signal, or crossed the server's end."""
    told, drive = given.trace.drive.did(EventKind.SIGNALLED), given.trace.drive
    if told is None or not drive.owed:
        return None
    left = given.closing.first(Side.CLIENT, "n", "g", FIN, RST)
    if left is not None and before(left, given.closing.server_began):
        return None
    sent = given.said(Side.CLIENT, RecordKind.DATA)
    late = (r for r in sent if r.time_ns > told.time_ns or given.crossed(r))
    return next(late, None)


def _is_refused(given: RuleInput) -> bool:
    """Whether the server said why it ends, or which streams it did nothing about."""
    drive = given.trace.drive
    if any(remark.kind in _REFUSALS for remark in drive.remarks):
        return True
    named = [r.last_stream for r in drive.remarks if r.kind is RemarkKind.GOAWAY]
    last = [stream for stream in named if stream is not None]
    return bool(last) and drive.owed > (min(last) + 1) // 2


def _ends(given: RuleInput) -> Answer:
    """Whether the server ends a connection when it is told to stop."""
    told = _told(given)
    if told is None or told.verb in {Signal.RELOAD, Signal.HUP}:
        return None
    end = given.closing.server_end
    if end is not None:
        how = " behind a close_notify" if given.axes.tls is TlsEnd.NOTIFIED else ""
        return Result.PASS, f"told to stop, the server ended with {kind_of(end)}{how}"
    waited = given.trace.drive.did(EventKind.GAVE_UP)
    if waited is None or given.axes.tls is TlsEnd.NOTIFIED:
        return None
    if told.verb == Signal.STOP:
        long = waited.time_ns - told.time_ns >= KILLED_AFTER_NS
        kept = "told to stop, the server kept the connection as long as we waited"
        return (Result.WARN, kept) if long else (Result.INFO, f"{kept}, which was not long")
    return Result.INFO, "the server waits for its clients: it kept the connection"


STOPPING_RULES = (
    Rule(
        "STOP-IN-FLIGHT",
        OURS,
        Level.INTEROP,
        "server",
        "Told to drain or to reload, a server finishes the responses that are under way.",
        _in_flight,
        opt_in=True,
        remedy=Remedy(
            "Whoever was being answered: every deployment shows as errors.",
            (
                Advice(
                    Party.SERVER,
                    "finish what is under way, for as long as its supervisor lets it.",
                ),
            ),
        ),
    ),
    Rule(
        "STOP-RACE",
        OURS,
        Level.INTEROP,
        "server",
        "A request that crosses the server's stop is answered, or refused in words or with EOF; not"
        " lost with an RST, after which nobody knows whether it was done.",
        _race,
        timed=True,
        opt_in=True,
        remedy=Remedy(
            "The request that was on its way: a proxy says 502 during each deployment.",
            (
                Advice(
                    Party.SERVER,
                    "say GOAWAY or 'Connection: close', and read on for a moment before closing.",
                ),
                Advice(
                    Party.CLIENT,
                    "send a request again that met the end of a reused connection, if it may be"
                    " done twice.",
                ),
            ),
        ),
    ),
    Rule(
        "STOP-ENDS",
        OURS,
        Level.INTEROP,
        "server",
        "Told to stop, a server ends its connections before its supervisor kills it.",
        _ends,
        fails_if_slow=True,
        opt_in=True,
        remedy=Remedy(
            "Everybody who waits for the stop; what is open when the supervisor gives up is cut.",
            (Advice(Party.SERVER, "end idle connections at once when told to stop."),),
        ),
    ),
)
"""What is asked of a server that was told to stop, in the order of reports."""
