"""Sessions of other connections: a second one that offers the first's, and one that comes back."""

from __future__ import annotations

import trio

from tlsprobe.drive.connection import Connection, GivenUp
from tlsprobe.drive.greeting import shake_hands
from tlsprobe.drive.route import Route
from tlsprobe.model.trace import EventKind, RecordKind

NOTHING_TO_RESUME = "the server gave nothing to resume the session by"
"""Why no session was offered."""

_TICKET_PATIENCE = 1.0
"""Seconds to wait for a ticket: servers send theirs with the end of the handshake."""

_UNLIKELY = 0.1
"""The same, of a server that was seen to send none unasked."""


async def earlier_session(route: Route, *, for_early: bool) -> bytes:
    """A session of the server's, from a connection of its own; nothing if it gives none.

    ``for_early``: only one that allows early data. The connection is ended in good order. Whatever
    becomes of it, nothing is raised: the next one will meet the same.
    """
    scout = Connection(route.aside)
    patience = _TICKET_PATIENCE if for_early or route.tickets else _UNLIKELY
    try:
        await scout.connect()
        tls = await shake_hands(scout, scout.answer_deadline())
        await scout.until(lambda: tls.resumable is not None, trio.current_time() + patience)
        session = tls.resumable if tls.early_limit or not for_early else None
        await scout.write(tls.close_notify(), RecordKind.CLOSE_NOTIFY)
        scout.half_close()
        await scout.until(lambda: scout.ended, scout.end_deadline())
    except GivenUp:
        return b""
    finally:
        scout.leave()
    return b"" if session is None else session.data


def note_resumed(connection: Connection) -> None:
    """Note whether the session that it came with was resumed; it goes on in either case."""
    if not connection.earlier:
        connection.note(EventKind.UNRESUMABLE, NOTHING_TO_RESUME)
        return
    was_resumed = connection.tls is not None and connection.tls.was_resumed
    connection.note(EventKind.RESUMED if was_resumed else EventKind.NOT_RESUMED)


async def resume(first: Connection) -> None:
    """Try to resume the session of a connection on another one; the first notes what came of it.

    The second is ended in good order, whatever became of the first, and nobody looks at its
    packets.
    """
    session = None if first.tls is None else first.tls.resumable
    if session is None:
        first.note(EventKind.UNRESUMABLE, NOTHING_TO_RESUME)
        return
    second = Connection(first.route.aside, session.data, takes_tickets=first.takes_tickets)
    try:
        was_resumed = await _is_resumed(second)
    except GivenUp:
        first.note(EventKind.UNRESUMABLE, second.failure or "the second connection broke")
        return
    finally:
        second.leave()
    first.note(EventKind.RESUMED if was_resumed else EventKind.NOT_RESUMED, session.by)


async def _is_resumed(second: Connection) -> bool:
    await second.connect()
    tls = await shake_hands(second, second.answer_deadline())
    await second.write(tls.close_notify(), RecordKind.CLOSE_NOTIFY)
    second.half_close()
    await second.until(lambda: second.ended, second.end_deadline())
    return tls.was_resumed
