"""The corpus as people capture: half of it, all of it twice, out of order, with packets missing.

ARCHITECTURE.md, "Reading an RST": what a capture does not show makes an answer less sure, and never
another one that is called sure.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from scapy.utils import RawPcapNgReader

from tests.explain.test_corpus import CAPTURES, Witnessed, held_against, truth
from tlsprobe.captures.pcapng_writer import Writer
from tlsprobe.captures.reader import open_capture_file
from tlsprobe.explain import Filter, explain
from tlsprobe.model.judgement import Confidence

HEADERS = {1: 14, 101: 0, 113: 16, 276: 20}
"""How long the link's own header is, by link type."""
SYN, RST, ACK = 2, 4, 16


class Shot(NamedTuple):
    """A frame, and what is needed to choose among them: who sent it, and its flags."""

    time_ns: int
    link: int
    frame: bytes
    source: bytes
    flags: int


@cache
def shots(path: Path) -> tuple[Shot, ...]:
    found: list[Shot] = []
    about: Any
    with RawPcapNgReader(str(path)) as reader:
        for frame, about in reader:
            packet = frame[HEADERS[about.linktype] :]
            is_4 = packet[0] >> 4 == 4
            host, tcp = (packet[12:16], packet[20:]) if is_4 else (packet[8:24], packet[40:])
            time_ns = (about.tshigh << 32 | about.tslow) * 10**9 // about.tsresol
            found.append(Shot(time_ns, about.linktype, frame, host + tcp[:2], tcp[13]))
    return tuple(found)


Taken = Sequence[Shot]


def of_one_side(*, servers: bool) -> Callable[[Taken], Taken]:
    def damage(taken: Taken) -> Taken:
        asked = {s.source for s in taken if s.flags & (SYN | ACK) == SYN | ACK}
        return [s for s in taken if (s.source in asked) is servers]

    return damage


def without(nth: int, of: int) -> Callable[[Taken], Taken]:
    """Every n-th is missing, but no RST, which is what the reader holds."""
    return lambda taken: [s for at, s in enumerate(taken) if at % of != nth or s.flags & RST]


def out_of_order(taken: Taken) -> Taken:
    """What came of one side and then of the other came the other way round."""
    swapped, moved = list(taken), -1
    for at, (one, other) in enumerate(pairwise(taken)):
        if at > moved and one.source != other.source and not (one.flags | other.flags) & SYN:
            swapped[at] = other._replace(time_ns=one.time_ns)
            swapped[at + 1] = one._replace(time_ns=other.time_ns)
            moved = at + 1
    return swapped


DAMAGES: dict[str, Callable[[Taken], Taken]] = {
    "of servers alone": of_one_side(servers=True),
    "of clients alone": of_one_side(servers=False),
    "without its first packets": lambda taken: [s for s in taken if not s.flags & SYN],
    "without acknowledgements": lambda taken: [s for s in taken if s.flags & ~ACK],
    "twice": lambda taken: [s for one in taken for s in (one, one)],
    "out of order": out_of_order,
    "with every third missing": without(0, 3),
    "with every fourth missing": without(2, 4),
    "with every fifth missing": without(1, 5),
}


def explained(path: Path, taken: Taken) -> list[Witnessed]:
    out = io.BytesIO()
    writer = Writer(out, taken[0].link, "test0")
    for shot in taken:
        writer.packet(shot.time_ns, shot.frame, len(shot.frame))
    writer.finish(0)
    with open_capture_file(io.BytesIO(out.getvalue())) as reading:
        # An RST that is there twice has the kernel's word twice.
        return held_against(explain(reading, Filter(quiet=True)), truth(path) * 2)


@pytest.mark.slow
@pytest.mark.parametrize("how", DAMAGES)
def test_nothing_is_called_sure_that_the_kernel_denies(how: str) -> None:
    wrong: list[tuple[str, Witnessed]] = []
    for path in CAPTURES:
        if taken := DAMAGES[how](shots(path)):
            found = explained(path, taken)
            sure = (one for one in found if one.told.reset.confidence is Confidence.HIGH)
            wrong += [(path.stem, one) for one in sure if not one.agrees]
    assert wrong == []
