"""A request in the first flight of a handshake (0-RTT), and what a client does where it may not.

An earlier connection, which nobody looks at, fetches a ticket that allows early data. What the
server does not take is sent again behind the handshake, as clients do (RFC 8446 section 4.2.10).
"""

from __future__ import annotations

import time

from tlsprobe.drive.connection import Connection, Piece
from tlsprobe.drive.greeting import await_handshake, await_readiness, begin_tls
from tlsprobe.model.sequence import Step
from tlsprobe.model.trace import EventKind, Mark, RecordKind, Side, Stage
from tlsprobe.protocols.conversation import Phase
from tlsprobe.records.sealing import records_in
from tlsprobe.records.walk import APPLICATION_DATA

NO_TICKET = "the server gave no ticket that allows early data"
"""Why early data was not even offered."""

TOO_LITTLE = "the server's tickets allow less early data than this: at most {limit} bytes"
"""The same, of a server that would take early data, but not so much."""

SPEAKS_FIRST = "the protocol has the server speak first: there is nothing to send early"
"""The same, of protocols with a greeting."""


async def ask_early(connection: Connection, step: Step, deadline: float) -> Mark:
    """Shake hands with the step's bytes in the first flight; where what is judged begins.

    Where the protocol has the server speak first, what it says before that goes out early, and the
    request behind the greeting.
    """
    conversation = connection.conversation
    connection.stage = Stage.HANDSHAKE
    tls = await begin_tls(connection, deadline)
    opening = conversation.secured()
    request = _request(connection, step) if conversation.phase is Phase.READY else b""
    asks = conversation.phase is Phase.OWED
    early = opening + request
    limit = tls.early_limit
    fits = 0 < len(early) <= limit
    records = records_in(tls.early(early)) if fits else [tls.handshake()]
    hello = b"".join(record for record in records if record[0] != APPLICATION_DATA)
    data = b"".join(record for record in records if record[0] == APPLICATION_DATA)
    await connection.write(hello, RecordKind.HANDSHAKE)
    begun = Mark(time.time_ns(), connection.sent, connection.received)
    await connection.write_pieces([Piece(RecordKind.DATA, data, asks)])
    await await_handshake(connection, deadline)
    begun = begun._replace(server=_shaken(connection))
    if not tls.took_early:
        connection.note(EventKind.EARLY_REFUSED, "" if fits else _why_not(early, limit))
        connection.forget_requests()
        begun = Mark(time.time_ns(), connection.sent, connection.received)
        again = Piece(RecordKind.DATA, tls.send(early), asks) if early else None
        await connection.write_pieces([again] if again else [])
    else:
        connection.note(EventKind.EARLY_TAKEN)
    await await_readiness(connection, deadline)
    if not request:
        begun = Mark(time.time_ns(), connection.sent, connection.received)
        request = _request(connection, step)
        asks = conversation.phase is Phase.OWED
        await connection.write_pieces([Piece(RecordKind.DATA, tls.send(request), asks)])
    return begun._replace(time_ns=time.time_ns())


def _why_not(early: bytes, limit: int) -> str:
    """Why these bytes were not offered as early data."""
    if not early:
        return SPEAKS_FIRST
    return TOO_LITTLE.format(limit=limit) if limit else NO_TICKET


def _shaken(connection: Connection) -> int:
    """Where the server's part of the handshake ends; what it answers may be behind it already."""
    theirs = (r for r in connection.records if r.side is Side.SERVER)
    return max((r.end for r in theirs if r.kind is RecordKind.HANDSHAKE), default=0)


def _request(connection: Connection, step: Step) -> bytes:
    return connection.conversation.request() if step.payload is None else step.payload
