"""The segments of a large capture, decoded many at once.

What `Decoder.decode` makes of a plain frame, numpy makes of a block of them: Ethernet, IPv4 without
options, no fragment, with the ACK flag, and no TCP options or the usual ones. The decoder is asked
for all others, and whether a packet is a copy. It takes a third of the time. Of long connections
most packets are made none of: see `Stretch`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tlsprobe.captures.blocks import row_type, rows_at
from tlsprobe.captures.pcap import RECORD_HEAD, SLACK
from tlsprobe.captures.places import Placed, Places
from tlsprobe.packets import frames
from tlsprobe.packets.decode import Decoder
from tlsprobe.packets.options import USUAL_BYTES, USUAL_START
from tlsprobe.packets.packet import Packet
from tlsprobe.packets.stretch import Fields, Stretch
from tlsprobe.packets.stretch import packets as one_by_one

ROOM = 1 << 24
"""Bytes of packets that are read, and decoded, at once; a packet that is larger is read alone."""
Other = Callable[[Placed], Packet | None]
"""Decodes a packet that is not plain; None if nobody wants it."""

_IP, _TCP, _OPTIONS = 14, 34, 54
"""Where the headers of a plain frame begin."""
_BARE = 0x50
_WITH_USUAL = _BARE + (USUAL_BYTES << 2)
"""The byte with the header's size, without options and with the usual ones."""
_ACK, _IS_TCP = 0x10, 6
_ANY_FRAGMENT, _DF = 0x3FFF, 0x4000
_SYN, _SYN_FIN_RST = 0x02, 0x07
_OPENING = 16
"""So many packets behind a SYN come one by one: they are kept whole."""
_AT_ONCE = 512
"""So many packets are looked up at once, whether they are copies."""
_WORD = 0xFFFFFFFF
_HALF, _PORT = np.uint64(32), np.uint32(16)


def packets(
    places: Places, numbers: Sequence[int], decoder: Decoder, other: Other, fewest: int | None
) -> Iterator[Packet | Stretch]:
    """The packets of these numbers, which count from 1 and rise, of a file of Ethernet frames.

    They are those of one interface, which is the first. Of a connection ``fewest`` or more that
    follow each other and have nothing about them come at once, where the first of them would.
    """
    batch = places.batch
    if batch is None or not numbers:
        return
    wanted = np.array(numbers, np.int64)
    for first, offsets, buffer in _read(places, wanted):
        rows = rows_at(buffer, offsets, _fields(batch.order))
        number = wanted[first : first + len(rows)]
        time_ns = rows["high"] * np.int64(batch.high_ns) + rows["low"] * np.int64(batch.low_ns)
        block = _Block(rows, number, time_ns, offsets + RECORD_HEAD, buffer)
        yield from _in_turn(block, decoder, other, fewest)


class _Block:
    """Packets that were read at once, with their records' heads."""

    def __init__(
        self,
        rows: NDArray[Any],
        number: NDArray[np.int64],
        time_ns: NDArray[Any],
        frame: NDArray[np.int64],
        buffer: bytes,
    ) -> None:
        captured, has_options = rows["captured"].astype(np.int64), rows["size"] != _BARE
        total, start = rows["total"], np.where(has_options, _OPTIONS + USUAL_BYTES, _OPTIONS)
        end = np.where(total > 0, total.astype(np.int64) + _IP, rows["length"])
        pair, way = _pairs(rows["ends"].astype(np.uint64), rows["ports"].astype(np.uint32))
        self.rows, self.frame, self.captured, self.buffer = rows, frame, captured, buffer
        self.is_plain, self.pair = _is_plain(rows, start, end), pair
        self.fields = Fields(
            number=number,
            time_ns=time_ns,
            key=rows["key"],
            seq=rows["seq"].astype(np.int64),
            ack=rows["ack"].astype(np.int64),
            flags=rows["flags"],
            window=rows["window"],
            length=end - start,
            begin=frame + start,
            behind=frame + np.minimum(end, captured),
            ttl=rows["ttl"],
            ip_id=rows["id"],
            df=rows["fragment"] & _DF != 0,
            stamped=has_options,
            way=way,
        )

    def placed(self, row: int) -> Placed:
        """A packet as it is in the file."""
        fields, at, size = self.fields, int(self.frame[row]), int(self.captured[row])
        number, time_ns = int(fields.number[row]), int(fields.time_ns[row])
        length = int(self.rows["length"][row])
        return number, 0, time_ns, frames.ETHERNET, length, self.buffer[at : at + size]


