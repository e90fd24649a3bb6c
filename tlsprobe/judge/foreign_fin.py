"""Whether a FIN in the server's name was made by another machine: what its packets say.

A box on the way that ends a connection in the server's name makes a FIN as it makes an RST, and
gives itself away by the same things. Besides, the server does not know of it: it goes on from where
it was before the FIN. A proxy that ends TCP itself makes all packets of the connection, and no
header tells its FIN from the server's (`maker.is_like_a_proxys`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tlsprobe.judge.headers import id_jumps, soon_behind, stamps
from tlsprobe.model.trace import Segment, Side, Trace


def foreign_signs(trace: Trace, packet: int | None) -> tuple[str, ...]:
    """What speaks for another sender of the server's FIN in this packet, in sentences."""
    theirs = [s for s in trace.segments if s.side is Side.SERVER and not s.rst]
    at = next((i for i, s in enumerate(theirs) if s.number == packet), None)
    if at is None:
        return ()
    fin, own = theirs[at], theirs[:at]
    soon = soon_behind(fin, theirs[at + 1 :])
    return (*_of_header(fin, own, soon), *_of_going_on(fin, soon))


def is_comparable(trace: Trace, packet: int | None) -> bool:
    """Whether the FIN's header has something that could give another machine away: a TTL."""
    theirs = [s for s in trace.segments if s.side is Side.SERVER and s.ttl is not None]
    return any(s.number == packet for s in theirs) and len(theirs) > 1


def _of_header(fin: Segment, own: Sequence[Segment], soon: Sequence[Segment]) -> Iterator[str]:
    said = [s for s in own if not s.syn]  # what answers a SYN may be a SYN proxy's
    others = [*said, *soon]
    ttls = {s.ttl for s in others if s.ttl is not None}
    if ttls and fin.ttl is not None and fin.ttl not in ttls:
        usual = "/".join(map(str, sorted(ttls)))
        yield f"it has TTL {fin.ttl}, the server's others have {usual}"
    if said and id_jumps(said, soon, fin):
        yield f"its IP ID {fin.ip_id} does not follow {said[-1].ip_id}"
    if others and fin.df is not None and all(s.df is (not fin.df) for s in others):
        yield f"its DF bit is {int(fin.df)}, that of the server's others {1 - int(fin.df)}"
    if not fin.timestamps and stamps(said):
        yield "it has no TCP timestamps, the server's others have them"


def _of_going_on(fin: Segment, soon: Sequence[Segment]) -> Iterator[str]:
    """What a socket that has sent its FIN does not do."""
    if any((s.length or s.fin) and s.end > fin.end for s in soon):
        yield "the server continues sending behind it"
    elif any(s.fin and s.end != fin.end for s in soon):
        yield "the server ends elsewhere in its stream"
    elif (first := _first_news(fin, soon)) is not None and first.start <= fin.end:
        yield f"the server's packet {first.number} does not count it"


def _first_news(fin: Segment, soon: Sequence[Segment]) -> Segment | None:
    """The first bare acknowledgement of something that had not come when the FIN was sent.

    Keepalive probes are one short on purpose, and repeat what was acknowledged before.
    """
    acks = (s for s in soon if not s.length and not s.ends and s.ack is not None)
    return next((s for s in acks if (s.ack or 0) > (fin.ack or 0)), None)
