"""What HTTP/1.1 and HTTP/2 ask of a server that ends a connection."""

from __future__ import annotations

from itertools import pairwise

from tlsprobe.judge.closing import FIN, before
from tlsprobe.judge.rules.rule import Answer, Rule, RuleInput, kind_of
from tlsprobe.judge.rules.tls import notified
from tlsprobe.judge.waiting import ends_with_response
from tlsprobe.model.causes import Advice, Cause, Party, Remedy
from tlsprobe.model.judgement import DataEnd, Level, Reset, Result, TcpEnd, TlsEnd
from tlsprobe.model.sequence import Signal
from tlsprobe.model.trace import DriverEvent, EventKind, RecordKind, RemarkKind, Side

_BODY = 16 * 1024  # more than any request line and header that we send

_STOPPED_NS = 1_000_000_000
_CLOSES_NS = 2_500_000_000
"""Go and Envoy close a second after a GOAWAY with an error, so that the client can read it."""
"""Without progress for so long, a server has stopped to read."""


def _http_close(given: RuleInput) -> Answer:
    goodbye = given.goodbye
    if goodbye is None or given.aborted or given.not_the_servers or given.crossed(goodbye):
        return None
    late = [r for r in given.said(Side.CLIENT, RecordKind.DATA) if r.start >= goodbye.end]
    if late and given.trace.drive.answered_to >= late[0].end:
        return Result.FAIL, "the server answered a request after 'Connection: close'"
    if given.closing.server_end is None and given.axes.tls is TlsEnd.NOTIFIED:
        return Result.PASS, "the server began to close with its close_notify, and waited for ours"
    if given.closing.server_end is None:
        return Result.FAIL, "the server kept the connection after 'Connection: close'"
    return Result.PASS, "the server closed after 'Connection: close'"


def _http_close_header(given: RuleInput) -> Answer:
    goodbye, drive = given.goodbye, given.trace.drive
    if goodbye is None or drive.answered_to < goodbye.end:
        return None
    if any(remark.kind is RemarkKind.CLOSE_ANNOUNCED for remark in drive.remarks):
        return Result.PASS, "the last response carried 'Connection: close'"
    return Result.WARN, "the last response did not carry 'Connection: close'"


def _http_linger(given: RuleInput) -> Answer:
    if given.aborted or given.its_end is None:
        return None
    if not (_has_body(given) or _wrote_behind_goodbye(given)):
        return None
    if not _own_resets(given):
        return Result.PASS, "the server closed in stages: no reset after its last response"
    if given.axes.data is DataEnd.TRUNCATED:
        return Result.INFO, "the server reset because of later bytes, and its response was lost"
    return Result.INFO, "the server reset after its response, which a slower reader would lose"


def _http_body(given: RuleInput) -> Answer:
    answered = given.closing.first(Side.SERVER, "d")
    if given.aborted or answered is None or given.not_the_servers or not _has_body(given):
        return None
    if given.closing.server_end is not None:
        return Result.PASS, "the server closed the connection after its response to the upload"
    bodies = given.said(Side.CLIENT, RecordKind.DATA)
    acks = [s for s in given.trace.segments if s.side is Side.SERVER and s.ack is not None]
    if bodies and max((s.ack or 0 for s in acks), default=0) >= bodies[-1].end:
        return Result.PASS, "the server took the whole body and kept the connection"
    if not _has_stopped_reading(given):
        return None
    return Result.FAIL, "the server responded, and neither read the whole body nor closed"


def _has_stopped_reading(given: RuleInput) -> bool:
    """Whether bytes of ours waited in vain for the server to take them.

    As long as it takes some, or has room and we send none, a slow machine would be blamed.
    """
    reach, taken, room, since = 0, 0, 0, None
    for segment in given.trace.segments:
        if segment.side is Side.CLIENT:
            reach = max(reach, segment.end)
        elif segment.ack is not None:
            room = segment.window
            if segment.ack > taken:
                taken, since = segment.ack, segment.time_ns
    waits = reach > taken or room == 0
    left = given.trace.drive.events[-1].time_ns
    return since is not None and waits and left - since >= _STOPPED_NS


