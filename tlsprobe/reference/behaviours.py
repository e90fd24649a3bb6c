"""How each reference server ends a connection: one small function each."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import trio

from tlsprobe.reference.dialects import Manner
from tlsprobe.reference.peer import Occasion, Peer

_UNTIL_CLIENT_IS_DONE = 2.0
_PROCESS_EXIT = 0.02
_LATE = 0.25  # a client on a busy machine may be so late
_FOREVER = 20.0

LINGER = 0.3
"""Seconds for which ``lingering`` waits for the client's end before it sends its own FIN."""

_WARNING, _FATAL = 1, 2
_CLOSE_NOTIFY, _USER_CANCELED = 0, 90
_PLAINLY = Manner()
_DEAF = Manner(listens=False)
_IN_ERROR = Manner(goaways=((1, 2),))

End = Callable[[Peer, Occasion], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Behaviour:
    """A reference server: ``does`` says in words what ``end`` does; ``manner`` is how it speaks."""

    name: str
    does: str
    end: End
    manner: Manner = _PLAINLY


async def _polite(peer: Peer, _: Occasion) -> None:
    await peer.notify()
    peer.fin()
    await peer.linger(_UNTIL_CLIENT_IS_DONE)
    peer.close()


async def _silent(peer: Peer, _: Occasion) -> None:
    peer.fin()
    await peer.linger(_UNTIL_CLIENT_IS_DONE)
    peer.close()


async def _hasty(peer: Peer, _: Occasion) -> None:
    await peer.notify()
    peer.close()


async def _rude(peer: Peer, _: Occasion) -> None:
    await peer.notify()
    await peer.unread(_LATE)  # a process takes its time to exit; what comes now stays unread
    peer.close()


async def _aborting(peer: Peer, _: Occasion) -> None:
    await peer.linger(_PROCESS_EXIT)  # nothing is unread when it resets
    peer.abort()


async def _aborting_at_once(peer: Peer, _: Occasion) -> None:
    peer.abort()


async def _lingering(peer: Peer, _: Occasion) -> None:
    await peer.notify()
    await peer.linger(LINGER)
    peer.fin()  # and goes on reading: what came just now would be unread, and a reset
    await peer.linger(_UNTIL_CLIENT_IS_DONE)
    peer.close()


async def _mute(peer: Peer, _: Occasion) -> None:
    await trio.sleep(_FOREVER)
    peer.abort()


async def _half_closing(peer: Peer, _: Occasion) -> None:
    await peer.notify()
    peer.fin()
    await peer.unread(_LATE)
    peer.close()


async def _answering(peer: Peer, occasion: Occasion) -> None:
    if occasion is Occasion.NOTIFIED:
        await peer.answer_anything()
    await _polite(peer, occasion)


async def _replying(peer: Peer, occasion: Occasion) -> None:
    if occasion is Occasion.NOTIFIED:
        await peer.say(b"what was that?\n")
    await _polite(peer, occasion)


async def _insisting(peer: Peer, occasion: Occasion) -> None:
    if occasion is Occasion.FAILED:
        await peer.insist(b"what was that?\n")
    await _polite(peer, occasion)


async def _repeating(peer: Peer, _: Occasion) -> None:
    await peer.notify()
    await peer.notify_again()
    peer.fin()
    await peer.linger(_UNTIL_CLIENT_IS_DONE)
    peer.close()


async def _failing(peer: Peer, _: Occasion) -> None:
    await peer.fail()
    peer.fin()
    await peer.linger(_UNTIL_CLIENT_IS_DONE)
    peer.close()


async def _failing_open(peer: Peer, occasion: Occasion) -> None:
    await peer.fail()
    await _mute(peer, occasion)


async def _grave(peer: Peer, _: Occasion) -> None:
    await _forging(peer, (_FATAL, _CLOSE_NOTIFY))


async def _canceling(peer: Peer, _: Occasion) -> None:
    await _forging(peer, (_WARNING, _USER_CANCELED), (_WARNING, _CLOSE_NOTIFY))


async def _canceling_only(peer: Peer, _: Occasion) -> None:
    await _forging(peer, (_WARNING, _USER_CANCELED))


async def _forging(peer: Peer, *alerts: tuple[int, int]) -> None:
    for level, description in alerts:
        await peer.alert(level, description)
    peer.fin()
    await peer.linger(_UNTIL_CLIENT_IS_DONE)
    peer.close()


async def _indiscreet(peer: Peer, _: Occasion) -> None:
    await peer.notify()
    await peer.say_plainly(b"bye, in plain text\n")
    peer.fin()
    await peer.linger(_UNTIL_CLIENT_IS_DONE)
    peer.close()


async def _parting(peer: Peer, occasion: Occasion) -> None:
    await peer.farewell()
    await _mute(peer, occasion)


BEHAVIOURS = {
    behaviour.name: behaviour
    for behaviour in (
        Behaviour("polite", "alert, FIN, then reads until the client is done", _polite),
        Behaviour("silent", "FIN without an alert", _silent),
        Behaviour("hasty", "alert, then closes at once without reading", _hasty),
        Behaviour("rude", "alert, then exits with the client's last bytes unread", _rude),
        Behaviour("aborting", "reads everything, then resets (linger 0)", _aborting),
        Behaviour("lingering", "alert, and no FIN until the client is done", _lingering),
        Behaviour("mute", "never ends the connection", _mute),
        Behaviour("truncating", "stops in the middle of a response", _polite, Manner(cuts=True)),
        Behaviour("half-closing", "alert, FIN, then closes with data unread", _half_closing),
        Behaviour("answering", "answers what comes after the client's close_notify", _answering),
        Behaviour("replying", "answers the client's close_notify with words", _replying),
        Behaviour("insisting", "answers the client's fatal alert with words", _insisting),
        Behaviour("stiff", "never changes its keys", _polite, Manner(updates=False)),
        Behaviour(
            "remembering",
            "resumes sessions that a fatal alert has ended (TLS 1.2)",
            _polite,
            Manner(forgets=False),
        ),
        Behaviour("repeating", "two alerts, then FIN", _repeating),
        Behaviour("premature", "alert and FIN right after the handshake", _polite, _DEAF),
        Behaviour("premature-reset", "resets right after the handshake", _aborting_at_once, _DEAF),
        Behaviour("failing", "fatal alert, then FIN", _failing),
        Behaviour("failing-open", "fatal alert, and stays", _failing_open),
        Behaviour("grave", "close_notify at the level fatal (TLS 1.3), then FIN", _grave),
        Behaviour("canceling", "user_canceled, close_notify (TLS 1.3), then FIN", _canceling),
        Behaviour("canceling-only", "user_canceled (TLS 1.3), then FIN", _canceling_only),
        Behaviour("indiscreet", "alert, last words outside TLS, then FIN", _indiscreet),
        Behaviour("terse", "never says Connection: close", _polite, Manner(announces=False)),
        Behaviour(
            "growing",
            "a second GOAWAY with a higher last stream",
            _polite,
            Manner(goaways=((1, 0), (3, 0))),
        ),
        Behaviour("erring", "GOAWAY with an error, then a close", _polite, _IN_ERROR),
        Behaviour("erring-open", "GOAWAY with an error, and stays", _parting, _IN_ERROR),
    )
}
"""All reference servers by name; ``polite`` is the control that must come back clean."""

DEMO = tuple(BEHAVIOURS)[:9]
"""Those that ``tlsprobe demo`` shows; the others are there to break a rule of their own each."""
