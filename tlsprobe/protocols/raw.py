"""Any protocol in which fixed bytes draw a recognisable answer, described by a profile alone."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated

from tlsprobe.keys import Key, a_pattern, some_bytes
from tlsprobe.model.profile import ProtocolSettings
from tlsprobe.protocols.conversation import Conversation, Phase, escaped
from tlsprobe.protocols.protocol import Protocol

KEPT = 64 * 1024
"""How many of the newest unrecognised bytes a pattern is searched in."""


ANYTHING = re.compile(rb".+", re.DOTALL)
"""The pattern of a response about which only this is known: something arrives."""


def an_answer(value: object) -> re.Pattern[bytes] | None:
    """A pattern, or whether anything at all is answered."""
    if isinstance(value, bool):
        return ANYTHING if value else None
    return a_pattern(value)


@dataclass(frozen=True, slots=True)
class RawSettings(ProtocolSettings):
    r"""The ``[protocol]`` table.

    In TOML one character is one byte (``\u00ff`` is byte 255), ``.`` in a pattern matches a newline
    too, and an answer of ``true`` is ANYTHING.
    """

    opening: Annotated[
        bytes,
        Key(some_bytes, "what is said inside TLS before all else, as a stream's header is"),
    ] = b""
    request: Annotated[bytes, Key(some_bytes, "what is asked; default: nothing")] = b""
    large: Annotated[
        bytes | None,
        Key(some_bytes, "what is asked for a response of 1 MiB or more, recognised like any other"),
    ] = None
    response: Annotated[
        re.Pattern[bytes] | None,
        Key(an_answer, "a pattern of the answer, or true for any; default: none is owed"),
    ] = None
    greeting: Annotated[
        re.Pattern[bytes] | None,
        Key(a_pattern, "a pattern of the server's first words; default: the client speaks first"),
    ] = None
    goodbye: Annotated[
        bytes | None, Key(some_bytes, "how a session is ended; default: it has no way")
    ] = None
    goodbye_response: Annotated[
        re.Pattern[bytes] | None,
        Key(an_answer, "a pattern of the answer to the goodbye, or true for any; default: none"),
    ] = None


class Raw(Conversation):
    """Bytes out, a pattern in; what arrives unasked is ignored.

    Answers are recognised in the order of their requests, each in what the one before left over.
    """

    def __init__(self, settings: RawSettings) -> None:
        super().__init__()
        self._settings = settings
        self._arrived = bytearray()
        self._awaited: deque[re.Pattern[bytes]] = deque()

    def secured(self) -> bytes:
        """The profile's first words; GREETING only where it has a greeting to wait for."""
        self.phase = Phase.GREETING if self._settings.greeting else Phase.READY
        if self.phase is Phase.GREETING:
            self._greeted(b"")  # it may have come in one read with the server's Finished
        return self._settings.opening

    def feed(self, data: bytes) -> bytes:
        """Look for the greeting, then for the answers owed. Nothing is ever sent in return."""
        if self.phase is Phase.SECURE:
            self._keep(data)
        elif self.phase is Phase.GREETING:
            self._greeted(data)
        elif self.phase is Phase.OWED:
            self._answered(data)
        return b""

    def request(self) -> bytes:
        """The profile's request."""
        return self._ask(self._settings.request, self._settings.response)

    def large(self) -> bytes | None:
        """The profile's request for a large response, recognised like any other."""
        if self._settings.large is None:
            return None
        return self._ask(self._settings.large, self._settings.response)

    def goodbye(self) -> bytes | None:
        """The profile's goodbye; it may be one that owes an answer."""
        if self._settings.goodbye is None:
            return None
        return self._ask(self._settings.goodbye, self._settings.goodbye_response)

    def withdraw(self) -> None:
        """Nor is its answer waited for: what another one leaves over is not the beginning of it."""
        if self._awaited:
            self._awaited.pop()
        super().withdraw()

    def ended(self) -> None:
        """Too early for a greeting is a failure; a response cut short stays one."""
        if self.phase is Phase.GREETING:
            self.fail("the server closed the connection before its greeting was whole")

    @property
    def so_far(self) -> str:
        """The newest bytes in which no answer was recognised."""
        return escaped(self._arrived)

    def _ask(self, words: bytes, answer: re.Pattern[bytes] | None) -> bytes:
        if answer is not None:
            self._awaited.append(answer)
            self.owe()
        return words

    def _greeted(self, data: bytes) -> None:
        self._keep(data)
        greeting = self._settings.greeting
        found = greeting.search(self._arrived) if greeting is not None else None
        if greeting is None or found is not None:
            self.named(found[0] if found is not None else b"")
            self._arrived.clear()
            self.phase = Phase.READY

    def _answered(self, data: bytes) -> None:
        self._keep(data)
        while self._awaited and (found := self._awaited[0].search(self._arrived)):
            del self._awaited[0], self._arrived[: found.end()]
            self.settle()
        if not self._awaited:
            self._arrived.clear()
        self.partial = bool(self._arrived)

    def _keep(self, data: bytes) -> None:
        self._arrived += data
        del self._arrived[:-KEPT]


def raw(settings: RawSettings) -> Callable[[], Raw]:
    """Conversations of these settings."""
    return lambda: Raw(settings)


def _senseless(settings: RawSettings) -> Iterator[str]:
    if settings.response and not settings.request:
        yield ".response: nothing asks for it; write request, or remove it"
    if settings.goodbye_response and not settings.goodbye:
        yield ".goodbye_response: nothing asks for it; write goodbye, or remove it"


RAW = Protocol(
    "raw",
    "any protocol in which fixed bytes draw a recognisable answer",
    RawSettings,
    lambda settings, _: raw(settings),
    senseless=_senseless,
    has_goodbye=lambda settings: settings.goodbye is not None,
)