def _http_idle(given: RuleInput) -> Answer:
    first = given.closing.wire_events[:1]
    idle = first and first[0].side is Side.SERVER and first[0].letter != "d"
    if not idle or given.its_end is None or not given.spoken:
        return None
    if given.trace.drive.did(EventKind.SIGNALLED) is not None:
        return None  # told to stop: that has rules of its own
    if ends_with_response(given.trace, given.closing):
        return None  # it was never idle
    if given.axes.tcp is TcpEnd.RESET:
        return Result.WARN, "the idle connection was ended by a reset"
    if given.axes.tls is not TlsEnd.NOTIFIED:
        return Result.WARN, "the idle connection was ended without a close_notify"
    return Result.PASS, "the idle connection was ended with close_notify and FIN"


def _http_tls_alert(given: RuleInput) -> Answer:
    return notified(given) if given.spoken else None


def _http_tls_incomplete(given: RuleInput) -> Answer:
    fin, end = given.closing.first(Side.CLIENT, FIN), given.its_end
    left = given.client_led and fin is not None and before(fin, end)
    if not given.spoken or end is None or not left or given.aborted:
        return None
    if _wrote_behind_alert(given):
        return None  # which may lie there unread when it closes, and has it reset
    if given.sent_error_alert:
        return Result.WARN, "our alert and FIN were answered with an error alert"
    if given.axes.tcp is TcpEnd.RESET:
        return Result.WARN, "our alert and FIN were answered with an RST"
    return Result.PASS, "our alert and FIN, without waiting for an answer, were taken as an end"


def _wrote_behind_alert(given: RuleInput) -> bool:
    """Whether our side sent anything more behind its close_notify."""
    ours = given.said(Side.CLIENT, RecordKind.CLOSE_NOTIFY, RecordKind.DATA, RecordKind.GOODBYE)
    at = next((i for i, r in enumerate(ours) if r.kind is RecordKind.CLOSE_NOTIFY), len(ours))
    return len(ours) > at + 1


def _own_resets(given: RuleInput) -> list[Reset]:
    return [reset for reset in given.server_resets if reset.cause is not Cause.MIDDLEBOX]


def _has_body(given: RuleInput) -> bool:
    """Our side sent more than a header: by the packets, since an upload may be cut short."""
    mark = given.trace.drive.mark
    since = mark.client if mark else 0
    sent = [s.end for s in given.trace.segments if s.side is Side.CLIENT and s.length]
    return max(sent, default=0) - since > _BODY


def _wrote_behind_goodbye(given: RuleInput) -> bool:
    goodbye = given.goodbye
    kinds = RecordKind.DATA, RecordKind.CLOSE_NOTIFY
    return goodbye is not None and any(
        record.start >= goodbye.end for record in given.said(Side.CLIENT, *kinds)
    )


# --- HTTP/2 ---------------------------------------------------------------------------------------


ANY_STREAM = 2**31 - 1
"""The last stream of a GOAWAY that announces an end and refuses nothing yet."""

_DRAINS = frozenset({Signal.GRACEFUL, Signal.RELOAD})


def _goaways(given: RuleInput) -> list[tuple[int, int]]:
    """The server's GOAWAY frames, each with its last stream and its error code."""
    remarks = given.trace.drive.remarks
    return [(r.last_stream or 0, r.error or 0) for r in remarks if r.kind is RemarkKind.GOAWAY]


def _h2_goaway(given: RuleInput) -> Answer:
    """Asked only where our side had not ended TLS or TCP first, and left nothing to announce."""
    end = given.its_end
    if end is None or given.aborted:
        return None
    if before(given.closing.first(Side.CLIENT, "n", FIN), end):
        return None
    if _goaways(given):
        return Result.PASS, f"a GOAWAY came before the server ended with {kind_of(end)}"
    return Result.WARN, f"the server ended with {kind_of(end)} and no GOAWAY before it"


def _h2_last_id(given: RuleInput) -> Answer:
    last = [stream for stream, _ in _goaways(given)]
    if len(last) < 2:
        return None
    if any(later > earlier for earlier, later in pairwise(last)):
        return Result.FAIL, "a later GOAWAY named a higher last stream than an earlier one"
    return Result.PASS, "no later GOAWAY named a higher last stream"


