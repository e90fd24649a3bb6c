"""Which connections without an RST may have had other trouble, told from light facts alone.

The first pass keeps of each direction the latest numbers, the times, and the packets with SYN, FIN
or RST. That rules most connections out, and tells which of the others are the most suspicious; only
a close look says whether anything is amiss.
"""

from __future__ import annotations

from enum import IntEnum

from tlsprobe.captures.summary import Half
from tlsprobe.judge.troubles import LEAK_NS, SHORTEST_NS, SLOW_NS, TRIES

_FIN, _SYN = 0x01, 0x02
_MASK = 0xFFFF_FFFF


class Suspicion(IntEnum):
    """How likely a closer look finds something."""

    NONE = 0
    POSSIBLE = 1
    LIKELY = 2


def suspicion(half: Half, other: Half | None, until_ns: int) -> Suspicion:
    """Of a connection without an RST in a capture whose last packet came at ``until_ns``."""
    if other is None:
        repeated = len(half.marks) >= TRIES and half.last_ns - half.first_ns >= SHORTEST_NS
        return Suspicion.LIKELY if repeated and half.packets == len(half.marks) else Suspicion.NONE
    fins = [[m for m in one.marks if m.flags & _FIN] for one in (half, other)]
    if any(len(of) >= TRIES for of in fins) or _is_probed(half, other) or _is_probed(other, half):
        return Suspicion.LIKELY
    if _goes_on_alone(half, other) or _goes_on_alone(other, half):
        return Suspicion.LIKELY
    if not fins[0] and not fins[1]:
        return Suspicion.NONE
    if fins[0] and fins[1]:
        took = abs(fins[0][0].time_ns - fins[1][0].time_ns)
        return Suspicion.LIKELY if took >= SLOW_NS else Suspicion.POSSIBLE
    (fin,) = (of[0] for of in fins if of)
    left = until_ns - fin.time_ns
    return Suspicion.LIKELY if left >= LEAK_NS else Suspicion.POSSIBLE


def _is_probed(half: Half, other: Half) -> bool:
    """Whether its latest packet repeats the byte before what the other acknowledged last.

    So does a FIN, or a SYN: they count as a byte.
    """
    is_mark = bool(half.marks) and half.marks[-1].seq == half.seq
    return (half.seq + 1) & _MASK == other.ack and not is_mark


def _goes_on_alone(half: Half, other: Half) -> bool:
    """Whether it was still sending, from what is not acknowledged, when the other was silent."""
    return half.last_ns - other.last_ns >= SHORTEST_NS and half.seq == other.ack
