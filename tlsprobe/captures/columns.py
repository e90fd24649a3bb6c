"""The light facts of very many flows as columns of numbers: what `Half` holds of each, without it.

`Blocks` folds each block of packets into its flows. When all are there the folds are merged, and
which flows are worth a close look is told from the columns; a `Half` is made of each only if
somebody asks for them. It spares a capture of 60,000 short connections a third of its time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tlsprobe.captures.summary import MARK_LIMIT

_FIN = 0x01
_HALF, _PORT = np.uint64(32), np.uint64(16)
_LOW = np.uint64(0xFFFFFFFF)
_LOW_PORT = np.uint64(0xFFFF)

_Numbers = NDArray[np.int64]
_Words = NDArray[np.uint64]


@dataclass(frozen=True, slots=True, eq=False)
class Fold:
    """The flows of a block of packets, in the order in which they begin in it.

    ``ends`` and ``ports`` are the bytes of a `flow_key` as numbers; ``last`` is what the latest
    packet says, its number above its acknowledgement; ``flags`` what any of its packets has. Of
    the packets with SYN, FIN or RST those of a flow are ``first_mark`` to ``behind_marks``.
    """

    ends: _Words
    ports: _Words
    last: _Words
    first: _Numbers
    first_ns: _Numbers
    last_ns: _Numbers
    packets: _Numbers
    flags: NDArray[np.uint8]
    first_mark: _Numbers
    behind_marks: _Numbers
    mark_number: _Numbers
    mark_ns: _Numbers
    mark_flags: NDArray[np.uint8]
    mark_said: _Words


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """The directions of all flows in the order in which they begin.

    ``other`` is the place of the other direction, -1 if it never spoke. Of at most `MARK_LIMIT`
    packets with SYN, FIN or RST, ``marks`` is how many there are, ``mark_seq`` the number of the
    last of them, ``fins`` how many have FIN, and ``fin_ns`` the time of the first of those.
    """

    ends: _Words
    ports: _Words
    first_ns: _Numbers
    last_ns: _Numbers
    packets: _Numbers
    seq: _Numbers
    ack: _Numbers
    flags: NDArray[np.uint8]
    other: _Numbers
    marks: _Numbers
    mark_seq: _Numbers
    fins: _Numbers
    fin_ns: _Numbers

    def keys(self) -> list[bytes]:
        """The `flow_key` of each."""
        whole = np.stack((self.ends, self.ports << _HALF), 1).astype(">u8").tobytes()
        return [whole[at : at + 12] for at in range(0, len(whole), 16)]

    def servers(self) -> _Words:
        """What tells the receiver of each from any other: its address and port."""
        receivers: _Words = (self.ends & _LOW) << _PORT | self.ports & _LOW_PORT
        return receivers


def merged(folds: Sequence[Fold]) -> tuple[Columns, NDArray[np.int32]]:
    """The flows of all blocks; and of each flow of each block which of them it is."""
    ends: _Words = np.concatenate([fold.ends for fold in folds])
    ports: _Words = np.concatenate([fold.ports for fold in folds])
    order = np.lexsort((ports, ends))
    begins = np.ones(len(order), np.bool_)
    begins[1:] = (np.diff(ends[order]) != 0) | (np.diff(ports[order]) != 0)
    starts = np.flatnonzero(begins)
    first, last = order[starts], order[np.append(starts[1:], len(order)) - 1]
    # By key until now: from here on by the packet that each begins with.
    rank = np.argsort(_all(folds, "first")[first], kind="stable")
    place = np.empty(len(rank), np.int32)
    place[rank] = np.arange(len(rank), dtype=np.int32)
    places = np.empty(len(order), np.int32)
    places[order] = place[np.cumsum(begins) - 1]
    said = _all(folds, "last")[last[rank]]
    flags = np.bitwise_or.reduceat(_all(folds, "flags")[order], starts)[rank]
    columns = Columns(
        ends=ends[first[rank]],
        ports=ports[first[rank]],
        first_ns=_all(folds, "first_ns")[first[rank]],
        last_ns=_all(folds, "last_ns")[last[rank]],
        packets=np.add.reduceat(_all(folds, "packets")[order], starts)[rank],
        seq=(said >> _HALF).astype(np.int64),
        ack=(said & _LOW).astype(np.int64),
        flags=flags,
        other=_others(ends[first[rank]], ports[first[rank]]),
        **_marks(folds, places, len(rank)),
    )
    return columns, places


def _all(folds: Sequence[Fold], name: str) -> NDArray[np.int64]:
    """A column of all blocks."""
    return np.concatenate([getattr(fold, name) for fold in folds])


def _others(ends: _Words, ports: _Words) -> _Numbers:
    """Of each direction where the other one is."""
    back_ends = ends >> _HALF | (ends & _LOW) << _HALF
    back_ports = ports >> _PORT | (ports & _LOW_PORT) << _PORT
    is_less = (ends < back_ends) | ((ends == back_ends) & (ports <= back_ports))
    pair = np.where(is_less, ends, back_ends), np.where(is_less, ports, back_ports)
    order = np.lexsort((pair[1], pair[0]))
    alike = np.flatnonzero((np.diff(pair[0][order]) == 0) & (np.diff(pair[1][order]) == 0))
    other = np.full(len(ends), -1, np.int64)
    other[order[alike]], other[order[alike + 1]] = order[alike + 1], order[alike]
    return other


def _marks(folds: Sequence[Fold], places: NDArray[np.int32], count: int) -> dict[str, _Numbers]:
    """What is told of the packets with SYN, FIN or RST."""
    owner = np.repeat(places, _all(folds, "behind_marks") - _all(folds, "first_mark"))
    order = np.argsort(owner, kind="stable")
    owner, said = owner[order], _all(folds, "mark_said")[order]
    starts = np.searchsorted(owner, np.arange(count))
    kept = np.flatnonzero(np.arange(len(owner)) - starts[owner] < MARK_LIMIT)
    marks = np.bincount(owner[kept], minlength=count)
    mark_seq = np.full(count, -1, np.int64)
    some = np.flatnonzero(marks)
    mark_seq[some] = (said[starts[some] + marks[some] - 1] >> _HALF).astype(np.int64)
    fins = kept[_all(folds, "mark_flags")[order[kept]] & _FIN != 0]
    enders, firsts = np.unique(owner[fins], return_index=True)
    fin_ns = np.zeros(count, np.int64)
    fin_ns[enders] = _all(folds, "mark_ns")[order[fins[firsts]]]
    return {
        "marks": marks,
        "mark_seq": mark_seq,
        "fins": np.bincount(owner[fins], minlength=count),
        "fin_ns": fin_ns,
    }
