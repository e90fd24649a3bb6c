"""What the headers of one side's packets have in common, and what a packet does not share."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from tlsprobe.model.trace import Segment

_ID_STEP = 64
_ID_SAMPLE = 4
_SOON_NS = 3_000_000_000
"""Later packets of a sender tell of a packet so long; then they may be another connection's."""


def soon_behind(packet: Segment, later: Sequence[Segment]) -> list[Segment]:
    """What else its sender sends soon behind it."""
    until = packet.time_ns + _SOON_NS
    return [s for s in later if s.side is packet.side and not s.rst and s.time_ns <= until]


def stamps(own: Sequence[Segment]) -> bool:
    """Whether all that its sender sent had timestamps, as both sides do once they agreed on it."""
    said = [s for s in own if not s.syn]
    return bool(said) and all(s.timestamps for s in said)


def id_jumps(own: Sequence[Segment], soon: Sequence[Segment], packet: Segment) -> bool:
    """Whether a packet's IP ID breaks the counter of its socket, as seen before it and soon behind.

    A stack that draws IP IDs at random, or uses none (0), has no counter that could be broken.
    """
    last = own[-1].ip_id
    if packet.ip_id is None or not last or not _jumps(last, packet.ip_id):
        return False
    around = [s.ip_id for s in (*own[-_ID_SAMPLE:], *soon[:_ID_SAMPLE]) if s.ip_id]
    return len(around) > 1 and not any(_jumps(*pair) for pair in pairwise(around))


def _jumps(before: int, after: int) -> bool:
    """Whether the one is not what a counter makes soon behind the other."""
    return (after - before) % 2**16 > _ID_STEP
