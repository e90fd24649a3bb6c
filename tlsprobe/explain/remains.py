"""What was left unfinished on a connection, and what else its troubles are told from."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import dropwhile

from tlsprobe.explain.http1 import owed_by_http1
from tlsprobe.explain.http2_frames import PREFACE, Http2
from tlsprobe.explain.plain_http import PlainHttp
from tlsprobe.explain.trace import Known
from tlsprobe.flows.connection import Connection
from tlsprobe.judge.troubles import Owed, Remains
from tlsprobe.model.trace import Side, Trace
from tlsprobe.records.key_log import Opened
from tlsprobe.records.walk import APPLICATION_DATA, RecordWalk


def remains_of(  # noqa: PLR0917 - a connection, and all that is known beside it
    connection: Connection,
    client_way: int,
    trace: Trace,
    known: Known,
    plain_http: PlainHttp,
    until_ns: int,
    *,
    lossy: bool,
) -> Remains:
    """The facts beside its trace. The walks over its records have come to their end."""
    if not connection.walks:
        return Remains(until_ns, lossy or connection.doubtful)
    ways = {Side.CLIENT: client_way, Side.SERVER: 1 - client_way}
    walks = {side: connection.walks[way] for side, way in ways.items()}
    tls = frozenset(side for side, walk in walks.items() if walk.speaks_tls)
    plain = frozenset(
        side for side, walk in walks.items() if walk.plain_to and not (walk.speaks_tls or walk.lost)
    )
    owed = {}
    for side, walk in walks.items():
        ends = [s.start + s.length for s in trace.segments if s.length and s.side is side]
        reached = max(ends, default=0)
        if not walk.speaks_tls:
            what = plain_http.owed(connection, ways[side], reached)
        elif walk.reached != reached:
            what = None
        elif walk.owed:
            what = Owed("record", walk.owed)
        else:
            what = _owed_inside(walks, known, trace.drive.tls) if side is Side.SERVER else None
        if what is not None:
            owed[side] = what
    return Remains(until_ns, lossy or connection.doubtful, tls, plain, owed)


def _owed_inside(
    walks: Mapping[Side, RecordWalk], known: Known, version: str | None
) -> Owed | None:
    """What the server owes by the messages inside TLS, where keys open all of both directions."""
    client, server = (_plaintext(walks[side], known[side], version) for side in Side)
    if not client or not server:
        return None
    if not client.startswith(PREFACE):
        return owed_by_http1(client, server)
    frames = Http2()
    frames.feed(Side.CLIENT, client)
    frames.feed(Side.SERVER, server)
    return frames.owed()


def _plaintext(walk: RecordWalk, opened: Mapping[int, Opened], version: str | None) -> bytes | None:
    """All application data of a direction; None if any of it is missing."""
    if not opened or walk.lost or walk.left_out or not walk.has_hello:
        return None
    places = [record.place for record in walk.found if record.kind == APPLICATION_DATA]
    if version == "1.3":
        # The handshake is sealed, too, with other keys.
        places = list(dropwhile(lambda place: place not in opened, places))
    if not all(place in opened for place in places):
        return None
    contents = (opened[place] for place in places)
    return b"".join(one.content for one in contents if one.kind == APPLICATION_DATA)
