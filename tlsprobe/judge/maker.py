"""Who ended a connection: asked here before a server is blamed for anything, and nowhere else.

An RST in the server's name need not be the server's. Its cause may say that something else made it
(a box in between, a host without the connection), or nothing but its own header, which anybody can
copy, says that the server did.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum, auto

from tlsprobe.judge.closing import FIN, Closing
from tlsprobe.model.causes import Cause
from tlsprobe.model.judgement import Level, Reset, Result, RuleResult
from tlsprobe.model.trace import Side


class Maker(Enum):
    """Who made the end of the server's TCP direction.

    SERVER also where nothing ended it. UNSETTLED: it came in the server's name, and nothing says
    whether the server made it.
    """

    SERVER = auto()
    OTHERS = auto()
    UNSETTLED = auto()


def maker_of(closing: Closing, resets: Iterable[Reset], *, near: bool = False) -> Maker:
    """Who made the server's first FIN or RST that ended something.

    ``near``: the connection was over the loopback, where a reset without packets is the server's.
    """
    end = closing.server_end
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


UNSETTLED = "if it was the server that reset, which nothing but the RST itself says"


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
    text = f"{result.text}, {UNSETTLED}"
    return RuleResult(result.rule, result.level, Result.INFO, text)