def _h2_two_stages(given: RuleInput) -> Answer:
    """Asked of a server that was told to drain, as far as it says GOAWAY: whom it costs a request.

    A GOAWAY that names the last stream at once refuses what is on its way. Where nothing was, it
    has cost nobody anything.
    """
    drive = given.trace.drive
    told, goaways = drive.did(EventKind.SIGNALLED), _goaways(given)
    if told is None or told.verb not in _DRAINS or given.aborted or given.not_the_servers:
        return None
    if not goaways or goaways[0][1]:
        return None
    first, last = goaways[0][0], min(stream for stream, _ in goaways)
    if first == ANY_STREAM:
        then = f", and a later one named stream {last} as the last" if len(goaways) > 1 else ""
        return Result.PASS, f"the first GOAWAY left room for streams on their way{then}"
    said = f"the first GOAWAY named stream {first} as the last at once"
    refused = drive.owed - (last + 1) // 2
    if refused > 0 and _left_unaware(given, told):
        return Result.WARN, f"{said}, which refused {refused} of ours that was on its way"
    return Result.INFO, f"{said}, and refused nothing that was on its way"


def _left_unaware(given: RuleInput, told: DriverEvent) -> bool:
    """Whether we sent something behind the signal before we read anything that came after it."""
    heard = [r.time_ns for r in given.said(Side.SERVER, RecordKind.DATA)]
    since = min((at for at in heard if at > told.time_ns), default=None)
    sent = [r.time_ns for r in given.said(Side.CLIENT, RecordKind.DATA)]
    return any(told.time_ns < at and (since is None or at < since) for at in sent)


def _h2_error_closes(given: RuleInput) -> Answer:
    errors = [error for _, error in _goaways(given) if error]
    if not errors or given.aborted or given.not_the_servers:
        return None
    if given.closing.server_end is None:
        kept = f"the server kept the connection after GOAWAY with error {errors[0]}"
        if not _waited_behind_its_word(given):
            return Result.INFO, f"{kept}, for the short time that we waited"
        return Result.FAIL, kept
    return Result.PASS, f"the server closed after its GOAWAY with error {errors[0]}"


def _waited_behind_its_word(given: RuleInput) -> bool:
    """Whether we waited, behind the last that the server said, longer than servers linger."""
    gave_up = [e.time_ns for e in given.trace.drive.events if e.kind is EventKind.GAVE_UP]
    heard = max((r.time_ns for r in given.said(Side.SERVER, RecordKind.DATA)), default=0)
    return bool(gave_up) and gave_up[-1] - heard >= _CLOSES_NS


