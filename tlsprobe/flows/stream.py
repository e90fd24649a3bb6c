"""One side's bytes: where they start on the wire, how far they reach, and which were seen."""

from __future__ import annotations

from bisect import bisect_left

MASK = 0xFFFF_FFFF
_HALF = 0x8000_0000

RUNS = 256
"""So many pieces with holes between them are remembered; what fills the holes of more is missed."""


class Stream:
    """What one side's bytes amount to. Offsets count from the byte behind its SYN.

    ``base`` is the number of the first byte as on the wire, None until one was seen. ``reached``
    is the highest offset that was sent, without a FIN; ``acked`` the highest that the peer
    acknowledged, -1 before it did. ``opened`` says that the SYN was seen, ``spoke`` that anything
    was which is no RST.
    """

    __slots__ = ("_holed", "_runs", "acked", "base", "opened", "reached", "spoke")

    def __init__(self) -> None:
        self.base: int | None = None
        self.reached = 0
        self.acked = -1
        self.opened = False
        self.spoke = False
        self._runs: list[list[int]] = []
        self._holed = False

    def spans(self, number: int, ahead: int) -> bool:
        """Whether a number from the wire lies between the SYN and ``ahead`` behind the last byte.

        Where the stream begins is not known without its SYN, and nothing at all without a base.
        """
        if self.base is None:
            return True
        least = -1 if self.opened else -ahead
        return least <= offset(number, self.base, self.reached) <= self.reached + ahead

    def saw(self, start: int, end: int, fin: int) -> None:
        """A segment with these offsets, which a FIN follows if ``fin``. Most come in order."""
        if end > self.reached:  # noqa: PLR1730 - max() takes three times as long, for each segment
            self.reached = end
        if fin:
            end += 1
        runs = self._runs
        if runs:
            last = runs[-1]
            if last[0] <= start <= last[1]:
                if end > last[1]:  # noqa: PLR1730
                    last[1] = end
                return
        if self.opened:
            if start == end or end <= 0:
                return  # no bytes, or none of this stream
        elif start == end and runs:
            return
        self._insert(start, end)

    def _insert(self, start: int, end: int) -> None:
        runs = self._runs
        at = bisect_left(runs, [start])
        if at and runs[at - 1][1] >= start:
            at -= 1
            start = runs[at][0]
            end = max(end, runs[at][1])
        behind = at
        while behind < len(runs) and runs[behind][0] <= end:
            end = max(end, runs[behind][1])
            behind += 1
        runs[at:behind] = [[start, end]]
        if len(runs) > RUNS:
            self._holed = True
            runs[:2] = [[runs[0][0], runs[1][1]]]

    @property
    def is_open_ended(self) -> bool:
        """Whether what follows the last byte follows a piece that was seen."""
        return bool(self._runs) and self._runs[-1][0] <= self.reached <= self._runs[-1][1]

    def grow(self, size: int) -> None:
        """So many bytes followed the last one, of a stream that `is_open_ended`."""
        self.reached += size
        self._runs[-1][1] = max(self._runs[-1][1], self.reached)

    def is_whole(self) -> bool:
        """Whether its SYN was seen and all that the peer acknowledged; silence misses nothing."""
        if self._holed or (self.spoke and not self.opened):
            return False
        if self.acked <= 0:
            return True
        if not self._runs:
            return False
        start, end = self._runs[0]
        return start <= 0 and end >= self.acked

    def opens(self, base: int) -> int:
        """Its SYN was seen: ``base`` numbers the first byte. Returns by how much offsets grow.

        What was seen earlier and lies in front of the SYN is none of this stream's. A SYN that the
        peer has acknowledged stands, whatever others say.
        """
        if self.opened and self.acked >= 0:
            return 0
        grown = 0 if self.base is None else offset(self.base, base, 0)
        self.base, self.opened = base, True
        if grown:
            self.reached = max(0, self.reached + grown)
            if self.acked >= 0:
                self.acked = max(0, self.acked + grown)
            moved = [[start + grown, end + grown] for start, end in self._runs]
            self._runs = [run for run in moved if run[1] > 0]
        return grown


def offset(number: int, base: int, near: int) -> int:
    """The 32-bit number as an offset from ``base``, of all candidates the nearest to ``near``."""
    return ((number - base - near + _HALF) & MASK) - _HALF + near
