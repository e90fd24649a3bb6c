"""What every input can be asked, whatever its kind, and what it tells of itself meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import BinaryIO, Literal, Protocol, Self

from tlsprobe.captures.packing import Packing
from tlsprobe.captures.pieces import Watch
from tlsprobe.captures.summary import Summary
from tlsprobe.captures.wireshark_info import Carried
from tlsprobe.errors import UsageError
from tlsprobe.packets.packet import Packet
from tlsprobe.packets.stretch import Stretch

Kind = Literal["pcap", "pcapng", "text"]
Wanted = Callable[[bytes], bool]
"""Told a `flow_key`, whether its segments are wanted; ``a_set.__contains__`` is the quickest."""

HINT = (
    "tlsprobe reads pcap, pcapng, either compressed or in a tar archive, and the lines that"
    " tcpdump, tshark and Wireshark print"
)


class CaptureUnreadable(UsageError):  # noqa: N818 - it reads as the sentence that it is
    """Nothing could be read: says what, where, and what to do (exit 2)."""


class Reading(Protocol):
    """An input that was recognised; see `tlsprobe.captures.reader` for how to use it.

    ``total`` counts the frames (or printed packets) of the input, ``other`` those that were read
    and are not TCP, ``skipped`` what could not be read at all: ``first_skipped`` is a sentence
    about the first such place; ``disordered`` counts printed packets that stand behind later ones,
    ``lacking`` printed RSTs without what tells one kind from another, ``lost`` those that the
    capture itself says it lost.
    ``truncated`` is a sentence if the input ended or broke off in the
    middle: what came before it was read. ``secrets`` are TLS key logs embedded in the file.
    ``carried`` is what a text calls the contents of its packets, by their numbers.
    ``notes`` are other things that a reader of the result should know. The counts of `summary`
    are the whole truth; a pass over some flows does not look closely at the others.
    """

    kind: Kind
    name: str
    total: int
    other: int
    skipped: int
    disordered: int
    lacking: int
    lost: int
    first_skipped: str | None
    truncated: str | None
    secrets: list[bytes]
    carried: dict[int, Carried]
    notes: list[str]

    def summary(self) -> Summary:
        """Light facts of every flow, in one quick pass. Raises CaptureUnreadable."""
        ...

    def packets(self, wanted: Wanted | None = None) -> Iterator[Packet]:
        """The segments, as they come; only those of wanted flows if asked so."""
        ...

    def stretches(self, wanted: Wanted) -> Iterator[Packet | Stretch]:
        """The same of wanted flows, where it can be many at once."""
        ...

    def close(self) -> None:
        """Lets go of the input and of what was spooled of it; leaving a `with` does too."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


class Counts:
    """What every reading tells of its latest pass; ``watch`` is told how far that is.

    ``told`` are notes on the input as a whole.
    """

    kind: Kind
    told: tuple[str, ...] = ()
    watch: Watch | None = None

    def __init__(
        self, name: str, file: BinaryIO, *, packing: Packing | None, cut: str | None
    ) -> None:
        self.name = name
        self._file = file
        self._packing = packing
        self._cut = cut
        self._begin()

    def _begin(self) -> None:
        self.total = self.other = self.skipped = self.disordered = self.lacking = self.lost = 0
        self.first_skipped: str | None = None
        self.truncated: str | None = self._cut
        self.secrets: list[bytes] = []
        self.carried: dict[int, Carried] = {}
        self.notes: list[str] = [*self.told]

    def _skip(self, sentence: str, count: int = 1) -> None:
        self.skipped += count
        if self.first_skipped is None:
            self.first_skipped = sentence

    def close(self) -> None:
        """Lets go of the input and of what was spooled of it."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
