"""Any protocol in which fixed bytes draw a recognisable answer, described by a profile alone."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Annotated

from tlsprobe.keys import Key, Keys, a_pattern, checked, some_bytes
from tlsprobe.model.profile import ProtocolSettings
from tlsprobe.protocols.conversation import Conversation, Phase, escaped
from tlsprobe.protocols.differing import OWN, on_each
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
class Turn:
    """One turn before TLS: what we say, and the answer to wait for; None: none is owed."""

    send: bytes = b""
    expect: re.Pattern[bytes] | None = None


_TURN: Keys = {"send": Key(some_bytes), "expect": Key(an_answer)}


def some_turns(value: object, path: str, mistakes: list[str]) -> tuple[Turn, ...]:
    """A list of tables, a turn each."""
    if not isinstance(value, list):
        mistakes.append(f"{path}: write a list of tables, each with a line [[{path}]]")
        return ()
    turns = []
    for number, table in enumerate(value):
        turn = Turn(**checked(table, _TURN, f"{path}[{number}]", mistakes))
        if isinstance(table, dict) and not turn.send and turn.expect is None:
            mistakes.append(f"{path}[{number}]: says nothing and waits for nothing")
        turns.append(turn)
    return tuple(turns)


@dataclass(frozen=True, slots=True)
class RawSettings(ProtocolSettings):
    r"""The ``[protocol]`` table.

    In TOML one character is one byte (``\u00ff`` is byte 255), ``.`` in a pattern matches a newline
    too, and an answer of ``true`` is ANYTHING. OWN in braces, in what is sent, differ on each
    connection.
    """

    plain: Annotated[
        tuple[Turn, ...],
        Key(
            inside=some_turns,
            help="what is said before TLS: tables of send and expect; default: TLS from the start",
        ),
    ] = ()

    opening: Annotated[
        bytes,
        Key(some_bytes, "what is said inside TLS before all else, as a stream's header is"),
    ] = b""
    request: Annotated[bytes, Key(some_bytes, "what is asked; default: nothing")] = b""
    large: Annotated[
        bytes | None,
        Key(some_bytes, "what is asked for a response of 1 MiB or more, recognised like any other"),
    ] = None
    guarded: Annotated[
        bytes | None,
        Key(some_bytes, "what makes the server ask for a certificate, after the handshake"),
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
        self._unsaid = deque(settings.plain)
        self._arrived = bytearray()
        if settings.plain:
            self.phase = Phase.PLAIN
        self._awaited: deque[re.Pattern[bytes]] = deque()

    def open(self) -> bytes:
        """What is said before TLS, up to the first answer that is waited for."""
        words = b""
        while self._unsaid:
            words += self._unsaid[0].send
            if self._unsaid[0].expect is not None:
                return words
            self._unsaid.popleft()
        self.phase = Phase.SECURE
        return words

    def secured(self) -> bytes:
        """The profile's first words; GREETING only where it has a greeting to wait for."""
        self.phase = Phase.GREETING if self._settings.greeting else Phase.READY
        if self.phase is Phase.GREETING:
            self._greeted(b"")  # it may have come in one read with the server's Finished
        return self._settings.opening

    def feed(self, data: bytes) -> bytes:
        """Look for the greeting, then for the answers. Inside TLS nothing is said in return."""
        if self.phase is Phase.PLAIN:
            return self._agreed(data)
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
        return self._ask_if_any(self._settings.large)

    def guarded(self) -> bytes | None:
        """The profile's request that needs a certificate, recognised like any other."""
        return self._ask_if_any(self._settings.guarded)

    def _ask_if_any(self, words: bytes | None) -> bytes | None:
        return None if words is None else self._ask(words, self._settings.response)

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
        """Too early for TLS or a greeting is a failure; a response cut short stays one."""
        if self.phase is Phase.PLAIN:
            said = f"; it said: {self.so_far}" if self._arrived else ""
            self.fail(f"the server closed the connection before TLS could be started{said}")
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

    def _agreed(self, data: bytes) -> bytes:
        """Look for the answer to the turn; behind the last one TLS begins, and nothing else."""
        self._keep(data)
        expect = self._unsaid[0].expect
        found = expect.search(self._arrived) if expect is not None else None
        if found is None:
            return b""
        self._unsaid.popleft()
        del self._arrived[: found.end()]
        words = self.open()
        if self._arrived and self.phase is Phase.SECURE:
            self.went_on_in_plain(self._arrived)
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
    said = *(turn.send for turn in settings.plain), *_said_inside(settings)
    if not any(mark in words for words in said if words for mark in _MARKS.values()):
        return lambda: Raw(settings)
    differing = on_each(lambda own: _filled(settings, own))
    return lambda: Raw(differing())


_MARKS = {name: f"{{{name}}}".encode() for name in OWN}


def _said_inside(settings: RawSettings) -> tuple[bytes | None, ...]:
    asked = settings.request, settings.large, settings.guarded
    return settings.opening, *asked, settings.goodbye


def _filled(settings: RawSettings, own: dict[str, str]) -> RawSettings:
    """The settings with this connection's own values in everything that is sent."""

    def fill(words: bytes) -> bytes:
        for name, mark in _MARKS.items():
            words = words.replace(mark, own[name].encode())
        return words

    return replace(
        settings,
        plain=tuple(replace(turn, send=fill(turn.send)) for turn in settings.plain),
        opening=fill(settings.opening),
        request=fill(settings.request),
        large=settings.large and fill(settings.large),
        guarded=settings.guarded and fill(settings.guarded),
        goodbye=settings.goodbye and fill(settings.goodbye),
    )


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