def _in_turn(
    block: _Block, decoder: Decoder, other: Other, fewest: int | None
) -> Iterator[Packet | Stretch]:
    """Those of a block, in order but for stretches."""
    others: dict[int, Packet | Stretch | None] = {}
    copies = np.zeros(len(block.rows), np.bool_)
    start = 0
    for row in [*np.flatnonzero(~block.is_plain).tolist(), len(block.rows)]:
        for at in range(start, row, _AT_ONCE):
            _note_copies(block, slice(at, min(at + _AT_ONCE, row)), decoder, copies)
        if row < len(block.rows):
            others[row] = other(block.placed(row))
        start = row + 1
    is_single = block.is_plain.copy()
    fields, buffer = block.fields, block.buffer
    for chosen, stretch in () if fewest is None else _stretches(block, copies, fewest):
        is_single[chosen] = False
        others[int(chosen[0])] = stretch
    singles = one_by_one(fields.at(is_single), buffer, copies[is_single].tolist())
    is_single[[*others]] = True
    for row in np.flatnonzero(is_single).tolist():
        packet = others[row] if row in others else next(singles)
        if packet is not None:
            yield packet


def _note_copies(block: _Block, part: slice, decoder: Decoder, copies: NDArray[np.bool_]) -> None:
    """Has the decoder remember these, and marks those that are copies."""
    fields = block.fields
    shared, length = block.rows["shared"][part].tolist(), fields.length[part].tolist()
    times_ns, ids = fields.time_ns[part].tolist(), fields.ip_id[part].tolist()
    seen = [*zip(shared, length, ids, strict=True)]
    if not decoder.are_new(seen, times_ns, 0):
        is_copy = decoder.is_copy
        copies[part] = [
            is_copy(one, at_ns, 0, one[2]) for one, at_ns in zip(seen, times_ns, strict=True)
        ]


def _stretches(
    block: _Block, copies: NDArray[np.bool_], fewest: int
) -> Iterator[tuple[NDArray[np.int64], Stretch]]:
    """The stretches, each with its rows."""
    fields = block.fields
    order = np.lexsort((fields.way, block.pair))
    seq, behind = fields.seq[order], (fields.seq + fields.length)[order] & _WORD
    is_next = np.ones(len(order), np.bool_)
    is_next[order[1:]] = (
        (seq[1:] == behind[:-1])
        | (fields.way[order][1:] != fields.way[order][:-1])
        | (block.pair[order][1:] != block.pair[order][:-1])
    )
    dull = block.is_plain & ~copies & is_next & (fields.flags & _SYN_FIN_RST == 0)
    dull &= (fields.behind - fields.begin == fields.length) & (fields.time_ns > 0)
    order = np.argsort(block.pair, kind="stable")
    dull, pair = dull[order], block.pair[order]
    for syn in np.flatnonzero(fields.flags[order] & _SYN).tolist():
        dull[syn : syn + _OPENING] = False  # these are kept
    breaks = ~dull
    breaks[1:] |= pair[1:] != pair[:-1]
    which = np.cumsum(breaks)[dull]
    ordered, rows = fields.at(order), np.flatnonzero(dull)
    for run in np.split(rows, np.flatnonzero(np.diff(which)) + 1):
        if len(run) >= fewest:
            part = slice(int(run[0]), int(run[-1]) + 1)
            yield order[part], Stretch(ordered.at(part), block.buffer)


