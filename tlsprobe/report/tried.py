"""What came of remedies that a run or the lab has tried: beside a remedy, wherever it is given."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tlsprobe.model.behaviour import Behaviour, Seen, Tried, WhatToDo
from tlsprobe.model.judgement import Verdict
from tlsprobe.report.blocks import Inline, Strong, Text

_TRIED = {
    Tried.HELPS: Verdict.PASS,
    Tried.IN_PART: Verdict.WARN,
    Tried.HELPS_NOT: Verdict.FAIL,
    Tried.WORSE: Verdict.FAIL,
}


def what_came_of(one: WhatToDo, *, is_brief: bool = False) -> tuple[Inline, ...]:
    """What came of a remedy that was tried; nothing for one that was not.

    ``is_brief``: without the figures of a lab, which are those of every sequence.
    """
    if one.tried is Tried.NOT_TRIED:
        return ()
    where = "in the lab" if one.lab else "here"
    words = Strong(f"Tried {where}: {one.tried}", _TRIED[one.tried])
    if one.lab and is_brief:
        return (" ", words, ".")
    return (" ", words, f" ({one.lab or _tried_words(one.seen)}).")


def tried_remedies(found: Iterable[Behaviour], cause: str) -> dict[str, Text]:
    """The remedies of a cause that were tried, by their text, with what came of them.

    One that helped against one behaviour and not against another is left out.
    """
    said: dict[str, set[Text]] = {}
    for one in found:
        for what in one.to_do if one.cause == cause else ():
            if came := what_came_of(what):
                said.setdefault(what.text, set()).add((what.text, *came))
    return {text: next(iter(texts)) for text, texts in said.items() if len(texts) == 1}


def _tried_words(seen: Sequence[Seen]) -> str:
    by_sequence: dict[str, tuple[int, int]] = {}
    for one in seen:
        count, trials = by_sequence.get(one.sequence, (0, 0))
        by_sequence[one.sequence] = count + one.count, trials + one.asked
    return ", ".join(
        f"{sequence}: seen in {count} of {trials}"
        for sequence, (count, trials) in by_sequence.items()
    )
