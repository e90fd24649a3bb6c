"""A close sequence: what our side does to a connection, as a value that prints and hashes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from tlsprobe.model.verbs import (
    ENDS,
    FORM_TLS,
    RACES,
    RETURNS,
    SHAPES,
    SPEAKS,
    Act,
    Form,
    Treatment,
    Verb,
)


class Awaited(StrEnum):
    """What ``await`` can wait for. Every wait also ends when the connection does."""

    FLIGHT = "flight"
    RESPONSE = "response"
    DATA = "data"
    CLOSE_NOTIFY = "close_notify"
    FIN = "fin"
    END = "end"


class Signal(StrEnum):
    """What ``signal`` can tell the server's process.

    STOP, GRACEFUL and RELOAD are whatever signal its profile names for that: stop at once, answer
    what is under way and stop, take new settings and go on. The others are signals by name, of
    which nobody knows what they mean to this server.
    """

    STOP = "stop"
    GRACEFUL = "graceful"
    RELOAD = "reload"
    TERM = "TERM"
    INT = "INT"
    QUIT = "QUIT"
    HUP = "HUP"
    USR1 = "USR1"
    USR2 = "USR2"
    WINCH = "WINCH"


MEANINGS = (Signal.STOP, Signal.GRACEFUL, Signal.RELOAD)
"""What a profile names a signal for."""


class Limit(StrEnum):
    """A wait whose length is the run's to say, not the sequence's."""

    PATIENCE = "patience"
    IDLE = "idle"


class ConnectionLimit(StrEnum):
    """A limit that a server sets to one connection, however well it is used."""

    REQUESTS = "requests"
    AGE = "age"
    STALL = "stall"


Wait = float | Limit
"""How long a step may take: seconds, or one of the run's limits."""


@dataclass(frozen=True, slots=True)
class Step:
    """One verb with its operand.

    The verb's operand says which field it carries: BYTES ``payload`` (None: the protocol's own
    request), EVENT ``event`` and ``wait``, ALERT ``alert`` (level and description; None: a
    close_notify at the level warning), DISTANCE ``offset``, the seconds from the expected
    expiry (None: swept by trial), WINDOW ``is_open``, AHEAD ``ahead``, bytes behind what the server
    expects next, SIGNAL ``signal``, the others of time ``wait``. ``treatment`` is what the path
    does to its bytes, so many times or into so many bytes (``count``).
    """

    verb: Verb
    payload: bytes | None = None
    event: Awaited | None = None
    wait: Wait = Limit.PATIENCE
    form: Form = Form.WHOLE
    offset: float | None = None
    alert: tuple[int, int] | None = None
    treatment: Treatment | None = None
    count: int = 1
    is_open: bool = False
    ahead: int = 0
    signal: Signal | None = None

    @property
    def is_shaped(self) -> bool:
        """Whether it needs a shaper in the path."""
        return self.treatment is not None or self.verb in SHAPES

    def fits(self, tls: str) -> bool:
        """Whether that TLS version has it."""
        return FORM_TLS.get(self.form, self.verb.row.tls) in {"", tls}

    @property
    def label(self) -> str:
        """The verb and its form, without the operand."""
        return f"{self.verb} {self.form}".rstrip()


_TAKES_ANOTHER = frozenset({Act.RESUMES, Act.RETURNS, Act.ASKS_EARLY})
"""What opens a connection more, which is not judged."""

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
    def aborts(self) -> bool:
        """Whether some step has our side send an RST on purpose."""
        return any(s.verb.row.act is Act.ABORTS or s.verb is Verb.RESET for s in self.steps)

    @property
    def is_shaped(self) -> bool:
        """Whether it needs a shaper in the path."""
        return any(step.is_shaped for step in self.steps)

    @property
    def signals(self) -> tuple[Signal, ...]:
        """What it tells the server's process."""
        return tuple(step.signal for step in self.steps if step.signal is not None)

    @property
    def is_idle(self) -> bool:
        """Whether some step waits for the server's idle timeout."""
        return any(step.wait is Limit.IDLE for step in self.steps)

    @property
    def connection_limit(self) -> ConnectionLimit | None:
        """Which limit it uses a connection up to: one on age where it pauses between requests."""
        for step in self.steps:
            if step.verb is Verb.EXHAUST:
                pauses = isinstance(step.wait, float)
                return ConnectionLimit.AGE if pauses else ConnectionLimit.REQUESTS
            if step.verb is Verb.STALL:
                return ConnectionLimit.STALL
        return None

    @property
    def ends_while_asking(self) -> bool:
        """Whether our side ends its direction behind a request and does not wait in between."""
        asks = False
        for step in self.steps:
            match step.verb.row.act:
                case Act.ASKS | Act.WAITS:
                    asks = False
                case Act.WRITES:
                    asks = True
                case Act.ANNOUNCES if step.verb is Verb.TERMINATE:
                    asks = True
                case Act.ANNOUNCES | Act.HALF_CLOSES | Act.CLOSES if asks:
                    return True
                case _:
                    pass
        return False

    @property
    def acts_after_idle(self) -> bool:
        """Whether it sends something once the server's idle timeout has been waited for."""
        idle = (at for at, step in enumerate(self.steps) if step.wait is Limit.IDLE)
        waited = next(idle, len(self.steps))
        return any(step.verb in SPEAKS | ENDS for step in self.steps[waited + 1 :])

    @property
    def uploads(self) -> bool:
        """Whether it sends a body that the server is expected to refuse."""
        return any(step.form is Form.UPLOAD for step in self.steps)

    @property
    def is_race(self) -> bool:
        """Whether some step races the server's idle expiry."""
        return any(step.verb in RACES for step in self.steps)

    def fits(self, tls: str) -> bool:
        """Whether that TLS version has everything that it does."""
        return all(step.fits(tls) for step in self.steps)

    @property
    def connections(self) -> int:
        """How many connections a trial of it opens."""
        return 1 + sum(step.verb.row.act in _TAKES_ANOTHER for step in self.steps)

    @property
    def comes_back(self) -> bool:
        """Whether it begins with a session that an earlier connection has to fetch."""
        return any(step.verb in RETURNS for step in self.steps)

    @property
    def is_handshake(self) -> bool:
        """Whether the sequence takes the handshake into its own hands."""
        return bool(self.groups) and self.groups[0][0].verb is Verb.CONNECT
