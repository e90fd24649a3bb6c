"""What may have used a server up: its workers, its slots, its descriptors.

Such a server takes connections and answers no handshake any more. No single close does that, and a
server that does not come back cannot be asked. So closes that often cost one are driven many in a
row, with an ordinary connection behind each lot; and where it happens besides, what was left
unfinished before is counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NamedTuple

from tlsprobe.fuzz.properties import Violation
from tlsprobe.model.fuzz import Example
from tlsprobe.model.verbs import ANNOUNCES, ENDS, RELEASES, Form, Verb

FLOOD = 32
"""So many connections in a row do the same to use a server up."""

FLOODS = (
    *("connect; fin", "connect; hello; await flight; fin", "abort", "request; abort"),
    "send part; fin",
)
"""What is driven in a row: what servers are known to forget to clean up behind."""


class Left(NamedTuple):
    """A way to leave something unfinished: what so many connections did, and the commonest."""

    what: str
    connections: int
    example: Example

    @property
    def text(self) -> str:
        """In words, with the commonest sequence."""
        example = self.example
        return f"{self.connections} {self.what}, such as TLS {example.tls}: {example.steps}"


def _is_half(example: Example) -> bool:
    steps = example.sequence.steps
    return any(s.payload is not None or s.form in {Form.PART, Form.CUT} for s in steps)


def _is_abort(example: Example) -> bool:
    return any(step.verb in RELEASES for step in example.sequence.steps)


def _says_nothing_at_the_end(example: Example) -> bool:
    verbs = {step.verb for step in example.sequence.steps}
    return bool(verbs & ENDS) and not verbs & (ANNOUNCES | {Verb.TERMINATE})


_WAYS: tuple[tuple[str, Callable[[Example], bool]], ...] = (
    ("broke the handshake off", lambda example: example.sequence.is_handshake),
    ("were aborted by us", _is_abort),
    ("ended behind half a message", _is_half),
    ("ended with our FIN alone", _says_nothing_at_the_end),
)


def left_unfinished(connections: Mapping[Example, int]) -> tuple[Left, ...]:
    """What connections left unfinished, that first which servers forget most often.

    ``connections`` says how many did what. Each counts once, for the first way that it is.
    """
    ways: dict[str, Counter[Example]] = {}
    for example, number in connections.items():
        what = next((what for what, is_it in _WAYS if is_it(example)), None)
        if what is not None:
            ways.setdefault(what, Counter())[replace(example, together=1, beside=None)] += number
    names = [what for what, _ in _WAYS if what in ways]
    return tuple(Left(what, ways[what].total(), ways[what].most_common(1)[0][0]) for what in names)


_USED_UP = (
    "the server takes connections and answers no handshake any more, as one whose workers or slots"
    " are used up; it did not come back, so that which close does it could not be tried. Before it,"
)


def used_up(left: tuple[Left, ...]) -> Violation:
    """A server that is used up, by what nobody can try any more; what was left unfinished."""
    text = "; ".join(one.text for one in left)
    return Violation("next-connection", "INTEROP-PATH", f"{_USED_UP} {text}")


FLOODED = Violation(
    "next-connection",
    "INTEROP-PATH",
    "afterwards, the server answered no connection any more and did not come back: just before it"
    " had answered one, and nothing but these came in between",
)
"""The same where it is known what did it."""
