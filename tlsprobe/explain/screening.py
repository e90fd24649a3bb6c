"""Which connections without an RST may have had other trouble, told from light facts alone.

The first pass keeps of each direction the latest numbers, the times, and the packets with SYN, FIN
or RST. That rules most connections out, and tells which of the others are the most suspicious; only
a close look says whether anything is amiss.
"""

from __future__ import annotations

from enum import IntEnum

from tlsprobe.captures.summary import Half, Mark
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
    fins = _fins(half), _fins(other)
    if len(fins[0]) >= TRIES or len(fins[1]) >= TRIES or _is_stuck(half, other):
        return Suspicion.LIKELY
    if not fins[0] and not fins[1]:
        return Suspicion.NONE
    if fins[0] and fins[1]:
        took = abs(fins[0][0].time_ns - fins[1][0].time_ns)
        return Suspicion.LIKELY if took >= SLOW_NS else Suspicion.POSSIBLE
    (fin,) = (of[0] for of in fins if of)
    left = until_ns - fin.time_ns
    return Suspicion.LIKELY if left >= LEAK_NS else Suspicion.POSSIBLE


def _fins(half: Half) -> list[Mark]:
    return [mark for mark in half.marks if mark.flags & _FIN] if half.flags & _FIN else []


def _is_stuck(half: Half, other: Half) -> bool:
    """Whether either of them probes the other, or goes on alone."""
    seq, ack = half.numbers
    other_seq, other_ack = other.numbers
    if (seq + 1) & _MASK == other_ack and _is_probe(half, seq):
        return True
    if (other_seq + 1) & _MASK == ack and _is_probe(other, other_seq):
        return True
    # Still sending, from what is not acknowledged, when the other was silent.
    ahead_ns = half.last_ns - other.last_ns
    if seq == other_ack and ahead_ns >= SHORTEST_NS:
        return True
    return other_seq == ack and -ahead_ns >= SHORTEST_NS


def _is_probe(half: Half, seq: int) -> bool:
    """Whether its latest packet, of the byte before what the other acknowledged last, repeats it.

    That of a FIN, or a SYN, does not: they count as a byte.
    """
    return not half.marks or half.marks[-1].seq != seq
