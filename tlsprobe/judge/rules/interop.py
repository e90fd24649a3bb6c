"""tlsprobe's own rules: whom a close hurts, and whether the tester itself did as it says."""

from __future__ import annotations

from tlsprobe.judge.closing import FIN, RST, WireEvent, before, has_unread
from tlsprobe.judge.path import CutOff, unanswered
from tlsprobe.judge.rules.rule import OURS, Answer, Rule, RuleInput
from tlsprobe.judge.waiting import met_no_timer
from tlsprobe.model.causes import Advice, Cause, Party, Remedy
from tlsprobe.model.judgement import DataEnd, ExpiryOutcome, Level, Result, TcpEnd, TlsEnd
from tlsprobe.model.protocols import SENDER_ENDS
from tlsprobe.model.sequence import Signal
from tlsprobe.model.trace import (
    Coverage,
    EventKind,
    PathDid,
    Record,
    RecordKind,
    RemarkKind,
    Side,
    Trace,
)
from tlsprobe.model.verbs import Verb

IDLE_RACE = "INTEROP-IDLE-RACE"


def _data_lost(given: RuleInput) -> Answer:
    drive = given.trace.drive
    unfinished = given.said(Side.SERVER, RecordKind.HANDSHAKE)  # our side left its handshake off
    if not drive.owed or given.aborted or given.not_the_servers or unfinished:
        return None
    if given.closing.server_end is None:
        return _held_back(given)
    if given.axes.data is not DataEnd.TRUNCATED:
        whole = given.axes.data is DataEnd.COMPLETE
        return (Result.PASS, "every response that was owed arrived whole") if whole else None
    if given.tls == "1.2" and given.client_led:
        owed = "no whole response came behind our close_notify"
        return Result.INFO, f"{owed}: TLS 1.2 has a server send nothing more then"
    if given.axes.tcp is not TcpEnd.RESET and _left_unread(given):
        return None
    return _blamed(given)


def _blamed(given: RuleInput) -> Answer:
    """A loss that shows.

    A server that was told to stop at once was asked for it, and a client that does not read asks
    for it, too.
    """
    drive = given.trace.drive
    told = drive.did(EventKind.SIGNALLED)
    if told is not None and told.verb == Signal.STOP:
        return Result.INFO, f"{_loss(given)}, as it is when a server stops at once"
    if any(e.kind is EventKind.STEP and e.verb == Verb.STALL for e in drive.events):
        return Result.INFO, f"{_loss(given)}, and our side had not read for long"
    return Result.WARN, _loss(given)


def _loss(given: RuleInput) -> str:
    """What there is of a response that was owed and is not whole, in words."""
    if not given.trace.drive.cut_short:
        return "a response that was owed did not come"
    if not _has_no_known_end(given):
        return "a response that was owed arrived only in part"
    return (
        "a response that ends with the connection came without a close_notify: nobody can tell"
        " whether it is whole"
    )


def _has_no_known_end(given: RuleInput) -> bool:
    """Whether a FIN without an alert is all that says where the response ends.

    Its receiver is to take it for incomplete (RFC 9112 section 9.8); it may be whole all the same.
    """
    remarks = given.trace.drive.remarks
    implied = any(remark.kind is RemarkKind.CLOSE_IMPLIED for remark in remarks)
    return implied and given.axes.tcp is not TcpEnd.RESET and given.axes.tls is TlsEnd.SILENT


def _held_back(given: RuleInput) -> Answer:
    """A connection that nobody ended, and a response that we waited for in vain.

    To a request that is still on its way, however slowly, none is owed yet.
    """
    drive = given.trace.drive
    if given.axes.data is not DataEnd.TRUNCATED or drive.did(EventKind.GAVE_UP) is None:
        return None
    if _left_unread(given) or (not drive.cut_short and _is_on_its_way(given)):
        return None
    return Result.WARN, "a response that was owed did not come, nor did an end: silence"


def _left_unread(given: RuleInput) -> bool:
    """Whether something came, by the wire, that our side did not read: it was busy with a write.

    Who has read up to the FIN has read it all; half a record at the end is no record.
    """
    return given.trace.drive.did(EventKind.EOF) is None and has_unread(given.trace)


def _is_on_its_way(given: RuleInput) -> bool:
    """Whether the server had a part of our last request, and not the whole of it."""
    acks = [s.ack for s in given.trace.segments if s.side is Side.SERVER and s.ack is not None]
    asked = given.said(Side.CLIENT, RecordKind.DATA, RecordKind.GOODBYE)
    return bool(acks and asked) and asked[-1].start < max(acks) < asked[-1].end


