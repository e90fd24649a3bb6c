"""A stretch of packets that goes on where a connection stands: what `Connection.add` makes of it.

Every number is compared, in columns: each packet must begin where the one before it of its way
ended, and what is inside must be records of application data, or no TLS as before. Then the streams
grow by all of it, and segments are made of those alone that are kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tlsprobe.flows.stream import MASK, Stream
from tlsprobe.model.trace import Segment, Side
from tlsprobe.packets.stretch import KINDS, Fields, Stretch
from tlsprobe.records.walk import RecordWalk

_HALF = 1 << 31
_NEAR = 1 << 30
"""So far from what was sent an acknowledgement may be, for certain."""

_SIDES = tuple(Side)
_new = tuple.__new__


class Kept(NamedTuple):
    """The segments of a stretch that was taken, not made yet."""

    fields: Fields
    starts: NDArray[np.int64]
    acks: NDArray[np.int64]
    ways: NDArray[np.int64]

    @property
    def size(self) -> int:
        """How many."""
        return len(self.starts)

    def segments(self, most: int) -> Iterator[Segment]:
        """The last of them, in order."""
        fields = self.fields.at(slice(-most, None))
        columns = (
            fields.number, fields.time_ns, self.ways[-most:], fields.flags, self.starts[-most:],
            fields.length, self.acks[-most:], fields.window, fields.ttl, fields.ip_id,
            fields.stamped, fields.df,
        )  # fmt: skip
        for (
            number, time_ns, way, flags, start, length, ack, window, ttl, ip_id, stamped, df,
        ) in zip(*(column.tolist() for column in columns), strict=True):  # fmt: skip
            yield _new(Segment, (
                number, time_ns, _SIDES[way], flags, start, length, ack, window, ttl, ip_id,
                stamped, df, None, KINDS[stamped], b"",
            ))  # fmt: skip


class _Step(NamedTuple):
    """What one way adds."""

    way: int
    size: int
    acked: int
    loaded: NDArray[np.int64]
    payloads: list[bytes]
    ends: list[int]


def followed(
    streams: Sequence[Stream], walks: Sequence[RecordWalk], stretch: Stretch, way: int
) -> Kept | None:
    """Takes the stretch, of which ``way`` sent the first packet; None if it is not taken."""
    fields = stretch.fields
    if (np.diff(fields.time_ns) < 0).any():
        return None
    ways = np.where(fields.way == fields.way[0], way, 1 - way)
    starts, acks = np.empty(len(ways), np.int64), np.empty(len(ways), np.int64)
    steps: list[_Step] = []
    for one in (0, 1):
        rows = np.flatnonzero(ways == one)
        if len(rows):
            step = _step(streams, walks[one], stretch, one, rows, starts, acks)
            if step is None:
                return None
            steps.append(step)
    for step in steps:
        _take(streams, walks[step.way], fields, step)
    return Kept(fields, starts, acks, ways)


def _step(  # noqa: PLR0917 - the two columns are filled on the way
    streams: Sequence[Stream],
    walk: RecordWalk,
    stretch: Stretch,
    way: int,
    rows: NDArray[np.int64],
    starts: NDArray[np.int64],
    acks: NDArray[np.int64],
) -> _Step | None:
    """What the rows of one way add; None if they do not go on."""
    own, peer, fields = streams[way], streams[1 - way], stretch.fields
    if own.base is None or peer.base is None:
        return None
    length, near = fields.length[rows], peer.reached
    behind = own.reached + np.cumsum(length)
    starts[rows] = behind - length
    ahead = ((fields.ack[rows] - peer.base - near + _HALF) & MASK) - _HALF
    acks[rows] = ahead + near
    if ((starts[rows] + own.base - fields.seq[rows]) & MASK).any() or np.abs(ahead).max() > _NEAR:
        return None
    loaded = rows[length > 0]
    payloads = [stretch.payloads[row] for row in loaded.tolist()]
    ends: list[int] | None = []
    if payloads:
        ends = walk.data_ends(own.reached, payloads) if own.is_open_ended else None
    if ends is None:
        return None
    return _Step(way, int(behind[-1]) - own.reached, int(acks[rows].max()), loaded, payloads, ends)


def _take(streams: Sequence[Stream], walk: RecordWalk, fields: Fields, step: _Step) -> None:
    own, peer = streams[step.way], streams[1 - step.way]
    own.spoke = True
    peer.acked = max(peer.acked, step.acked)
    if step.payloads:
        own.grow(step.size)
        times, numbers = fields.time_ns[step.loaded], fields.number[step.loaded]
        walk.take_data(step.payloads, step.ends, times.tolist(), numbers.tolist())
