"""What was left unfinished on a connection, and what else its troubles are told from."""

from __future__ import annotations

from tlsprobe.explain.plain_http import PlainHttp
from tlsprobe.flows.connection import Connection
from tlsprobe.judge.troubles import Remains
from tlsprobe.model.trace import Side, Trace


def remains_of(
    connection: Connection,
    client_way: int,
    trace: Trace,
    plain_http: PlainHttp,
    until_ns: int,
    *,
    lossy: bool,
) -> Remains:
    """The facts beside its trace. The walks over its records have come to their end."""
    if not connection.walks:
        return Remains(until_ns, lossy or connection.doubtful)
    ways = {Side.CLIENT: client_way, Side.SERVER: 1 - client_way}
    tls = frozenset(side for side, way in ways.items() if connection.walks[way].speaks_tls)
    owed = {}
    for side, way in ways.items():
        reached = max((s.end for s in trace.segments if s.side is side and s.length), default=0)
        what = _owed(connection, way, reached, plain_http)
        if what is not None:
            owed[side] = what
    return Remains(until_ns, lossy or connection.doubtful, tls, owed)


def _owed(
    connection: Connection, way: int, reached: int, plain_http: PlainHttp
) -> tuple[str, int | None] | None:
    walk = connection.walks[way]
    if not walk.speaks_tls:
        return plain_http.owed(connection, way, reached)
    return ("record", walk.owed) if walk.owed and walk.reached == reached else None
