"""Who closes a connection as a sequence does, in the protocol at hand.

The catalogue says it for protocols in general. In HTTP the goodbye is a request (``Connection:
close``), so that what is common behind another protocol's goodbye ends the connection before the
response is there.
"""

from __future__ import annotations

from typing import NamedTuple

from tlsprobe.catalogue import Entry
from tlsprobe.model.behaviour import Who
from tlsprobe.model.protocols import HTTP
from tlsprobe.model.verbs import Verb

_CLIENTS = frozenset({Who.MOST, Who.SOME})
_ENDS = frozenset({Verb.CLOSE_NOTIFY, Verb.FIN})


class Closer(NamedTuple):
    """Who closes like that, and one of them; no example where somebody wrote the sequence."""

    who: Who
    example: str = ""


BELOW_TLS = Closer(Who.BROKEN, "a client that half-closes TCP below TLS")
WITH_STREAMS_OPEN = Closer(
    Who.BROKEN,
    "a client that ends a connection with its streams open; HTTP/2 half-closes streams alone",
)
HURRIED = Closer(Who.SOME, "a script that sends its request and ends TLS before the response")


def closer_of(entry: Entry | None, protocol: str) -> Closer:
    """Who closes like a named sequence; one that somebody wrote is as some client does."""
    if entry is None:
        return Closer(Who.SOME)
    usual = Closer(entry.who, entry.example)
    if protocol not in HTTP or entry.who not in _CLIENTS:
        return usual
    if protocol == "http2" and _ends_behind(Verb.SEND, entry):
        return WITH_STREAMS_OPEN
    match _ends_behind(Verb.TERMINATE, entry):
        case Verb.FIN:
            return BELOW_TLS
        case Verb.CLOSE_NOTIFY if entry.who is Who.MOST:
            return HURRIED
        case _:
            return usual


def _ends_behind(asks: Verb, entry: Entry) -> Verb | None:
    """With what the client ends its side behind a request, if it does so without an answer."""
    verbs = [step.verb for step in entry.sequence.steps]
    if asks not in verbs:
        return None
    behind = verbs[verbs.index(asks) + 1 :]
    first = next((verb for verb in behind if verb in _ENDS | {Verb.AWAIT}), None)
    return first if first in _ENDS else None
