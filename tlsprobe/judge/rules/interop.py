"""tlsprobe's own rules: whom a close hurts, and whether the tester itself did as it says."""

from __future__ import annotations

from tlsprobe.judge.closing import FIN, RST, Happening
from tlsprobe.judge.rules.case import Answer, Case, Rule
from tlsprobe.model.judgement import DataEnd, Level, Result, TcpEnd
from tlsprobe.model.trace import Coverage, Deed, Record, RecordKind, Side

_OURS = "tlsprobe's own"


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
    if not case.trace.drive.owed or case.aborted:
        return None
    if case.closing.server_end is None:
        return _held_back(case)
    if case.axes.data is DataEnd.COMPLETE:
        return Result.PASS, "every response that was owed arrived whole"
    if case.tls == "1.2" and case.client_led:
        return Result.INFO, "the response was discarded after our close_notify, as TLS 1.2 asks"
    return Result.WARN, "a response that was owed did not arrive whole"


def _held_back(case: Case) -> Answer:
    """A connection that nobody ended, and a response that we waited for in vain."""
    drive = case.trace.drive
    if drive.answered < drive.owed and drive.did(Deed.GAVE_UP) is not None:
        return Result.WARN, "a response that was owed did not come, nor did an end: silence"
    return None


def _leak(case: Case) -> Answer:
    left = "FIN" if case.closing.first(Side.CLIENT, FIN) else "goodbye"
    if (left == "goodbye" and not case.said_goodbye) or case.aborted:
        return None
    if case.closing.server_end is None:
        return Result.WARN, f"after our {left} the server held the connection beyond our patience"
    return Result.PASS, f"the server ended the connection after our {left}"


def _plaintext(case: Case) -> Answer:
    if case.closing.server_end is None or case.aborted:
        return None
    if case.outside_tls:
        return Result.WARN, "the server said its last words outside TLS, where a client reads none"
    return Result.PASS, "the server said nothing outside TLS"


def _idle_race(case: Case) -> Answer:
    request = _request_at_expiry(case)
    if request is None or case.aborted or case.not_the_servers:
        return None
    if case.trace.drive.answered_to >= request.end:
        return Result.PASS, "the request that met the idle expiry was answered"
    if case.axes.tcp is TcpEnd.RESET:
        return Result.WARN, "the request that met the idle expiry was lost with an RST before EOF"
    if case.closing.server_end is None:
        return Result.WARN, "the request that met the idle expiry was neither answered nor refused"
    return Result.PASS, "the request that met the idle expiry was refused cleanly, with EOF"


def _request_at_expiry(case: Case) -> Record | None:
    """The request that was sent when the server was ending the connection of its own accord."""
    sent = case.said(Side.CLIENT, RecordKind.DATA)
    if case.trace.drive.did(Deed.MEETS) is not None:
        return sent[-1] if sent else None
    begun = case.closing.first(Side.SERVER, "n", "a", FIN, RST)
    ended = case.closing.first(Side.CLIENT, "n", "g", FIN, RST)
    if begun is None or (ended is not None and case.closing.before(ended, begun)):
        return None  # it was our side that began to end it
    return next((record for record in sent if record.time_ns >= begun.time_ns), None)


def _self_notify(case: Case) -> Answer:
    """The capture must show what the driver says it did, or neither can be trusted."""
    trace = case.trace
    if trace.coverage is not Coverage.WHOLE:
        return None
    missing = [what for what, letter in _done(case) if not case.closing.first(Side.CLIENT, letter)]
    if missing:
        return Result.ERROR, f"the driver sent {' and '.join(missing)}, the capture has none"
    gave_up = any(e.deed in {Deed.ABORTED, Deed.CLOSED} for e in trace.drive.events)
    unasked = case.closing.first(Side.CLIENT, RST)
    if unasked is not None and not gave_up and not _was_gone(case, unasked):
        return Result.ERROR, "the capture has an RST of ours that the driver did not ask for"
    return Result.PASS, "driver and capture agree about our side"


def _was_gone(case: Case, ours: Happening) -> bool:
    """Whether our socket may have been gone, so that a repetition drew our kernel's RST."""
    closing = case.closing
    both = all(closing.before(closing.first(side, FIN), ours) for side in Side)
    return both or closing.before(closing.first(Side.SERVER, RST), ours)


def _done(case: Case) -> list[tuple[str, str]]:
    deeds = {event.deed for event in case.trace.drive.events}
    notified = bool(case.said(Side.CLIENT, RecordKind.CLOSE_NOTIFY))
    done = [("a close_notify", "n", notified), ("a FIN", FIN, Deed.FIN_SENT in deeds)]
    # A socket that was reset, or has ended both ways, is gone: aborting it sends nothing.
    both = case.closing.first(Side.CLIENT, FIN) and case.closing.first(Side.SERVER, FIN)
    gone = both or case.closing.first(Side.SERVER, RST)
    done.append(("an RST", RST, Deed.ABORTED in deeds and not gone))
    return [(what, letter) for what, letter, did in done if did]


INTEROP_RULES = (
    Rule(
        "INTEROP-RESET-BEFORE-FIN",
        _OURS,
        Level.INTEROP,
        "server",
        "A reader gets EOF, not ECONNRESET: forwarders die of a read error.",
        _reset_before_fin,
    ),
    Rule(
        "INTEROP-RESET-AFTER-FIN",
        _OURS,
        Level.INTEROP,
        "server",
        "No reset follows the FIN: harmless to readers, but metrics and firewalls count it.",
        _reset_after_fin,
    ),
    Rule(
        "INTEROP-DATA-LOST",
        _OURS,
        Level.INTEROP,
        "server",
        "A response that is owed arrives whole, however the connection ends.",
        _data_lost,
    ),
    Rule(
        "INTEROP-LEAK",
        _OURS,
        Level.INTEROP,
        "server",
        "The server lets go of a connection that the client has closed.",
        _leak,
    ),
    Rule(
        "INTEROP-PLAINTEXT",
        _OURS,
        Level.INTEROP,
        "server",
        "A server says its last words inside TLS: to a client, other bytes are a broken record.",
        _plaintext,
    ),
    Rule(
        "INTEROP-PATH",
        _OURS,
        Level.INTEROP,
        "path",
        "After this close, the next connection through the same path works.",
        lambda _: None,  # decided over a whole cell, by a connection of its own
    ),
    Rule(
        "INTEROP-IDLE-RACE",
        _OURS,
        Level.INTEROP,
        "server",
        "A request that meets the idle expiry is answered or refused cleanly, not lost with an"
        " RST, after which nobody knows whether it was done.",
        _idle_race,
    ),
    Rule(
        "SELF-NOTIFY",
        _OURS,
        Level.CHECK,
        "prober",
        "Our own side did what the sequence says, by the capture's word.",
        _self_notify,
    ),
)
"""tlsprobe's own rules, in the order of reports."""
