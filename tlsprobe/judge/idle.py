"""The idle timeouts as they were measured, and the client timeout that stays safely below them.

Servers have several: one after a response, one before the first request, one in the middle of a
request, one before the handshake. They are measured apart, by sequences in which our side only
waits, and told apart.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace

from tlsprobe.model.judgement import Word
from tlsprobe.model.run import Cell, Idle, IdleKind, Spread

KINDS = {
    "idle-expiry": "after a request",
    "idle-before-request": "before the first request",
    "idle-partial-request": "in the middle of a request",
    "idle-before-handshake": "before the handshake",
}
"""The sequences that measure, and what each measures; the first is the one that pools meet."""

_EVENTS = {"d": "data", "n": "close_notify", "a": "alert", "f": "fin", "r": "rst"}
_MARGIN_S = 5.0
_MARGIN = 0.1


def idle_of(cells: Iterable[Cell], words: Mapping[str, tuple[Word, ...]]) -> Idle | None:
    """What the idle sequences say; None if none was measured.

    ``words`` are those of each signature. The timeout is that after a request where it is known,
    else the first that is.
    """
    kinds = {}
    by_sequence = list(cells)
    for sequence, kind in KINDS.items():
        same = [c for c in by_sequence if c.sequence == sequence and c.signatures]
        measured = _kind(same, words)
        if measured is not None:
            kinds[kind] = measured
    if not kinds:
        return None
    first = next((k for k in kinds.values() if k.timeout_s is not None), None)
    if first is None:
        said = "the server ended no idle connection while we waited"
        return Idle(None, None, "silence", None, said, kinds)
    advice = round((first.shortest_s or 0.0) - _margin(first.shortest_s or 0.0), 2)
    return Idle(
        timeout_s=first.timeout_s,
        spread_s=first.spread_s,
        how=first.how,
        advice_s=advice,
        advice=f"keep the client's idle timeout at {advice:g} s or less, so that the client"
        " closes first and no request meets the expiry",
        kinds=kinds,
    )


def _kind(cells: list[Cell], words: Mapping[str, tuple[Word, ...]]) -> IdleKind | None:
    if not cells:
        return None
    silence = IdleKind(None, None, None, _how(cells, words))
    spreads = [s for cell in cells if (s := cell.timing_us.get("idle_to_end")) and s.n]
    if not spreads:
        return silence
    shortest = min(s.min or 0.0 for s in spreads) / 1e6
    longest = max(s.max or 0.0 for s in spreads) / 1e6
    return replace(
        silence,
        timeout_s=round(_median(spreads), 3),
        spread_s=round(longest - shortest, 3),
        shortest_s=round(shortest, 3),
    )


def _margin(timeout_s: float) -> float:
    """A tenth, and no more than five seconds."""
    return min(_MARGIN_S, timeout_s * _MARGIN)


def _median(spreads: list[Spread]) -> float:
    ordered = sorted(s.p50 or 0.0 for s in spreads)
    return ordered[len(ordered) // 2] / 1e6


def _how(cells: list[Cell], words: Mapping[str, tuple[Word, ...]]) -> str:
    """How most of them ended, in words: ``close_notify, fin``, with ``+`` for one segment."""
    signatures: Counter[str] = Counter()
    for cell in cells:
        signatures.update(cell.signatures)
    ((commonest, _),) = signatures.most_common(1)
    closing = (word.text for word in words[commonest] if word.letters.strip("d"))
    told = ("+".join(_EVENTS.get(letter, letter) for letter in word) for word in closing)
    return ", ".join(told) or "silence"
