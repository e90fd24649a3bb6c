"""Two rules of tlsprobe's own about an RST: before the server's FIN, or behind it.

The first is a hazard whoever sent the RST, and says so of whom it is not known.
"""

from __future__ import annotations

from tlsprobe.judge.maker import Maker
from tlsprobe.judge.rules.rule import OURS, Answer, Rule, RuleInput
from tlsprobe.model.judgement import Level, Provoked, Result, TcpEnd

_RESET_BY = {
    Maker.SERVER: "the server reset",
    Maker.OTHERS: "a reset that the server did not make came",
    Maker.UNSETTLED: "a reset in the server's name came",
}


def _sender_behind_fin(given: RuleInput) -> Maker:
    """Who reset behind the server's FIN, which ended its side before."""
    first = next(iter(given.server_resets), None)
    if first is None:
        return Maker.SERVER
    if not first.cause.row.by_sender:
        return Maker.OTHERS
    return Maker.SERVER if first.vouched else Maker.UNSETTLED


def _reset_before_fin(given: RuleInput) -> Answer:
    if given.closing.server_end is None or given.aborted:
        return None
    if given.foreign_fin:
        return Result.INFO, "a FIN that the server did not make ended the connection"
    if given.axes.tcp is not TcpEnd.RESET:
        return Result.PASS, "no reset came before the server's FIN"
    what = f"{_RESET_BY[given.maker]} in place of a FIN: a reader gets ECONNRESET, not EOF"
    if given.not_the_servers:
        return Result.INFO, what
    if given.maker is Maker.UNSETTLED:
        return Result.WARN, f"{what}; nothing but the RST itself says that the server sent it"
    return Result.WARN, what


def _reset_after_fin(given: RuleInput) -> Answer:
    if given.closing.server_end is None or given.aborted or given.axes.tcp is TcpEnd.RESET:
        return None
    if given.axes.tcp is TcpEnd.FIN_RESET:
        who = _RESET_BY[_sender_behind_fin(given)]
        if any(reset.provoked is Provoked.DATA for reset in given.server_resets):
            return Result.INFO, f"{who} after its FIN: what we had sent met no reader and is lost"
        return Result.INFO, f"{who} after its FIN: readers saw EOF, reset metrics count it"
    return Result.PASS, "no reset came after the server's FIN"


RESET_RULES = (
    Rule(
        "INTEROP-RESET-BEFORE-FIN",
        OURS,
        Level.INTEROP,
        "server",
        "A reader gets EOF, not ECONNRESET: a read error can tear down a forwarder's tunnel.",
        _reset_before_fin,
        in_handshake=True,
        timed=True,
    ),
    Rule(
        "INTEROP-RESET-AFTER-FIN",
        OURS,
        Level.INTEROP,
        "server",
        "No reset follows the FIN: harmless to readers, but metrics and firewalls count it.",
        _reset_after_fin,
        in_handshake=True,
        timed=True,
    ),
)
