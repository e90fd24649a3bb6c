"""The few signs that reports draw with, and how numbers and names are brought to a width."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tlsprobe.model.judgement import Verdict
from tlsprobe.model.trace import Side

if TYPE_CHECKING:
    from tlsprobe.report.blocks import Mark


@dataclass(frozen=True, slots=True)
class Glyphs:
    """A set of signs: a mark for each verdict, arrows, a bullet, a dot, the micro sign.

    ``bars`` are those of a time line, from nothing to the highest.
    """

    marks: dict[Verdict, str]
    to_server: str
    to_client: str
    bullet: str
    dot: str
    micro: str
    more: str
    bars: str

    def mark(self, mark: Mark, *, aligned: bool = False, apart: bool = False) -> str:
        """Mark, code and counts: ``!RST 3/20``.

        ``aligned``: the code fills four places. ``apart``: it stands behind a blank.
        """
        code = f"{mark.code:>4}" if aligned else f" {mark.code}".rstrip() if apart else mark.code
        return f"{self.marks[mark.verdict]}{code} {mark.counts}".rstrip()

    def sparkline(self, counts: Sequence[int]) -> str:
        """A bar for each count; what is not nothing is seen."""
        most = max(counts, default=0) or 1
        steps = len(self.bars) - 1
        return "".join(self.bars[-(-count * steps // most)] for count in counts)

    def arrow(self, side: Side) -> str:
        """From left (us) to right (the server), or back."""
        return self.to_server if side is Side.CLIENT else self.to_client


UNICODE = Glyphs(
    marks={
        Verdict.PASS: "✓",
        Verdict.FAIL: "✗",
        Verdict.WARN: "!",
        Verdict.INFO: "·",
        Verdict.INCONCLUSIVE: "?",
        Verdict.ERROR: "#",
        Verdict.UNSUPPORTED: "-",
    },
    to_server="──▶",
    to_client="◀──",
    bullet="•",
    dot="·",
    micro="µ",
    more="…",
    bars=" ▁▂▃▄▅▆▇█",
)

ASCII = Glyphs(
    marks=UNICODE.marks | {Verdict.PASS: "+", Verdict.FAIL: "X", Verdict.INFO: "."},
    to_server="-->",
    to_client="<--",
    bullet="*",
    dot="-",
    micro="u",
    more="...",
    bars=" .:-=+*#@",
)


def glyphs_for(encoding: str) -> Glyphs:
    """The signs that a stream of this encoding can carry."""
    try:
        is_utf = codecs.lookup(encoding).name.startswith("utf")
    except LookupError:
        is_utf = False
    return UNICODE if is_utf else ASCII


def duration(microseconds: float, glyphs: Glyphs = UNICODE) -> str:
    """A duration in the unit in which it has few digits: ``81 µs``, ``12.3 ms``, ``60.02 s``."""
    size = abs(microseconds)
    if size < 999.5:
        return f"{microseconds:.0f} {glyphs.micro}s"
    if size < 99_950:
        return f"{microseconds / 1e3:.1f} ms"
    if size < 999_500:
        return f"{microseconds / 1e3:.0f} ms"
    return f"{microseconds / 1e6:.2f} s"


_DAYS = 10 * 86_400
"""Longer times are told in days: a clock that was set, or captures of years put together."""


def seconds(value: float) -> str:
    """Seconds without digits that say nothing: ``60 s``, ``60.02 s``, ``0.4 s``, ``2133 days``."""
    if value >= _DAYS:
        return f"{value / 86_400:.0f} days"
    return f"{value:.2f}".rstrip("0").rstrip(".") + " s"


_WORD = re.compile(r"[^ ]* +|[^ ]+")
_PIECE = re.compile(r"[^ \-.:/_,]*[\-.:/_,] *|[^ \-.:/_,]+ *| +")


def fold(text: str, width: int) -> list[tuple[int, int]]:
    """Where lines of at most ``width`` begin and end, broken where the eye expects it.

    Lines break at spaces; a word that is longer than a line also behind ``- . : / _ ,``, and a
    piece that is still too long is cut. A hyphen that alone does not fit is left out: the break
    says the same.
    """
    lines: list[tuple[int, int]] = []
    start = end = 0
    for piece in _pieces(text, width):
        bare = piece.start() + len(piece[0].rstrip())
        if start < end and bare - start > width:
            lines.append((start, end))
            start = end
        if start == end:
            start = piece.end() - len(piece[0].lstrip())
            if piece.end() - start == width + 1 and text[piece.end() - 1] == "-":
                lines.append((start, piece.end() - 1))
                start = end = piece.end()
                continue
        while bare - start > width:
            lines.append((start, start + width))
            start += width
        end = piece.end()
    lines.append((start, end))
    trimmed = [(first, first + len(text[first:last].rstrip())) for first, last in lines]
    return [(first, last) for first, last in trimmed if first < last] or [(0, 0)]


def _pieces(text: str, width: int) -> Iterator[re.Match[str]]:
    """What stays on one line: words, and the parts of those that are too long for one."""
    for word in _WORD.finditer(text):
        if len(word[0].rstrip()) <= width:
            yield word
        else:
            yield from _PIECE.finditer(text, *word.span())