HTTP_RULES = (
    Rule(
        "HTTP-CLOSE",
        "RFC 9112 section 9.6",
        Level.MUST,
        "server",
        "After the response to a request with 'Connection: close' the server closes, and answers"
        " nothing more.",
        _http_close,
        checked=True,
        is_apart=True,
        protocols=("http1",),
        remedy=Remedy(
            "A client that asked for the end waits for it until its own timeout.",
            (
                Advice(
                    Party.SERVER,
                    "close when the response to 'Connection: close' is out; answer nothing more.",
                ),
            ),
        ),
    ),
    Rule(
        "HTTP-CLOSE-HEADER",
        "RFC 9112 section 9.6",
        Level.SHOULD,
        "server",
        "The last response on a connection says 'Connection: close'.",
        _http_close_header,
        checked=True,
        is_apart=True,
        protocols=("http1",),
        remedy=Remedy(
            "A client that keeps the connection for its next request, and loses that one.",
            (Advice(Party.SERVER, "say 'Connection: close' in the last response."),),
        ),
    ),
    Rule(
        "HTTP-LINGER",
        "RFC 9112 section 9.6",
        Level.INFO,
        "server",
        "A server closes in stages, so that no reset for unread bytes erases its last response.",
        _http_linger,
        checked=True,
        protocols=("http1",),
        timed=True,
        remedy=Remedy(
            "A slow reader: the reset can erase a response that has arrived and is not read yet.",
            (
                Advice(
                    Party.SERVER,
                    "half-close, read on until the client is done, then close.",
                ),
            ),
        ),
    ),
    Rule(
        "HTTP-BODY",
        "RFC 9112 section 9.3",
        Level.MUST,
        "server",
        "A server that has responded reads the whole body of the request, or closes.",
        _http_body,
        checked=True,
        protocols=("http1",),
        remedy=Remedy(
            "The client, which hangs in the middle of its upload, or has it taken for a request.",
            (Advice(Party.SERVER, "read the rest of the body and discard it, or close."),),
        ),
    ),
    Rule(
        "HTTP-IDLE-GRACEFUL",
        "RFC 9112 section 9.5",
        Level.SHOULD,
        "server",
        "Idle connections are ended gracefully, so that the other side can tell.",
        _http_idle,
        checked=True,
        protocols=("http1",),
        remedy=Remedy(
            "Pools, which cannot tell an idle timeout from a broken path.",
            (
                Advice(Party.SERVER, "on idle timeout send close_notify and FIN."),
                Advice(
                    Party.CLIENT,
                    "set its idle timeout below the server's, so that it closes first.",
                ),
            ),
        ),
    ),
    Rule(
        "HTTP-TLS-ALERT",
        "RFC 9112 section 9.8",
        Level.MUST,
        "server",
        "A server tries to exchange closure alerts before it closes the connection.",
        _http_tls_alert,
        checked=True,
        protocols=("http1",),
        remedy=Remedy(
            "A reader of a response without a length cannot tell whether it is whole.",
            (Advice(Party.SERVER, "call the TLS library's shutdown before closing the socket."),),
        ),
    ),
    Rule(
        "HTTP-TLS-INCOMPLETE",
        "RFC 9112 section 9.8",
        Level.SHOULD,
        "server",
        "A client that closes without waiting for the server's alert is no error.",
        _http_tls_incomplete,
        checked=True,
        protocols=("http1",),
        remedy=Remedy(
            "Clients that close without waiting, which are most: their error counts climb.",
            (Advice(Party.SERVER, "take the client's alert and FIN for the end that they are."),),
        ),
    ),
    Rule(
        "H2-GOAWAY",
        "RFC 9113 section 6.8, section 9.1",
        Level.SHOULD,
        "both",
        "A GOAWAY frame comes before the end of the connection, also of an idle one.",
        _h2_goaway,
        checked=True,
        protocols=("http2",),
        remedy=Remedy(
            "A client whose request crossed the close: it cannot know whether that is"
            " safe to repeat.",
            (
                Advice(
                    Party.SERVER, "send GOAWAY before closing, also when the connection is idle."
                ),
            ),
        ),
    ),
    Rule(
        "H2-LAST-ID",
        "RFC 9113 section 6.8",
        Level.MUST,
        "both",
        "The last stream that GOAWAY frames name never grows from one to the next.",
        _h2_last_id,
        checked=True,
        is_apart=True,
        protocols=("http2",),
        remedy=Remedy(
            "A client that has repeated a request elsewhere, and now it is done twice.",
            (
                Advice(
                    Party.SERVER,
                    "announce the highest stream first, and lower it in later GOAWAY frames.",
                ),
            ),
        ),
    ),
    Rule(
        "H2-TWO-STAGES",
        "RFC 9113 section 6.8",
        Level.SHOULD,
        "server",
        "To end in good order, a first GOAWAY names stream 2^31-1, and a later one the last.",
        _h2_two_stages,
        opt_in=True,
        checked=True,
        protocols=("http2",),
        remedy=Remedy(
            "A client whose request crossed the GOAWAY has to send it again.",
            (
                Advice(
                    Party.SERVER,
                    "announce the end with stream 2^31-1 first, and name the last stream a round"
                    " trip later.",
                ),
                Advice(Party.CLIENT, "repeat streams above the last that a GOAWAY names."),
            ),
        ),
    ),
    Rule(
        "H2-ERROR-CLOSES",
        "RFC 9113 section 5.4.1",
        Level.MUST,
        "endpoint",
        "After a GOAWAY with an error the TCP connection is closed.",
        _h2_error_closes,
        checked=True,
        protocols=("http2",),
        remedy=Remedy(
            "Both sides: each keeps a connection that neither may use.",
            (Advice(Party.SERVER, "close TCP once the GOAWAY with the error is out."),),
        ),
    ),
)
"""The rules of HTTP/1.1 and HTTP/2, in the order of reports."""
