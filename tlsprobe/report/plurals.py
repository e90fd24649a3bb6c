"""Numbers with their nouns."""

from __future__ import annotations


def counted(count: int, noun: str) -> str:
    """``1 failure``, ``2 failures``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def share(count: int, of: int, trials: int | None = None) -> str:
    """``13 of 13``; with how many were left out, where there were more trials: ``, 7 left out``."""
    return f"{count} of {of}{left_out(of, trials)}"


def in_short(count: int, of: int, trials: int | None = None) -> str:
    """The same as ``13/13, 7 left out``."""
    return f"{count}/{of}{left_out(of, trials)}"


def left_out(of: int, trials: int | None = None) -> str:
    """How many trials say nothing, behind how many do; nothing if there are none."""
    out = 0 if trials is None else trials - of
    return f", {out} left out" if out else ""


def how_long(seconds: float) -> str:
    """``45 s``, ``2 min 5 s``."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
