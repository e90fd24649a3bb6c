"""A close sequence: what our side does to a connection, as a value that prints and hashes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Verb(StrEnum):
    """What a step can do, in the words of the sequence language."""

    REQUEST = "request"
    SEND = "send"
    TERMINATE = "terminate"
    CLOSE_NOTIFY = "close_notify"
    FIN = "fin"
    CLOSE = "close"
    ABORT = "abort"
    SLEEP = "sleep"
    AWAIT = "await"
    DRAIN = "drain"


WRITES = frozenset({Verb.SEND, Verb.TERMINATE, Verb.CLOSE_NOTIFY})
"""Verbs that put TLS records on the wire and do not wait for anything."""

ENDS = frozenset({Verb.FIN, Verb.CLOSE, Verb.ABORT})
"""Verbs that end our half of the TCP connection; nothing can be written after one."""


class Awaited(StrEnum):
    """What ``await`` can wait for. Every wait also ends when the connection does."""

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
    carries ``event``; ``sleep``, ``await`` and ``drain`` carry ``wait``.
    """

    verb: Verb
    payload: bytes | None = None
    event: Awaited | None = None
    wait: Wait = Limit.PATIENCE


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
