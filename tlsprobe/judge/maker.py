"""Who ended a connection: asked here before a server is blamed for anything, and nowhere else.

An RST in the server's name need not be the server's. Its cause may say that something else made it
(a box in between, a host without the connection), or nothing but its own header, which anybody can
copy, says that the server did.

Nor need a FIN be. A proxy that speaks TCP and not TLS (HAProxy in TCP mode, socat, a load balancer)
ends idle connections with a FIN to both sides, and when one side has closed it may close the other
before the rest has come: the alert that the server owed never had a chance.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum, auto

from tlsprobe.judge.closing import FIN, Closing, WireEvent, before
from tlsprobe.judge.foreign_fin import is_comparable
from tlsprobe.judge.waiting import LONG_NS, silence_of
from tlsprobe.model.causes import Cause
from tlsprobe.model.judgement import Level, Reset, Result, RuleResult
from tlsprobe.model.trace import ALERTS, Side, Trace


class Maker(Enum):
    """Who made the end of the server's TCP direction.

    SERVER also where nothing ended it. UNSETTLED: it came in the server's name, and nothing says
    whether the server made it. PERHAPS_A_PROXY: it is a FIN without an alert, as a proxy sends it.
    """

    SERVER = auto()
    OTHERS = auto()
    UNSETTLED = auto()
    PERHAPS_A_PROXY = auto()


def maker_of(closing: Closing, resets: Iterable[Reset], *, near: bool = False) -> Maker:
    """Who made the server's first FIN or RST that ended something.

    ``near``: the connection was over the loopback, where a reset without packets is the server's.
    """
    end = closing.server_end
    if end is None and any(r.side is Side.SERVER and r.packet in closing.unheeded for r in resets):
        return Maker.OTHERS  # it may have ended it, and something in between kept that from us
    if end is None or end.letter == FIN:
        return Maker.SERVER
    found = [r for r in resets if r.side is Side.SERVER and r.packet == end.packet]
    if near and end.packet is None:
        return Maker.SERVER
    if not found or found[0].cause is Cause.UNKNOWN:
        return Maker.UNSETTLED
    if not found[0].cause.row.by_sender:
        return Maker.OTHERS
    return Maker.SERVER if found[0].vouched else Maker.UNSETTLED


def is_by_others(resets: Iterable[Reset]) -> bool:
    """Whether the first RST in the server's name took the place of its FIN, and was not its own."""
    first = next((r for r in resets if r.side is Side.SERVER and r.heeded), None)
    return first is not None and first.before_fin and not first.cause.row.by_sender


def is_wordless(trace: Trace, closing: Closing) -> bool:
    """Whether the server's write side ended with a FIN, and no alert went before it."""
    end = closing.server_end
    return end is not None and end.letter == FIN and not spoke_alert(trace)


def spoke_alert(trace: Trace) -> bool:
    """Whether the server sent an alert."""
    return any(r.side is Side.SERVER and r.kind in ALERTS for r in trace.drive.records)


def is_like_a_proxys(trace: Trace, closing: Closing) -> bool:
    """Whether the server's FIN is one that a proxy or a box before it makes by itself.

    It answers our FIN, or ends a long silence, into which nothing was said inside TLS: no proxy
    that speaks TCP alone could. An alert of ours shows to a box that reads what it forwards. That
    one forges a FIN among packets that are the server's, and where the input shows no headers,
    there is nothing that it could have given itself away by.
    """
    end = closing.server_end
    if end is None or end.letter != FIN:
        return False
    if answers_our_fin(trace, closing, end):
        return True
    if _answers_our_alert(trace, closing, end) and not is_comparable(trace, end.packet):
        return True
    said = (r.time_ns for r in trace.drive.records if r.side is Side.SERVER)
    just_said = any(0 <= end.time_ns - time < LONG_NS for time in said)
    return not just_said and silence_of(trace, closing) is not None


def answers_our_fin(trace: Trace, closing: Closing, end: WireEvent) -> bool:
    """Whether the server's end came when our FIN was there, and may be an answer to it."""
    ours = closing.first(Side.CLIENT, FIN)
    if ours is None or not before(ours, end):
        return False
    fin = trace.segment(ours.packet)
    answer = trace.segment(end.packet)
    return fin is None or answer is None or (answer.ack or 0) > fin.end


def _answers_our_alert(trace: Trace, closing: Closing, end: WireEvent) -> bool:
    """Whether its sender had an alert of ours, which shows on the way: by its type, or its size."""
    if not before(closing.first(Side.CLIENT, "n", "a"), end):
        return False
    ours = next(r for r in trace.drive.records if r.side is Side.CLIENT and r.kind in ALERTS)
    answer = trace.segment(end.packet)
    return answer is None or (answer.ack or 0) >= ours.end


_UNSETTLED = {
    Maker.UNSETTLED: "if it was the server that reset, which nothing but the RST itself says",
    Maker.PERHAPS_A_PROXY: "if it was the server that closed, and no proxy before it",
}


_UNKNOWN = {
    Maker.UNSETTLED: "nothing but the RST itself says that it was the server that reset",
    Maker.PERHAPS_A_PROXY: "nothing says that the server closed it, and no proxy before it",
}


def unknown_maker(results: Iterable[RuleResult], maker: Maker) -> str:
    """Why it cannot be told whether the server keeps a MUST or SHOULD; empty if it can."""
    if any(r.result is Result.INFO and r.level is not Level.INTEROP for r in results):
        return _UNKNOWN.get(maker, "")
    return ""


def as_far_as_settled(
    result: RuleResult, maker: Maker, *, of_server: bool, is_apart: bool
) -> RuleResult | None:
    """What is left of a rule's answer, given who ended the connection.

    ``of_server``: the rule binds the server. ``is_apart``: its breach has nothing to do with how
    the connection ended.
    """
    if maker is Maker.SERVER or not of_server or is_apart:
        return result
    if maker is Maker.OTHERS:
        return None if result.result in {Result.FAIL, Result.WARN} else result
    interop = result.level is Level.INTEROP  # what it does to clients it does, whoever made it
    if result.result is not Result.FAIL and (interop or result.result is not Result.WARN):
        return result
    text = f"{result.text}, {_UNSETTLED[maker]}"
    return RuleResult(result.rule, result.level, Result.INFO, text)