def _leak(given: RuleInput) -> Answer:
    left = "FIN" if given.closing.first(Side.CLIENT, FIN) else "goodbye"
    if given.aborted or given.not_the_servers:
        return None
    goodbye = given.goodbye
    if left == "goodbye" and (goodbye is None or given.crossed(goodbye)):
        return None
    if given.closing.server_end is None and left == "goodbye" and _is_ours_to_end(given):
        return Result.INFO, "the server leaves it to us to end the connection after our GOAWAY"
    notified = given.axes.tls is TlsEnd.NOTIFIED
    if given.closing.server_end is None and left == "goodbye" and notified:
        return Result.PASS, "the server ended TLS after our goodbye, and waited for our side"
    if given.closing.server_end is None:
        held = "held the connection until its idle timer or our patience ended it"
        return Result.WARN, f"after our {left} the server {held}"
    return Result.PASS, f"the server ended the connection after our {left}"


def _is_ours_to_end(given: RuleInput) -> bool:
    return given.trace.protocol in SENDER_ENDS


def _plaintext(given: RuleInput) -> Answer:
    if given.its_end is None or given.aborted:
        return None
    if given.outside_tls:
        return Result.WARN, "the server sent its last message outside TLS, where no client reads it"
    return Result.PASS, "the server said nothing outside TLS"


_RACES = {
    ExpiryOutcome.ANSWERED: (Result.PASS, "the request that met the idle expiry was answered"),
    ExpiryOutcome.LOST: (
        Result.WARN,
        "the request that met the idle expiry was lost with an RST before EOF",
    ),
    ExpiryOutcome.IGNORED: (
        Result.WARN,
        "the request that met the idle expiry was neither answered nor refused",
    ),
    ExpiryOutcome.REFUSED: (
        Result.PASS,
        "the request that met the idle expiry was refused cleanly, with EOF",
    ),
}


def _idle_race(given: RuleInput) -> Answer:
    met = expiry_outcome(given)
    return None if met is None else _RACES[met]


def expiry_outcome(given: RuleInput) -> ExpiryOutcome | None:
    """What became of the request that met the server's idle expiry, if one did."""
    request = _request_at_expiry(given)
    if request is None or given.aborted or given.not_the_servers:
        return None
    if given.trace.drive.answered_to >= request.end:
        said = (remark.kind for remark in given.trace.drive.remarks)
        # A 408 that crossed it is the expiry itself, in words.
        return ExpiryOutcome.REFUSED if RemarkKind.TIMED_OUT in said else ExpiryOutcome.ANSWERED
    if met_no_timer(given.trace, given.closing):
        return None
    if given.axes.tcp is TcpEnd.RESET:
        return ExpiryOutcome.LOST
    ended = given.closing.server_end is not None or given.axes.tls is TlsEnd.NOTIFIED
    return ExpiryOutcome.REFUSED if ended else ExpiryOutcome.IGNORED


def _request_at_expiry(given: RuleInput) -> Record | None:
    """The request that was sent when the server was ending the connection of its own accord."""
    sent = given.said(Side.CLIENT, RecordKind.DATA)
    if given.trace.drive.did(EventKind.MEETS) is not None:
        return sent[-1] if sent else None
    begun = given.closing.server_began
    ended = given.closing.first(Side.CLIENT, "n", "g", FIN, RST)
    if begun is None or (ended is not None and before(ended, begun)):
        return None  # it was our side that began to end it
    return next((record for record in sent if record.time_ns >= begun.time_ns), None)


_SILENCE_NS = 1_000_000_000
"""So long nothing must have passed for a request to find out what became of the connection."""


def _idle_silent(given: RuleInput) -> Answer:
    """What we said on a connection that had been idle, and that nobody had ended by then."""
    request = _request_after_silence(given)
    if given.cut_off is CutOff.UNANSWERED and _is_after_silence(given.trace):
        what = "a request" if request else "what we sent"
        return Result.WARN, f"{what} on the idle connection, which looked open, met nothing"
    is_race = given.trace.drive.did(EventKind.MEETS) is not None
    if request is None or given.cut_off is not None or given.aborted or is_race:
        return None
    return _met_by_request(given, request)


