"""Faults of what connections of one server do to each other, and of what it reads together."""

from __future__ import annotations

import trio

from tests.fuzz.faults.peer import ENDS, LOST, NOTIFY, RESETS, RULES, Fault, Seeded
from tests.fuzz.faults.ways import (
    EOF,
    FOREVER,
    abort,
    as_,
    both,
    end_politely,
    polite,
    stay,
    when,
)
from tlsprobe.reference.dialects import PONG, Gone
from tlsprobe.reference.peer import Occasion

_AT_ONCE, _IN_A_MOMENT = 0.002, 0.01
_MANY = 8


async def _ends_another_too(peer: Seeded, occasion: Occasion) -> None:
    """A goodbye resets another connection, which has nothing to do with it."""
    if occasion is Occasion.GOODBYE:
        other = next((one for one in peer.house.peers if one is not peer), None)
        if other is not None:
            other.life.cancel()
    await polite(peer, occasion)


async def _forgets_a_request(peer: Seeded, words: bytes) -> Occasion | None:
    """A request is not answered if the goodbye is there when it is read."""
    if words == b"bye\n":
        return Occasion.GOODBYE
    await _answer_what_waits(peer)
    if words == b"ping\n" and await peer.comes_soon(_AT_ONCE):
        peer.waiting = words
        return None
    return await peer.answer_as_usual(words)


async def _answer_what_waits(peer: Seeded) -> None:
    if peer.waiting:
        peer.waiting = b""
        await peer.say(PONG)


async def _ends_with_what_waits(peer: Seeded, occasion: Occasion) -> None:
    if occasion is not Occasion.GOODBYE:
        await _answer_what_waits(peer)
    await polite(peer, occasion)


async def _alert_before_response(peer: Seeded, words: bytes) -> Occasion | None:
    """Sees the client's end before it has answered, and sends its alert first."""
    if words == b"ping\n" and await peer.comes_soon(_IN_A_MOMENT):
        await peer.notify()
        await peer.say(PONG)
        return Occasion.CUT
    return await peer.answer_as_usual(words)


async def _no_second_alert(peer: Seeded, occasion: Occasion) -> None:
    await (end_politely(peer) if occasion is Occasion.CUT else polite(peer, occasion))


async def _greets_few_at_a_time(peer: Seeded) -> None:
    """Of many clients that leave in the middle of their handshakes, some are kept."""
    peer.house.greeting += 1
    try:
        await peer.handshake()
    except Gone:
        if peer.house.greeting > _MANY:
            await trio.sleep(FOREVER)
        raise
    finally:
        peer.house.greeting -= 1


def _was_reset_thrice(peer: Seeded, _: Occasion) -> bool:
    return peer.house.resets >= 3


def _half_a_goodbye(peer: Seeded, _: Occasion) -> bool:
    return b"".join(peer.words).endswith(b"by")


def _was_cut(peer: Seeded, _: Occasion) -> bool:
    return peer.was_cut


async def _silent_if_behind(peer: Seeded, words: bytes) -> Occasion | None:
    """Remembers that the client's end was there before a large response had left."""
    peer.was_behind = words.startswith(b"get ") and await peer.comes_soon(_IN_A_MOMENT)
    return await peer.answer_as_usual(words)


def _was_behind(peer: Seeded, _: Occasion) -> bool:
    return peer.was_behind


NEIGHBOURS = (
    Fault("aborts-a-neighbour", "neighbours", "terminate; drain", RESETS, _ends_another_too),
    Fault(
        "silent-after-three-resets",
        "neighbours",
        "fin; drain",
        NOTIFY,
        when(_was_reset_thrice, as_("silent")),
    ),
    Fault(
        "crowded-handshakes-kept",
        "neighbours",
        "connect; sleep 0.3s; fin; drain",
        ENDS,
        polite,
        greet=_greets_few_at_a_time,
    ),
)

READINGS = (
    Fault(
        "request-before-goodbye-forgotten",
        "reading",
        "send + terminate; drain",
        LOST,
        _ends_with_what_waits,
        answer=_forgets_a_request,
    ),
    Fault(
        "alert-before-response",
        "reading",
        "send + close_notify; drain",
        (*LOST, *RULES),
        _no_second_alert,
        answer=_alert_before_response,
    ),
    Fault(
        "abort-behind-cut-record",
        "reading",
        "send cut; fin; drain",
        RESETS,
        when(both(EOF, _was_cut), abort),
    ),
    Fault(
        "silent-behind-backlog",
        "reading",
        "send large; fin; drain",
        NOTIFY,
        when(_was_behind, as_("silent")),
        answer=_silent_if_behind,
    ),
    Fault(
        "half-goodbye-kept",
        "reading",
        'send "by"; fin; drain',
        ENDS,
        when(both(EOF, _half_a_goodbye), stay),
    ),
)
