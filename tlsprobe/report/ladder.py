"""The ladder: one trial packet by packet, as rows that any format can align."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

from tlsprobe.model.judgement import LadderLine
from tlsprobe.model.trace import Side
from tlsprobe.report.glyphs import UNICODE, Glyphs, duration

REPEATS = 3
"""So many lines of one kind in a row are shown; of more, only the first and the last."""


@dataclass(frozen=True, slots=True)
class Rung:
    """One row: words for each column; ``reset`` marks an RST."""

    side: Side
    time: str
    arrow: str
    letters: str
    text: str
    packet: str
    reset: bool


def rungs_of(lines: Iterable[LadderLine], glyphs: Glyphs = UNICODE) -> list[Rung]:
    """The rows. A long run of like lines, such as a large response, is shortened."""
    kinds = groupby(lines, key=lambda line: (line.side, line.letters))
    return [rung for _, alike in kinds for rung in _shortened(list(alike), glyphs)]


def aligned(rungs: Iterable[Rung]) -> Iterator[str]:
    """The rows as plain lines in columns, an RST pointed at in the margin."""
    rows = list(rungs)
    widths = [max((len(field) for field in column), default=0) for column in _columns(rows)]
    for rung in rows:
        time, letters, packet = rung.time, rung.letters, rung.packet
        yield (
            f"{'>' if rung.reset else ' '} {time:>{widths[0]}}  client {rung.arrow} server"
            f"  {letters:<{widths[1]}}  {packet:>{widths[2]}}  {rung.text}"
        ).rstrip()


def _columns(rows: list[Rung]) -> list[list[str]]:
    return [[r.time for r in rows], [r.letters for r in rows], [r.packet for r in rows]]


def _shortened(lines: list[LadderLine], glyphs: Glyphs) -> Iterator[Rung]:
    if len(lines) <= REPEATS or is_reset(lines[0]):
        yield from (_rung(line, glyphs) for line in lines)
        return
    yield _rung(lines[0], glyphs)
    between = f"{glyphs.more} {len(lines) - 2} more like it"
    side = lines[0].side
    yield Rung(side, "", glyphs.arrow(side), lines[0].letters, between, "", reset=False)
    yield _rung(lines[-1], glyphs)


def _rung(line: LadderLine, glyphs: Glyphs) -> Rung:
    packet = "" if line.packet is None else f"#{line.packet}"
    time = duration(line.time_us, glyphs)
    arrow = glyphs.arrow(line.side)
    return Rung(line.side, time, arrow, line.letters, line.text, packet, is_reset(line))


def is_reset(line: LadderLine) -> bool:
    """Whether the packet of this line holds an RST."""
    return "r" in line.letters.lower()
