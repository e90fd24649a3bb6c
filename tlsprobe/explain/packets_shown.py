"""The packets of a connection that a report shows: a ladder around its first RST, or its end."""

from __future__ import annotations

from dataclasses import replace

from tlsprobe.judge.closing import closing_of
from tlsprobe.judge.ladder import ladder_of
from tlsprobe.model.explanation import ExplainedReset, Trouble
from tlsprobe.model.judgement import LadderLine, Reset, Word
from tlsprobe.model.trace import Mark, Segment, Side, Trace

MOST_LETTERS = 120
"""Characters of a signature; of a longer one the end is told."""

BEFORE, AFTER = 9, 4
"""Lines of a ladder before the first RST, and from it on."""

_LOOK_BACK, _LOOK_ON = 60, 40


def last_words(words: tuple[Word, ...]) -> tuple[Word, ...]:
    """As many of the last words as are shown."""
    room, count = MOST_LETTERS, 0
    for word in reversed(words):
        room -= len(word.letters) + 1
        if room < -1:
            break
        count += 1
    return words[len(words) - count :]


def ladder(
    trace: Trace, told: tuple[ExplainedReset, ...], troubles: tuple[Trouble, ...] = ()
) -> tuple[LadderLine, ...]:
    """The last packets before the first RST, those behind it, and what provoked each.

    Without an RST, the last packets, and those that show a trouble.
    """
    segments = trace.segments
    first = next((i for i, s in enumerate(segments) if s.rst), len(segments))
    begin = max(0, first - _LOOK_BACK)
    window = segments[begin : first + _LOOK_ON]
    if not window:
        return ()
    triggers: dict[int, list[int]] = {}
    for each in told:
        if each.trigger is not None:
            triggers.setdefault(each.trigger, []).append(each.reset.packet)
    named = frozenset(triggers) | {n for trouble in troubles for n in trouble.packets}
    reach = {side: _reach(segments[:begin], side) for side in Side}
    mark = Mark(window[0].time_ns, reach[Side.CLIENT], reach[Side.SERVER])
    part = replace(trace, segments=window, drive=replace(trace.drive, mark=mark))
    resets: tuple[Reset, ...] = tuple(t.reset for t in told)
    lines = ladder_of(part, closing_of(part), resets, named)
    lines = _around(lines, {r.packet for r in resets})
    return tuple(_pointed(line, lines[0].time_us, triggers) for line in lines)


def _reach(segments: tuple[Segment, ...], side: Side) -> int:
    return max((s.end for s in segments if s.side is side and not s.rst), default=0)


def _around(lines: tuple[LadderLine, ...], resets: set[int]) -> tuple[LadderLine, ...]:
    first = next((i for i, line in enumerate(lines) if line.packet in resets), len(lines))
    return lines[max(0, first - BEFORE) : first + AFTER]


def _pointed(line: LadderLine, since_us: float, triggers: dict[int, list[int]]) -> LadderLine:
    resets = triggers.get(line.packet, []) if line.packet is not None else []
    named = ", ".join(f"#{packet}" for packet in resets)
    text = f"{line.text}, provokes {named}" if resets else line.text
    return replace(line, time_us=line.time_us - since_us, text=text)