def _met_by_request(given: RuleInput, request: Record) -> Answer:
    drive = given.trace.drive
    if drive.answered >= drive.owed:
        return Result.PASS, "a request on the idle connection was answered"
    after = [
        event.letter
        for event in given.closing.wire_events
        if event.side is Side.SERVER and event.time_ns > request.time_ns
    ]
    if not after and drive.did(EventKind.GAVE_UP) is not None:
        return Result.WARN, "a request on the idle connection, which looked open, met nothing"
    if after[:1] == [RST]:
        return Result.WARN, "a request on the idle connection, which looked open, met an RST"
    return (Result.PASS, "a request on the idle connection met its orderly end") if after else None


def _is_after_silence(trace: Trace) -> bool:
    """Whether what nobody acknowledged was sent into a long silence."""
    first = unanswered(trace)[0]
    before_it = (s for s in trace.segments if s.number < first.number and (s.length or s.ends))
    last = max((s.time_ns for s in before_it), default=first.time_ns)
    return first.time_ns - last >= _SILENCE_NS


def _request_after_silence(given: RuleInput) -> Record | None:
    """Our last data, if it went out after a silence on a connection that looked open."""
    events = given.trace.drive.events
    if events[-1].time_ns - events[0].time_ns < _SILENCE_NS:
        return None
    sent = given.said(Side.CLIENT, RecordKind.DATA)
    if not sent or given.trace.drive.owed == 0 or given.crossed(sent[-1]):
        return None
    request = sent[-1]
    segments = (s.time_ns for s in given.trace.segments if s.length or s.ends)
    records = (r.time_ns for r in given.trace.drive.records)
    before = [time for time in (*segments, *records) if time < request.time_ns]
    return request if before and request.time_ns - max(before) >= _SILENCE_NS else None


def _cut_off(given: RuleInput) -> Answer:
    """What a server does that cannot hear us, or cannot answer. Nothing of it is its fault."""
    if given.cut_off is None or given.aborted:
        return None
    if given.cut_off is CutOff.UNANSWERED:
        return Result.INFO, f"{given.cut_off}: it was lost on the way, or the host is gone"
    if given.axes.tls is TlsEnd.NOTIFIED and given.axes.tcp is TcpEnd.FIN:
        return Result.PASS, f"{given.cut_off}: the server ended in good order all the same"
    how = {
        TcpEnd.OPEN: "the server kept the connection as long as we waited",
        TcpEnd.FIN: "the server ended with a FIN",
        TcpEnd.FIN_RESET: "the server ended with a FIN, and reset behind it",
        TcpEnd.RESET: "the server ended with an RST, and no FIN",
    }[given.axes.tcp]
    alert = {TlsEnd.NOTIFIED: ", behind a close_notify", TlsEnd.ALERT: ", behind an alert"}
    return Result.INFO, f"{given.cut_off}: {how}{alert.get(given.axes.tls, '')}"


def _self_notify(given: RuleInput) -> Answer:
    """The capture must show what the driver says it did, or neither can be trusted."""
    trace = given.trace
    if trace.coverage is not Coverage.WHOLE:
        return None
    seen = given.seen or given.closing
    missing = [what for what, letter in _done(given) if not seen.first(Side.CLIENT, letter)]
    if missing and given.cut_off in {CutOff.UNHEARD, CutOff.UNANSWERED}:
        return None  # as the sequence asks: the path kept it
    if missing:
        return Result.ERROR, f"the driver sent {' and '.join(missing)}, the capture has none"
    unasked = seen.first(Side.CLIENT, RST)
    forged = {r.packet for r in given.resets if r.cause is Cause.MIDDLEBOX}
    if unasked is not None and unasked.packet in forged:
        return Result.INFO, "something between client and server made an RST in our name"
    if unasked is not None and not _gave_up(given) and not _was_gone(given, unasked):
        return Result.ERROR, "the capture has an RST of ours that the driver did not ask for"
    return Result.PASS, "driver and capture agree about our side"


def _gave_up(given: RuleInput) -> bool:
    """Whether the driver closed its socket, or reset."""
    drive = given.trace.drive
    kinds = (event.kind for event in drive.events)
    gave_up = any(kind in {EventKind.ABORTED, EventKind.CLOSED} for kind in kinds)
    return gave_up or any(shaped.did is PathDid.RESET for shaped in drive.shaped)


def _was_gone(given: RuleInput, ours: WireEvent) -> bool:
    """Whether our socket may have been gone, so that a repetition drew our kernel's RST."""
    closing = given.closing
    both = all(before(closing.first(side, FIN), ours) for side in Side)
    return both or before(closing.first(Side.SERVER, RST), ours)


