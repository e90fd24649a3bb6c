"""Pictures as numbers: where the arrows of a ladder and the bars of a time line go.

Units are pixels at full width; a renderer puts them into SVG. Time goes down, the client is on the
left. What a rung says stands above its arrow, so that the picture fits a narrow screen.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tlsprobe.model.trace import Side
from tlsprobe.report.blocks import Ladder, Timeline
from tlsprobe.report.glyphs import fold
from tlsprobe.report.ladder import Rung, rungs_of

WIDTH, LEFT, RIGHT = 440, 76, 412
_TOP, _LINE, _SLOPE, _PAD = 26, 15, 6, 7
_READER = 22
_CHARACTERS = 50
"""Characters of a line above an arrow."""

BAR, HEIGHT = 10, 60


@dataclass(frozen=True, slots=True)
class DrawnLine:
    """A line of text, ``y`` its baseline."""

    text: str
    y: int


@dataclass(frozen=True, slots=True)
class DrawnRung:
    """An arrow with what stands above it; ``head`` are the corners of its head."""

    kind: str
    time: str
    lines: tuple[DrawnLine, ...]
    top: int
    bottom: int
    tail_x: int
    tail_y: int
    head_x: int
    head_y: int
    head: str


@dataclass(frozen=True, slots=True)
class DrawnLadder:
    """A ladder; ``told`` says in words what it shows.

    ``reader`` is what the last packets give a plain reader: EOF or ECONNRESET, "" if neither.
    """

    client: str
    server: str
    rungs: tuple[DrawnRung, ...]
    height: int
    told: str
    reader: str = ""
    width: int = WIDTH
    left: int = LEFT
    right: int = RIGHT
    middle: int = (LEFT + RIGHT) // 2

    @property
    def foot(self) -> int:
        """Where the two lines of life end."""
        return self.height - (_READER + 4 if self.reader else 4)


def draw_ladder(ladder: Ladder) -> DrawnLadder:
    """The ladder, rung below rung."""
    rungs = rungs_of(ladder.lines)
    drawn: list[DrawnRung] = []
    y = _TOP
    for rung in rungs:
        drawn.append(_rung(rung, y))
        y = drawn[-1].bottom
    resets = sum(rung.reset for rung in rungs)
    told = f"{len(rungs)} lines of packets between {ladder.client} and {ladder.server}"
    told += f", {resets} of them with an RST" if resets else ""
    reader = reader_of(ladder)
    told += f"; a plain reader gets {reader}" if reader else ""
    height = y + 8 + (_READER if reader else 0)
    return DrawnLadder("client", "server", tuple(drawn), height, told, reader)


def reader_of(ladder: Ladder) -> str:
    """What ended a plain reader's stream, if the server's packets did; after our own RST, nothing.

    ARCHITECTURE.md, "What a reader gets".
    """
    if not ladder.in_order:
        return ""
    for line in ladder.lines:
        letters = line.letters.lower()
        if line.side is Side.CLIENT:
            if "r" in letters:
                return ""
        elif "f" in letters:
            return "EOF"
        elif "r" in letters:
            return "ECONNRESET"
    return ""


def _rung(rung: Rung, top: int) -> DrawnRung:
    words = " ".join(word for word in (rung.letters, rung.packet, rung.text) if word)
    parts = [words[start:end].rstrip() for start, end in fold(words, _CHARACTERS)]
    lines = tuple(DrawnLine(part, top + _LINE * n) for n, part in enumerate(parts, 1))
    tail_y = top + _LINE * len(parts) + 4
    right = rung.side is Side.CLIENT
    tail_x, head_x = (LEFT, RIGHT) if right else (RIGHT, LEFT)
    head_y, back = tail_y + _SLOPE, -8 if right else 8
    corners = (head_x, head_y), (head_x + back, head_y - 4), (head_x + back, head_y + 4)
    head = " ".join(f"{x},{y}" for x, y in corners)
    bottom = head_y + _PAD
    return DrawnRung(
        _kind(rung), rung.time, lines, top + 1, bottom, tail_x, tail_y, head_x, head_y, head
    )


def _kind(rung: Rung) -> str:
    """What the eye is to tell apart, the worst first."""
    if rung.reset:
        return "rst"
    letters = rung.letters.lower()
    kind = "fin" if "f" in letters else "end-of-tls" if set(letters) & set("na") else "data"
    return f"{kind} provokes" if "provokes #" in rung.text else kind


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar of a time line."""

    x: int
    y: float
    width: int
    height: float
    count: int


@dataclass(frozen=True, slots=True)
class DrawnTimeline:
    """The bars, and in words what they show."""

    bars: tuple[Bar, ...]
    width: int
    height: int
    told: str


def draw_timeline(line: Timeline) -> DrawnTimeline:
    """Bars as high as their counts, none so low that it is not seen."""
    most = max(line.counts, default=0)
    told = f"{sum(line.counts)} from {line.begin} to {line.end}, at most {most} in one of"
    told += f" {len(line.counts)} parts"
    bars = tuple(_bars(line.counts, most))
    return DrawnTimeline(bars, BAR * max(1, len(line.counts)), HEIGHT, told)


def _bars(counts: Sequence[int], most: int) -> Iterator[Bar]:
    for place, count in enumerate(counts):
        if count:
            height = max(3.0, round(count * (HEIGHT - 2) / most, 1))
            yield Bar(place * BAR + 1, round(HEIGHT - height, 1), BAR - 2, height, count)
