"""Whether a session can be resumed, by how its connection ended.

TLS 1.0 forbade to resume a session whose connection had ended without a close_notify. Since TLS
1.1 nothing does (RFC 5246 section 7.2.1), and TLS 1.3 says nothing of it: what servers do is told,
and none is blamed. A fatal alert is another matter. In TLS 1.2 the id of the session is invalid
from then on; of tickets, which a server may keep no list of, TLS 1.3 says that they SHOULD be
discarded "if possible" (RFC 8446 section 6), and RFC 5077 nothing.
"""

from __future__ import annotations

from tlsprobe.judge.closing import FIN
from tlsprobe.judge.rules.rule import Answer, Rule, RuleInput
from tlsprobe.model.causes import Advice, Party, Remedy
from tlsprobe.model.judgement import Level, Result
from tlsprobe.model.trace import By, DriverEvent, EventKind, RecordKind, Side

_FOUND_OUT = frozenset({EventKind.RESUMED, EventKind.NOT_RESUMED})
_BY = {By.TICKET: "its ticket", By.ID: "its id"}


def _forgets(given: RuleInput) -> Answer:
    """A server that reset may have left our alert unread: it knows of nothing to forget."""
    found = _found_out(given)
    if found is None or found.detail != By.ID or given.not_the_servers or not _has_failed(given):
        return None
    end = given.closing.server_end
    if end is None:
        return None
    if found.kind is EventKind.NOT_RESUMED:
        return Result.PASS, "the session was not resumed by its id after a fatal alert"
    said = "the session was resumed by its id although a fatal alert had ended its connection"
    if end.letter != FIN and not given.sent_error_alert:
        return Result.INFO, f"{said}, which the server may have left unread"
    return Result.FAIL, said


def _told(given: RuleInput) -> Answer:
    found = _found_out(given)
    if found is None or (found.detail == By.ID and _has_failed(given)):
        return None
    was_resumed = found.kind is EventKind.RESUMED
    was = "was resumed" if was_resumed else "was not resumed"
    result = Result.PASS if was_resumed and not _has_failed(given) else Result.INFO
    return result, f"the session {was} by {_BY[By(found.detail)]} after {_ending(given)}"


def _found_out(given: RuleInput) -> DriverEvent | None:
    """What came of the second connection; None also for a way to resume that nobody here knows."""
    events = given.trace.drive.events
    return next((e for e in events if e.kind in _FOUND_OUT and e.detail in _BY), None)


def _has_failed(given: RuleInput) -> bool:
    """Whether a fatal alert of either side ended the connection."""
    ours = given.failed is not None and given.is_error(given.failed)
    return ours or given.sent_error_alert


def _ending(given: RuleInput) -> str:
    """How the connection of the session ended, as far as it decides about resuming."""
    if _has_failed(given):
        return "a fatal alert"
    if given.aborted:
        return "our RST"
    told = [side for side in Side if given.said(side, RecordKind.CLOSE_NOTIFY)]
    match told:
        case []:
            return "an end without an alert"
        case [Side.CLIENT]:
            return "our close_notify alone"
        case [Side.SERVER]:
            return "the server's close_notify alone"
        case _:
            return "a close_notify of each side"


RESUMPTION_RULES = (
    Rule(
        "TLS12-FORGET",
        "RFC 5246 section 7.2, 7.2.2",
        Level.MUST,
        "both",
        "A session whose connection a fatal alert has ended is not resumed: its id is invalid.",
        _forgets,
        in_failure=True,
        opt_in=True,
        checked=True,
        tls="1.2",
        remedy=Remedy(
            "Keys that one side has given up go on to be used.",
            (
                Advice(
                    Party.SERVER,
                    "take a session out of the cache when the TLS library reports a fatal alert.",
                ),
            ),
        ),
    ),
    Rule(
        "TLS-RESUME",
        "RFC 5246 section 7.2.1; RFC 8446 section 6",
        Level.INFO,
        "both",
        "Since TLS 1.1 a session may be resumed however its connection ended, but by a failure.",
        _told,
        in_failure=True,
        opt_in=True,
        checked=True,
    ),
)
"""The rules of resuming a session, in the order of reports."""
