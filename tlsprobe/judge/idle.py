"""The idle timeout as it was measured, and the client timeout that stays safely below it."""

from __future__ import annotations

from collections.abc import Iterable

from tlsprobe.model.run import Cell, Idle, Spread

_EVENTS = {"d": "data", "n": "close_notify", "a": "alert", "f": "fin", "r": "rst"}
_MARGIN_S = 5.0
_MARGIN = 0.1


def idle_of(cells: Iterable[Cell], silent: frozenset[str]) -> Idle | None:
    """What the idle sequences say; None if none was run.

    ``silent`` names the sequences in which our side only waits, whose signature is the server's.
    """
    waited = [cell for cell in cells if cell.sequence in silent and cell.signatures]
    if not waited:
        return None
    spreads = [s for cell in waited if (s := cell.timing_us.get("idle_to_end")) and s.n]
    how = _how(waited)
    if not spreads:
        return Idle(
            None, None, "silence", None, "the server ended no idle connection while we waited"
        )
    shortest = min(s.min or 0.0 for s in spreads) / 1e6
    longest = max(s.max or 0.0 for s in spreads) / 1e6
    advice = round(shortest - min(_MARGIN_S, shortest * _MARGIN), 2)
    return Idle(
        timeout_s=round(_median(spreads), 3),
        spread_s=round(longest - shortest, 3),
        how=how,
        advice_s=advice,
        advice=f"keep the client's idle timeout at {advice:g} s or less, so that the client"
        " closes first and no request meets the expiry",
    )


def _median(spreads: list[Spread]) -> float:
    ordered = sorted(s.p50 or 0.0 for s in spreads)
    return ordered[len(ordered) // 2] / 1e6


def _how(cells: list[Cell]) -> str:
    signatures: dict[str, int] = {}
    for cell in cells:
        for signature, count in cell.signatures.items():
            signatures[signature] = signatures.get(signature, 0) + count
    commonest = max(signatures, key=lambda signature: signatures[signature])
    words = ("+".join(_EVENTS.get(letter, letter) for letter in word) for word in commonest.split())
    return ", ".join(words) or "silence"
