"""What every fuzz run begins with, before anything is drawn: the closes that find most.

First a few that are as unlike each other as short closes can be: each way to end, on each state
that a server may be in, and behind odd phrases. Then every one of one step and of two, a few by
many connections at the same time, and each way to end beside a connection that goes on; before
these a few that are driven many in a row, which is what uses servers up; nothing is beside those,
so that what only waits for the server comes behind them: they would have to wait for it. Then those
behind each kind of request, and the named sequences. Where a chapter is asked for, its own come
right behind the first few.
Of each of these parts, every close is tried in one TLS version before any is tried in another one:
most faults show in all of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import product

from tlsprobe.catalogue import catalogue, default_sequences, lacks
from tlsprobe.errors import SequenceError
from tlsprobe.fuzz.exhaustion import FLOOD, FLOODS
from tlsprobe.language import format_bytes, format_groups, format_wait, parse
from tlsprobe.model.fuzz import MOST_AT_ONCE, Example
from tlsprobe.model.sequence import Limit, Sequence
from tlsprobe.model.verbs import Form

_UNLIKE = (
    *("fin", "close_notify", "terminate", "request; fin", "close_notify; send"),
    *("terminate; close_notify", "send; send; fin", "close_notify; close_notify"),
    *("request large; fin", "close_notify; terminate", "send part; fin", "terminate; send"),
    *("connect; fin", "send large + fin", "send; terminate", "sleep 0.3s; fin"),
    *("send + close_notify", "request; close_notify", "abort", "connect; close_notify; fin"),
    *("resumed; fin", "resumed; close_notify", "resumed; request; close_notify; fin"),
    *('send "x"; fin', "request; terminate; send", "sleep 0.1s; fin"),
    *("send upload; fin", "send cut; fin"),
    *("connect; hello; await flight; fin", "close_notify; fin", "request; abort"),
)
_QUIET = ("await end {}", "request; await close_notify {}; close_notify")
_ASKED = ("", "request; ", "send; ", "request large; ", "send large; ", "send part; ", 'send "x"; ')
_ENDS = ("fin", "close_notify", "terminate", "abort")
_FIRST = ("close_notify", "terminate")
_SECOND = ("close_notify", "fin", "terminate", "send", "abort", "close")
_MORE = (
    *(
        "send; send; send; fin",
        "request; send; send; close_notify",
        "close_notify; pause 0.1s; fin",
    ),
    *("close_notify; send; fin", "terminate; send; fin", "terminate; close_notify; fin"),
    *("send; send; fin", "send large + fin", "send + close_notify + fin", "close_notify + fin"),
    *("send + close_notify", "send + terminate", "terminate + close_notify", "terminate + send"),
    *("close_notify split", "send cut; fin", "send upload", "send upload; fin"),
    *("sleep 0.1s; fin", "sleep 0.3s; fin", "request; sleep 0.3s; close_notify"),
    *("request; sleep 0.3s; terminate", "close_notify; sleep 30ms; fin"),
    *("terminate; sleep 30ms; close_notify", "close_notify; sleep 30ms; send"),
    *("send; terminate; send", "send; send; close_notify", "send; send; terminate"),
    *("connect; fin", "connect; close_notify; fin", "connect; hello part; fin"),
    *("connect; hello; fin", "connect; hello; await flight; fin"),
    *("connect; hello; await flight; close_notify; fin", "connect; hello; close_notify; fin"),
)
_COMES_BACK = (
    *("resumed; terminate", "resumed; abort", "resumed; request; fin", "resumed; send; fin"),
    *("resumed; request; close_notify", "resumed; request; terminate", "resumed; send part; fin"),
    *("resumed; close_notify; fin", "resumed; request; sleep 0.3s; close_notify"),
    *("early; fin", "early; close_notify", "early; await response 0.2s; fin"),
    "early; await response 0.2s; close_notify; fin",
)
_TOGETHER = (
    *("request; fin", "request; sleep 0.3s; close_notify", "connect; sleep 0.3s; fin"),
    *("connect; hello part; sleep 0.3s; fin", "send large; close_notify"),
    *("request; sleep 0.3s; terminate", "request; sleep 0.3s; abort"),
)
_HARMED = "await end 0.5s; send; fin"
_HARMING = (
    *("terminate", "abort", "close_notify", "fin", "send part; fin", "send part; abort"),
    *("connect; fin", "send large; abort"),
)
_IDLE = (
    *("await end {}", "request; await end {}", "send part; await end {}"),
    *("await close_notify {}; close_notify", "request; await close_notify {}; close_notify"),
    *("request; await close_notify {}; sleep 50ms; close_notify",),
    *("request; await close_notify {}; send", "request; await close_notify {}; fin"),
    "request; answer {}",
)


def first_examples(
    versions: tuple[str, ...],
    offered: frozenset[Form],
    idle: float,
    phrases: tuple[bytes, ...] = (),
    *,
    has_goodbye: bool,
    chapters: frozenset[str] = frozenset(),
    comes_back: bool = True,
) -> tuple[Example, ...]:
    """The examples of a protocol with these forms of request, each once, the simplest first.

    ``idle`` is how long a wait for the server's idle timer may take, in seconds; ``phrases`` are
    made of the protocol's own words, ``chapters`` those of the catalogue that are asked for.
    Unless it ``comes_back``, no connection begins with the session of an earlier one.
    """
    able = partial(_able, offered, has_goodbye=has_goodbye, comes_back=comes_back)
    parts = (
        (_parsed(_UNLIKE), 1),
        (_parsed(f"send {format_bytes(one)}; fin" for one in phrases), 1),
        (_of_chapters(chapters), 1),
        (_parsed(FLOODS), FLOOD),
        (_parsed(text.format(format_wait(idle)) for text in _QUIET), 1),
        (_short(), 1),
        (_parsed(_TOGETHER), MOST_AT_ONCE),
        (_longer(offered, idle, has_goodbye=has_goodbye), 1),
    )
    made: dict[Example, None] = {}
    for part, together in parts:
        sequences = able(part)
        for turn in range(len(versions) if together == 1 else 1):
            for number, sequence in enumerate(sequences, turn):
                version = versions[number % len(versions)]
                if sequence.fits(version):
                    made[Example(sequence, version, together)] = None
        if together == MOST_AT_ONCE:
            made |= dict.fromkeys(_beside(able(_parsed(_HARMING)), versions))
    return tuple(made)


def _able(
    offered: frozenset[Form], part: Iterator[Sequence], *, has_goodbye: bool, comes_back: bool
) -> list[Sequence]:
    """Those for which the protocol has all that they take."""
    can = partial(lacks, offered=offered, has_goodbye=has_goodbye, is_commanded=not comes_back)
    return [sequence for sequence in part if can(sequence) is None]


def _beside(closes: list[Sequence], versions: tuple[str, ...]) -> Iterator[Example]:
    """A connection that is open while another one ends so, and asks for something behind it."""
    (harmed,) = _parsed((_HARMED,))
    for number, close in enumerate(closes):
        version = versions[number % len(versions)]
        yield Example(harmed, version, beside=Example(close, version))


def _short() -> Iterator[Sequence]:
    yield from _parsed(f"{asked}{end}" for asked, end in product(_ASKED[:2], _ENDS))
    yield from _parsed(f"{one}; {two}" for one, two in product(_FIRST, _SECOND))
    yield from _parsed((*_MORE, *_COMES_BACK))


def _longer(offered: frozenset[Form], idle: float, *, has_goodbye: bool) -> Iterator[Sequence]:
    yield from _parsed(text.format(format_wait(idle)) for text in _IDLE)
    yield from _parsed(f"{asked}{end}" for asked, end in product(_ASKED[2:], _ENDS))
    yield from _named(offered, has_goodbye=has_goodbye)
    pairs = product(_ASKED[1:], _FIRST, _SECOND)
    yield from _parsed(f"{asked}{one}; {two}" for asked, one, two in pairs)


def _of_chapters(chapters: frozenset[str]) -> Iterator[Sequence]:
    """The sequences of these chapters, but for those about another connection."""
    for entry in catalogue().values():
        sequence = entry.sequence
        if entry.group in chapters and sequence.connections == 1:
            yield Sequence(format_groups(sequence.groups), sequence.groups)


def _named(offered: frozenset[Form], *, has_goodbye: bool) -> Iterator[Sequence]:
    """The catalogue but for what waits as long as the run says, which is drawn otherwise."""
    for sequence in default_sequences(offered, has_goodbye=has_goodbye):
        if not sequence.is_race and not any(step.wait is Limit.IDLE for step in sequence.steps):
            yield Sequence(format_groups(sequence.groups), sequence.groups)


def _parsed(texts: Iterator[str] | tuple[str, ...]) -> Iterator[Sequence]:
    """Those of the texts that the language allows: nothing is written behind our own end."""
    for text in texts:
        try:
            yield parse(f"{text}; drain")
        except SequenceError:
            continue
