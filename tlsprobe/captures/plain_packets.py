"""The segments of a large capture, decoded many at once.

What `Decoder.decode` makes of a plain frame, numpy makes of a block of them: Ethernet, IPv4 without
options, no fragment, with the ACK flag, and no TCP options or the usual ones. The decoder is asked
for all others, and whether a packet is a copy. It takes a third of the time.
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
from tlsprobe.packets.options import USUAL, USUAL_BYTES, USUAL_START
from tlsprobe.packets.packet import Packet

ROOM = 1 << 20
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
_KINDS = b"", USUAL
_new = tuple.__new__


def packets(
    places: Places, numbers: Sequence[int], decoder: Decoder, other: Other
) -> Iterator[Packet]:
    """The packets of these numbers, which count from 1 and rise, of a file of Ethernet frames.

    They are those of one interface, which is the first.
    """
    batch = places.batch
    if batch is None or not numbers:
        return
    wanted = np.array(numbers, np.int64)
    fields, is_copy = _fields(batch.order), decoder.is_copy
    for first, offsets, buffer in _read(places, wanted):
        rows = rows_at(buffer, offsets, fields)
        time_ns = rows["high"] * np.int64(batch.high_ns) + rows["low"] * np.int64(batch.low_ns)
        captured, has_options = rows["captured"].astype(np.int64), rows["size"] != _BARE
        total, start = rows["total"], np.where(has_options, _OPTIONS + USUAL_BYTES, _OPTIONS)
        end = np.where(total > 0, total.astype(np.int64) + _IP, rows["length"])
        frame = offsets + RECORD_HEAD
        for (
            row, is_plain, number, at_ns, key, seq, ack, flags, window, length, begin, behind,
            ttl, ip_id, df, options, shared,
        ) in zip(
            range(len(rows)),
            _is_plain(rows, start, end).tolist(),
            wanted[first : first + len(rows)].tolist(),
            time_ns.tolist(),
            rows["key"].tolist(),
            rows["seq"].tolist(),
            rows["ack"].tolist(),
            rows["flags"].tolist(),
            rows["window"].tolist(),
            (end - start).tolist(),
            (frame + start).tolist(),
            (frame + np.minimum(end, captured)).tolist(),
            rows["ttl"].tolist(),
            rows["id"].tolist(),
            (rows["fragment"] & _DF != 0).tolist(),
            has_options.tolist(),
            rows["shared"].tolist(),
            strict=True,
        ):  # fmt: skip
            if is_plain:
                copied = shared, length, ip_id
                yield _new(Packet, (
                    number, at_ns, key, seq, ack, flags, window, length, buffer[begin:behind],
                    ttl, ip_id, options, df, None, _KINDS[options], 0, False,
                    is_copy(copied, at_ns, 0, ip_id), "",
                ))  # fmt: skip
                continue
            at, size, true_length = int(frame[row]), int(captured[row]), int(rows["length"][row])
            placed = number, 0, at_ns, frames.ETHERNET, true_length, buffer[at : at + size]
            packet = other(placed)
            if packet is not None:
                yield packet


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
        "shared": ("V24", ip + 12),
        "seq": (">u4", tcp + 4),
        "ack": (">u4", tcp + 8),
        "size": ("u1", tcp + 12),
        "flags": ("u1", tcp + 13),
        "window": (">u2", tcp + 14),
        "options": (">u4", options),
    }
    return row_type(places, options + 4)