def _done(given: RuleInput) -> list[tuple[str, str]]:
    kinds = {event.kind for event in given.trace.drive.events}
    notified = bool(given.said(Side.CLIENT, RecordKind.CLOSE_NOTIFY))
    done = [("a close_notify", "n", notified), ("a FIN", FIN, EventKind.FIN_SENT in kinds)]
    # A socket that was reset, or has ended both ways, is gone: aborting it sends nothing.
    both = given.closing.first(Side.CLIENT, FIN) and given.closing.first(Side.SERVER, FIN)
    gone = both or given.closing.first(Side.SERVER, RST)
    done.append(("an RST", RST, EventKind.ABORTED in kinds and not gone))
    return [(what, letter) for what, letter, did in done if did]


INTEROP_RULES = (
    Rule(
        "INTEROP-DATA-LOST",
        OURS,
        Level.INTEROP,
        "server",
        "A response that is owed arrives whole, however the connection ends.",
        _data_lost,
        in_handshake=True,
        timed=True,
        fails_if_slow=True,
        remedy=Remedy(
            "The client cannot know whether its request was done, nor whether it is safe to ask"
            " again.",
            (Advice(Party.SERVER, "half-close, read on, and close only when the client has."),),
        ),
    ),
    Rule(
        "INTEROP-LEAK",
        OURS,
        Level.INTEROP,
        "server",
        "The server releases a connection that the client has closed.",
        _leak,
        in_handshake=True,
        fails_if_slow=True,
        remedy=Remedy(
            "Descriptors and memory of the server are held by clients that have gone.",
            (Advice(Party.SERVER, "act on EOF and set an idle timeout."),),
        ),
    ),
    Rule(
        "INTEROP-PLAINTEXT",
        OURS,
        Level.INTEROP,
        "server",
        "A server sends its last message inside TLS: to a client, other bytes are a broken record.",
        _plaintext,
        in_handshake=True,
        in_failure=True,
        remedy=Remedy(
            "Clients report a protocol error (wrong version number) in place of what"
            " the server said.",
            (Advice(Party.SERVER, "end TLS only after its last message, not before it."),),
        ),
    ),
    Rule(
        "INTEROP-PATH",
        OURS,
        Level.INTEROP,
        "path",
        "After this close, the next connection through the same path works.",
        lambda _: None,  # decided over a whole cell, by a connection of its own
        remedy=Remedy(
            "Everybody behind the same forwarder, or all clients if the server died of it.",
            (
                Advice(
                    Party.ANYBODY,
                    "Restart the forwarder, or the server, automatically, or avoid the close that"
                    " kills it.",
                ),
            ),
        ),
    ),
    Rule(
        IDLE_RACE,
        OURS,
        Level.INTEROP,
        "server",
        "A request that meets the idle expiry is answered or refused cleanly, not lost with an"
        " RST, after which nobody knows whether it was done.",
        _idle_race,
        timed=True,
        remedy=Remedy(
            "The request that met the expiry: nobody knows whether it was done, and a"
            " proxy says 502.",
            (
                Advice(
                    Party.CLIENT,
                    "set its idle timeout below the server's, so that no request meets the expiry.",
                ),
                Advice(
                    Party.SERVER,
                    "send close_notify and FIN, then read for a moment before closing.",
                ),
            ),
        ),
    ),
    Rule(
        "INTEROP-IDLE-SILENT",
        OURS,
        Level.INTEROP,
        "path",
        "An idle connection is given up with a close_notify or a FIN that the client can see, so"
        " that a later request on it is not met by an RST, or by silence.",
        _idle_silent,
        if_cut_off=True,
        remedy=Remedy(
            "Pools: they take the connection for a live one, and the next request on it is lost or"
            " waits for its timeout.",
            (
                Advice(
                    Party.CLIENT,
                    "set its idle timeout, or the interval of TCP keepalive, below the time after"
                    " which the path forgets.",
                ),
                Advice(
                    Party.PATH,
                    "find the NAT, firewall or load balancer that drops idle connections, and have"
                    " it keep them longer or reset both ends when it drops one.",
                ),
            ),
        ),
    ),
    Rule(
        "INTEROP-CUT-OFF",
        OURS,
        Level.INFO,
        "server",
        "Bytes are kept from the server, or it has no room to answer: how does it end?",
        _cut_off,
        in_handshake=True,
        in_failure=True,
        if_cut_off=True,
        opt_in=True,
    ),
    Rule(
        "SELF-NOTIFY",
        OURS,
        Level.CHECK,
        "prober",
        "The capture shows that our own side did what the sequence says.",
        _self_notify,
        in_handshake=True,
        in_failure=True,
        if_cut_off=True,
    ),
)
"""tlsprobe's own rules, in the order of reports."""
