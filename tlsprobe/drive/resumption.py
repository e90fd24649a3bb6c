"""A second connection that offers the session of the first, and what it found out."""

from __future__ import annotations

from tlsprobe.drive.connection import Connection, GivenUp
from tlsprobe.drive.greeting import shake_hands
from tlsprobe.model.trace import EventKind, RecordKind


async def resume(first: Connection) -> None:
    """Try to resume the session of a connection on another one; the first notes what came of it.

    The second is ended in good order, whatever became of the first, and nobody looks at its
    packets.
    """
    session = None if first.tls is None else first.tls.resumable
    if session is None:
        first.note(EventKind.UNRESUMABLE, "the server gave nothing to resume the session by")
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
