"""The idle timeouts as they were measured, and the client timeout that stays safely below them.

Servers have several: one after a response, one before the first request, one in the middle of a
request, one before the handshake. They are measured apart, by sequences in which our side only
waits, and told apart. Most count from the last exchange. Some count from when the connection was
accepted, whatever passed since: then the times from there agree better than those from the last
exchange, over trials and sequences that began to wait sooner or later.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from tlsprobe.model.judgement import Word
from tlsprobe.model.run import Cell, CountedFrom, Idle, IdleKind, Spread

KINDS = {
    "idle-expiry": "after a request",
    "idle-before-request": "before the first request",
    "idle-partial-request": "in the middle of a request",
    "idle-before-handshake": "before the handshake",
}
"""The sequences that measure, and what each measures; the first is the one that pools meet."""

_POOLED = tuple(KINDS.values())[:2]
"""Those that a connection meets while nobody uses it; others fire in the middle of something."""

_EVENTS = {"d": "data", "n": "close_notify", "a": "alert", "f": "fin", "r": "rst"}
_MARGIN_S = 5.0
_MARGIN = 0.1
LEAST_S = 0.5
"""No client has use for an idle timeout below this: it may as well keep no connection."""
_TIMINGS = {CountedFrom.EXCHANGE: "idle_to_end", CountedFrom.ACCEPT: "accept_to_end"}
CLEAR_S, CLEARLY = 0.05, 3
"""How much better times from the accept must agree before the timer is said to count from there."""


NOT_WAITED_FOR = (
    "no sequence waited where a client keeps a connection: idle-expiry and idle-before-request do"
)


def idle_of(cells: Iterable[Cell], words: Mapping[str, tuple[Word, ...]]) -> Idle | None:
    """What the idle sequences say; None if none was measured.

    ``words`` are those of each signature. The timeout is that after a request. Where that was not
    waited for it is the one before the first, and never one that fires in the middle of something:
    of a server that only bounds its handshakes no pool need be afraid.
    """
    by_kind = {
        kind: [c for c in every if c.sequence == sequence and c.signatures]
        for every in [list(cells)]
        for sequence, kind in KINDS.items()
    }
    since = counted_from(by_kind.values())
    found = {kind: _kind(same, words, since) for kind, same in by_kind.items()}
    kinds = {kind: timer for kind, timer in found.items() if timer is not None}
    if not kinds:
        return None
    kind, first = next(((k, kinds[k]) for k in _POOLED if k in kinds), (None, None))
    others = any(timer.timeout_s is not None for timer in kinds.values())
    if first is None and others:
        return Idle(None, None, "not measured", None, NOT_WAITED_FOR, kinds)
    if first is None or first.timeout_s is None:
        idle = "idle connection" if kind is None else f"connection that was idle {kind}"
        said = f"the server ended no {idle if others else 'idle connection'} while we waited"
        return Idle(None, None, "silence", None, said, kinds)
    advice = advised(first.shortest_s or 0.0) if _is_steady(first) else None
    return Idle(
        timeout_s=first.timeout_s,
        spread_s=first.spread_s,
        how=first.how,
        advice_s=advice,
        advice=_advice(advice, since, first),
        kinds=kinds,
        counted_from=first.counted_from,
    )


def counted_from(kinds: Iterable[Sequence[Cell]]) -> CountedFrom:
    """From where the server counts, by where its times agree best.

    Those of each timer must, and those of all together may: a limit on the age of a connection
    fires alike whatever our side waited for.
    """
    each = list(kinds)
    by_timer, together = _agree_better(each), _agree_better([[c for same in each for c in same]])
    return CountedFrom.ACCEPT if by_timer or together else CountedFrom.EXCHANGE


def _agree_better(kinds: Iterable[Sequence[Cell]]) -> bool:
    """Whether times from the accept lie clearly closer together than those from the exchange."""
    apart: dict[CountedFrom, float] = {}
    for since, name in _TIMINGS.items():
        for cells in kinds:
            seen = _seen(cells, name)
            if seen:
                width = max(s.max or 0.0 for s in seen) - min(s.min or 0.0 for s in seen)
                apart[since] = max(apart.get(since, 0.0), width / 1e6)
    exchange, accept = (apart.get(since) for since in _TIMINGS)
    if exchange is None or accept is None:
        return False
    return exchange - accept > CLEAR_S and exchange > CLEARLY * accept


def advised(shortest_s: float) -> float:
    """A client's idle timeout safely below this one of the server, in numbers that people write.

    0 where nothing is safely below it that a client has use for.
    """
    safe = shortest_s - _margin(shortest_s)
    step = 1.0 if safe >= 10 else 0.5 if safe >= 2 else 0.1
    found = round(math.floor(safe / step + 1e-6) * step, 1)
    return found if found >= LEAST_S else 0.0


def _is_steady(timer: IdleKind) -> bool:
    """Whether its times are one timeout: a server short of room ends some far sooner."""
    return (timer.shortest_s or 0.0) >= (timer.timeout_s or 0.0) / 2


def _advice(advice_s: float | None, since: CountedFrom, timer: IdleKind) -> str:
    if advice_s is None:
        return (
            f"some idle connections ended after {timer.shortest_s:.2g} s, half of them not before"
            f" {timer.timeout_s:.2g} s: a server that is short of room ends some sooner than"
            " its timeout says, so measure with fewer connections open (--connections 2) before a"
            " client's timeout is chosen"
        )
    if not advice_s:
        return (
            "the server ends idle connections so soon that no client should keep one for its next"
            " request"
        )
    if since is CountedFrom.ACCEPT:
        return (
            f"let the client use a connection for {advice_s:g} s from its beginning and no longer:"
            " the server counts from there, whatever passes on it"
        )
    return (
        f"keep the client's idle timeout at {advice_s:g} s or less, so that the client closes first"
        " and no request meets the expiry"
    )


def _kind(
    cells: list[Cell], words: Mapping[str, tuple[Word, ...]], since: CountedFrom
) -> IdleKind | None:
    if not cells:
        return None
    silence = IdleKind(None, None, None, _how(cells, words))
    spreads = _seen(cells, _TIMINGS[since])
    if not spreads:
        return silence
    shortest = min(s.min or 0.0 for s in spreads) / 1e6
    longest = max(s.max or 0.0 for s in spreads) / 1e6
    return replace(
        silence,
        timeout_s=round(_median(spreads), 3),
        spread_s=round(longest - shortest, 3),
        shortest_s=round(shortest, 3),
        counted_from=since,
    )


def _seen(cells: Iterable[Cell], timing: str) -> list[Spread]:
    return [s for cell in cells if (s := cell.timing_us.get(timing)) and s.n]


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
