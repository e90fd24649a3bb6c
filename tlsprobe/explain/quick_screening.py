"""What `screening` says of every connection of a large capture, told from columns at once."""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tlsprobe.captures.columns import Columns
from tlsprobe.explain.screening import Suspicion
from tlsprobe.judge.troubles import LEAK_NS, SHORTEST_NS, SLOW_NS, TRIES

_MASK = 0xFFFF_FFFF
_SYN, _RST = 0x02, 0x04
_FLOW = struct.Struct(">QI")

_Numbers = NDArray[np.int64]


class Screened(NamedTuple):
    """Of every connection the place of the direction that spoke first, and what is said of it.

    ``loud`` ones have an RST; of the others ``levels`` says how suspicious each is.
    """

    loud: _Numbers
    quiet: _Numbers
    levels: _Numbers


def screened(columns: Columns, until_ns: int) -> Screened:
    """Every connection of a capture whose last packet came at ``until_ns``."""
    every = np.arange(len(columns.other))
    half = every[(columns.other < 0) | (every < columns.other)]
    other = columns.other[half]
    flags = columns.flags[half] | np.where(other < 0, 0, columns.flags[other])
    is_loud = flags & _RST != 0
    quiet, peers = half[~is_loud], other[~is_loud]
    alone = peers < 0
    levels = np.empty(len(quiet), np.int64)
    levels[alone] = _unanswered(columns, quiet[alone])
    levels[~alone] = _answered(columns, quiet[~alone], peers[~alone], until_ns)
    return Screened(half[is_loud], quiet, levels)


def asks_in_vain(columns: Columns) -> bool:
    """Whether any SYN may have had no answer where it went."""
    asks = columns.flags & _SYN != 0
    answered = (columns.other >= 0) & asks[columns.other]
    return bool(np.any(asks & ~answered))


def may_begin_twice(columns: Columns, key: bytes) -> bool:
    """Whether more than one SYN may have come of this direction: a FIN, or an RST, is none."""
    if len(key) != _FLOW.size:
        return True
    ends, ports = _FLOW.unpack(key)
    of_flow = (columns.ends == np.uint64(ends)) & (columns.ports == np.uint64(ports))
    begun = columns.marks - columns.fins - (columns.flags & _RST != 0)
    return bool(np.any(begun[of_flow] > 1))


def _unanswered(columns: Columns, half: _Numbers) -> _Numbers:
    marks = columns.marks[half]
    long = columns.last_ns[half] - columns.first_ns[half] >= SHORTEST_NS
    repeated = (marks >= TRIES) & long & (columns.packets[half] == marks)
    return np.where(repeated, Suspicion.LIKELY, Suspicion.NONE)


def _answered(columns: Columns, half: _Numbers, other: _Numbers, until_ns: int) -> _Numbers:
    fins, others = columns.fins[half], columns.fins[other]
    fin_ns, others_ns = columns.fin_ns[half], columns.fin_ns[other]
    again = (fins >= TRIES) | (others >= TRIES)
    took = np.abs(fin_ns - others_ns) >= SLOW_NS
    left = until_ns - np.where(fins > 0, fin_ns, others_ns) >= LEAK_NS
    long = np.where((fins > 0) & (others > 0), took, left)
    ended = (fins > 0) | (others > 0)
    likely = again | _is_stuck(columns, half, other) | (ended & long)
    return np.where(likely, Suspicion.LIKELY, np.where(ended, Suspicion.POSSIBLE, Suspicion.NONE))


def _is_stuck(columns: Columns, half: _Numbers, other: _Numbers) -> NDArray[np.bool_]:
    stuck = np.zeros(len(half), np.bool_)
    for own, peer in ((half, other), (other, half)):
        seq, acked = columns.seq[own], columns.ack[peer]
        is_probe = (columns.marks[own] == 0) | (columns.mark_seq[own] != seq)
        stuck |= ((seq + 1) & _MASK == acked) & is_probe
        ahead_ns = columns.last_ns[own] - columns.last_ns[peer]
        stuck |= (seq == acked) & (ahead_ns >= SHORTEST_NS)
    return stuck