def _pairs(
    ends: NDArray[np.uint64], ports: NDArray[np.uint32]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Of each packet a number that both ways of its connection have, and which way it went."""
    back_ends, back_ports = ends >> _HALF | ends << _HALF, ports >> _PORT | ports << _PORT
    is_back = (ends > back_ends) | ((ends == back_ends) & (ports > back_ports))
    ends, ports = np.where(is_back, back_ends, ends), np.where(is_back, back_ports, ports)
    order = np.lexsort((ports, ends))
    begins = (np.diff(ends[order]) != 0) | (np.diff(ports[order]) != 0)
    pair = np.zeros(len(ends), np.int64)
    pair[order[1:]] = np.cumsum(begins)
    return pair, is_back


def _is_plain(
    rows: NDArray[Any], start: NDArray[np.int64], end: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Which of them the columns tell all of."""
    size = rows["size"]
    usual = (size == _WITH_USUAL) & (rows["options"] == int.from_bytes(USUAL_START, "big"))
    plain: NDArray[np.bool_] = (
        (rows["kind"] == int.from_bytes(frames.PLAIN_IPV4[:2], "big"))
        & (rows["version"] == frames.PLAIN_IPV4[2])
        & (rows["protocol"] == _IS_TCP)
        & (rows["fragment"] & _ANY_FRAGMENT == 0)
        & (rows["flags"] & _ACK != 0)
        & ((size == _BARE) | usual)
        & (rows["captured"] >= start)
        & (end >= start)
    )
    return plain


def _read(
    places: Places, numbers: NDArray[np.int64]
) -> Iterator[tuple[int, NDArray[np.int64], bytes]]:
    """Of how many come before them, where their records begin, and the bytes that these lie in.

    Those that follow each other in the file are read at once.
    """
    offsets, bases, counts, end = places.parts
    edges = np.empty(len(offsets) + 1, np.int64)
    edges[:-1] = np.array(offsets, np.int64) + np.repeat(
        np.array(bases, np.int64), np.array(counts, np.int64)
    )
    edges[-1] = end
    starts, sizes = edges[numbers - 1], edges[numbers] - edges[numbers - 1]
    apart = starts[1:] != starts[:-1] + sizes[:-1]
    reached = np.cumsum(sizes)
    first = given = 0
    while first < len(numbers):
        behind = max(first + 1, int(np.searchsorted(reached, given + ROOM, "right")))
        runs = np.flatnonzero(apart[first : behind - 1]) + first + 1
        pieces = [
            places.read(int(starts[one]), int(starts[last - 1] + sizes[last - 1] - starts[one]))
            for one, last in pairwise([first, *runs.tolist(), behind])
        ]
        offsets = reached[first:behind] - sizes[first:behind] - given
        given = int(reached[behind - 1])
        buffer = b"".join((*pieces, bytes(SLACK)))
        if len(buffer) - SLACK != offsets[-1] + sizes[behind - 1]:
            return  # somebody has cut the file
        yield first, offsets, buffer
        first = behind


@lru_cache
def _fields(order: str) -> np.dtype[Any]:
    """The record's head, and the fields of the frame in it."""
    ip, tcp, options = (RECORD_HEAD + at for at in (_IP, _TCP, _OPTIONS))
    places = {
        "high": (f"{order}u4", 0),
        "low": (f"{order}u4", 4),
        "captured": (f"{order}u4", 8),
        "length": (f"{order}u4", 12),
        "kind": (">u2", ip - 2),
        "version": ("u1", ip),
        "total": (">u2", ip + 2),
        "id": (">u2", ip + 4),
        "fragment": (">u2", ip + 6),
        "ttl": ("u1", ip + 8),
        "protocol": ("u1", ip + 9),
        "key": ("V12", ip + 12),
        "ends": (">u8", ip + 12),
        "ports": (">u4", ip + 20),
        "shared": ("V24", ip + 12),
        "seq": (">u4", tcp + 4),
        "ack": (">u4", tcp + 8),
        "size": ("u1", tcp + 12),
        "flags": ("u1", tcp + 13),
        "window": (">u2", tcp + 14),
        "options": (">u4", options),
    }
    return row_type(places, options + 4)
