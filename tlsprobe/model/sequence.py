"""A close sequence: what our side does to a connection, as a value that prints and hashes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Verb(StrEnum):
    """What a step can do, in the words of the sequence language."""

    CONNECT = "connect"
    HELLO = "hello"
    REQUEST = "request"
    SEND = "send"
    TERMINATE = "terminate"
    CLOSE_NOTIFY = "close_notify"
    FIN = "fin"
    CLOSE = "close"
    ABORT = "abort"
    SLEEP = "sleep"
    PAUSE = "pause"
    AWAIT = "await"
    DRAIN = "drain"
    ANSWER = "answer"
    MEET = "meet"


WRITES = frozenset({Verb.HELLO, Verb.SEND, Verb.TERMINATE, Verb.CLOSE_NOTIFY})
"""Verbs that put bytes on the wire and do not wait for anything."""

RACES = frozenset({Verb.ANSWER, Verb.MEET})
"""Verbs that have to be on time to the microsecond; they watch the socket without yielding."""

ENDS = frozenset({Verb.FIN, Verb.CLOSE, Verb.ABORT})
"""Verbs that end our half of the TCP connection; nothing can be written after one."""


class Form(StrEnum):
    """A variant of what a step sends, written behind the verb.

    PART is the first half of it; CUT a TLS record of which only the first half is ever sent;
    SPLIT the whole in two segments; LARGE a request for a large response; UPLOAD a request with
    a large body that the server is expected to refuse.
    """

    WHOLE = ""
    PART = "part"
    CUT = "cut"
    SPLIT = "split"
    LARGE = "large"
    UPLOAD = "upload"


FORMS = {
    Verb.HELLO: (Form.PART,),
    Verb.REQUEST: (Form.LARGE,),
    Verb.SEND: (Form.PART, Form.CUT, Form.LARGE, Form.UPLOAD),
    Verb.CLOSE_NOTIFY: (Form.SPLIT,),
}
"""Which verbs come in which forms, besides the whole one."""


class Awaited(StrEnum):
    """What ``await`` can wait for. Every wait also ends when the connection does."""

    FLIGHT = "flight"
    RESPONSE = "response"
    DATA = "data"
    CLOSE_NOTIFY = "close_notify"
    FIN = "fin"
    END = "end"


class Limit(StrEnum):
    """A wait whose length is the run's to say, not the sequence's."""

    PATIENCE = "patience"
    IDLE = "idle"


Wait = float | Limit
"""How long a step may take: seconds, or one of the run's limits."""


@dataclass(frozen=True, slots=True)
class Step:
    """One verb with its operand.

    ``send`` carries ``payload`` (bytes), or None for the protocol's own request; ``await``
    carries ``event``; ``sleep``, ``pause``, ``await``, ``drain`` and ``answer`` carry ``wait``,
    ``meet`` its distance from the expected expiry in seconds (None: swept by trial).
    """

    verb: Verb
    payload: bytes | None = None
    event: Awaited | None = None
    wait: Wait = Limit.PATIENCE
    form: Form = Form.WHOLE
    offset: float | None = None


Group = tuple[Step, ...]
"""Steps written with ``+``: one TCP segment, as far as the kernel lets us ask for it."""


@dataclass(frozen=True, slots=True)
class Sequence:
    """A named list of groups. The name identifies, the groups decide what happens."""

    name: str
    groups: tuple[Group, ...]

    @property
    def steps(self) -> tuple[Step, ...]:
        """All steps in order, the grouping flattened away."""
        return tuple(step for group in self.groups for step in group)

    def uses(self, verb: Verb) -> bool:
        """Whether any step has this verb."""
        return any(step.verb is verb for step in self.steps)

    @property
    def is_idle(self) -> bool:
        """Whether some step waits for the server's idle timeout."""
        return any(step.wait is Limit.IDLE for step in self.steps)

    @property
    def is_race(self) -> bool:
        """Whether some step races the server's idle expiry."""
        return any(step.verb in RACES for step in self.steps)

    @property
    def is_handshake(self) -> bool:
        """Whether the sequence takes the handshake into its own hands."""
        return bool(self.groups) and self.groups[0][0].verb is Verb.CONNECT
