"""Faults that take much to say, or only a part of it."""

from __future__ import annotations

from tests.fuzz.faults.peer import LOST, RESETS, Fault, Seeded
from tests.fuzz.faults.ways import SOON, abort, half, large, polite, when
from tlsprobe.reference.dialects import Lines
from tlsprobe.reference.peer import Occasion

_64K = 2**16


async def _drops_tail(peer: Seeded, words: bytes) -> Occasion | None:
    """A large response of which the rest is forgotten if the client's end is there already."""
    if words.startswith(b"get ") and await peer.comes_soon(0.02):
        await peer.half_of(words.partition(b"\n")[0] + b"\n")
        return Occasion.CUT
    return await peer.answer_as_usual(words)


async def _cuts_second(peer: Seeded, words: bytes) -> Occasion | None:
    """The second response on a connection ends in its middle."""
    if peer.asked < 2 or b"bye" in words:
        return await peer.answer_as_usual(words)
    await peer.half_of(words)
    return Occasion.CUT


async def _drops_behind_64k(peer: Seeded, words: bytes) -> Occasion | None:
    """A response that takes more than 64 KiB, cut there if the client's end comes meanwhile."""
    response = b"".join(turn.response for turn in Lines().feed(words))
    if len(response) <= _64K or b"bye" in words:
        return await peer.answer_as_usual(words)
    await peer.say(response[:_64K])
    if await peer.comes_soon(SOON):
        return Occasion.CUT
    await peer.say(response[_64K:])
    return None


SIZES = (
    Fault("abort-after-large", "size", "request large; fin; drain", RESETS, when(large, abort)),
    Fault("lost-tail", "size", "send large + fin; drain", LOST, polite, answer=_drops_tail),
    Fault(
        "second-response-cut", "size", "send; send; fin; drain", LOST, polite, answer=_cuts_second
    ),
    Fault("abort-after-half-request", "size", "send part; fin; drain", RESETS, when(half, abort)),
    Fault(
        "tail-behind-64k", "size", "send large; fin; drain", LOST, polite, answer=_drops_behind_64k
    ),
)
