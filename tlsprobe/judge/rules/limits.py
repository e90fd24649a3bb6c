"""What is asked of a server that ends a connection because it has done, or waited, enough.

So many requests on a connection, so old a connection, so long a response that nobody reads: that a
server has such limits is no fault. What is asked is whether its client can tell.
"""

from __future__ import annotations

from tlsprobe.judge.closing import FIN, RST, before
from tlsprobe.judge.rules.rule import OURS, Answer, Rule, RuleInput, kind_of
from tlsprobe.model.causes import Advice, Party, Remedy
from tlsprobe.model.judgement import DataEnd, Level, Result, TcpEnd, TlsEnd
from tlsprobe.model.trace import CLOSING_REMARKS, EventKind, Record, RecordKind, RemarkKind, Side
from tlsprobe.model.verbs import Verb

_LAST = CLOSING_REMARKS | {RemarkKind.GOAWAY}


def _has_said(given: RuleInput) -> bool:
    """Whether the server announced its last response, or named the last stream."""
    return any(remark.kind in _LAST for remark in given.trace.drive.remarks)


def _announced(given: RuleInput) -> Answer:
    if Verb.EXHAUST not in given.done or given.aborted or given.not_the_servers:
        return None
    if _has_said(given):
        return Result.PASS, "the server said that it would answer no more on this connection"
    end = given.closing.server_end
    if end is None:
        return None
    how = kind_of(end)
    return (
        Result.WARN,
        f"the server ended with {how}, and no response had said that it was the last",
    )


def _race(given: RuleInput) -> Answer:
    """A request behind the last response, or one that crossed the end that nobody announced."""
    request = _late_request(given)
    if request is None or given.aborted or given.not_the_servers:
        return None
    drive = given.trace.drive
    if drive.answered_to >= request.end:
        return Result.PASS, "a request behind the limit was answered"
    if given.axes.tcp is TcpEnd.RESET:
        return Result.WARN, "a request that crossed the server's limit was lost with an RST"
    if given.closing.server_end is None and given.axes.tls is not TlsEnd.NOTIFIED:
        waited = drive.did(EventKind.GAVE_UP) is not None
        silent = Result.WARN, "a request that crossed the server's limit met silence"
        return silent if waited else None
    if _has_said(given):
        return Result.PASS, "a request behind the last response met the end that was announced"
    return Result.INFO, "a request that crossed the limit met EOF: it is lost unless sent again"


def _late_request(given: RuleInput) -> Record | None:
    """Our last request, where it found the server at its limit."""
    if Verb.EXHAUST not in given.done:
        return None
    left = given.closing.first(Side.CLIENT, "n", "g", FIN, RST)
    if left is not None and before(left, given.closing.server_began):
        return None
    sent = given.said(Side.CLIENT, RecordKind.DATA)
    is_late = len(sent) > 1 or (bool(sent) and given.trace.drive.answered_to < sent[-1].end)
    return sent[-1] if is_late else None


def _stalled(given: RuleInput) -> Answer:
    """A response that our side took too long to read."""
    if Verb.STALL not in given.done or given.aborted or given.not_the_servers:
        return None
    end = given.closing.server_end
    if end is None or given.axes.data is not DataEnd.TRUNCATED:
        return None
    remarks = given.trace.drive.remarks
    endless = any(remark.kind is RemarkKind.CLOSE_IMPLIED for remark in remarks)
    if endless and end.letter == FIN and given.axes.tls is TlsEnd.NOTIFIED:
        return Result.WARN, "a response cut off for want of a reader ends like one that is whole"
    how = kind_of(end)
    return Result.PASS, f"the server gave a client up that did not read, with {how}: it can tell"


LIMIT_RULES = (
    Rule(
        "LIMIT-ANNOUNCED",
        "RFC 9112 section 9.6, RFC 9113 section 6.8",
        Level.SHOULD,
        "server",
        "The last response before a limit says that it is the last: 'Connection: close', GOAWAY.",
        _announced,
        protocols=("http1", "http2"),
        opt_in=True,
        remedy=Remedy(
            "The next request: a client that was told nothing sends it, and it is lost.",
            (
                Advice(
                    Party.SERVER,
                    "say 'Connection: close' in the last response, or GOAWAY, before it closes.",
                ),
            ),
        ),
    ),
    Rule(
        "LIMIT-RACE",
        OURS,
        Level.INTEROP,
        "server",
        "A request that crosses the server's last response is answered, or meets EOF; not an RST,"
        " after which nobody knows whether it was done.",
        _race,
        timed=True,
        opt_in=True,
        remedy=Remedy(
            "One request in so many: a proxy says 502 each time that a connection is used up.",
            (
                Advice(Party.SERVER, "send FIN, then read on for a moment before closing."),
                Advice(
                    Party.CLIENT,
                    "use a connection for fewer requests, and less long, than the server allows.",
                ),
            ),
        ),
    ),
    Rule(
        "LIMIT-STALL",
        OURS,
        Level.INTEROP,
        "server",
        "A client that does not read is given up with an end that it can tell from a whole"
        " response.",
        _stalled,
        opt_in=True,
        remedy=Remedy(
            "A slow reader that takes a part for the whole.",
            (Advice(Party.SERVER, "send no close_notify behind a response that is cut off."),),
        ),
    ),
)
"""What is asked of a server that is at a limit of its own, in the order of reports."""
