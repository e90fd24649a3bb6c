"""Protocols of lines, described by a profile alone: SMTP, IMAP, POP3, FTP, Redis, NATS and others.

A profile holds a script: what we say in plain text before TLS, what inside it until the server
would take a request, the request, the goodbye. The unit of an answer is the line. Whole lines are
collected until the pattern of the exchange is found in them, and the line in which it is found is
the last. A continuation, such as SMTP's ``250-``, is a line that does not match. How the bytes
were cut into segments and records therefore never matters.
"""

from __future__ import annotations

import re
import unicodedata
from base64 import b64encode
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from typing import Annotated

from tlsprobe.errors import UsageError
from tlsprobe.keys import (
    Key,
    Keys,
    a_flag,
    a_login,
    a_pattern_of_lines,
    a_text,
    checked,
)
from tlsprobe.model.profile import ProtocolSettings
from tlsprobe.model.target import Login
from tlsprobe.protocols.conversation import Conversation, Phase, escaped
from tlsprobe.protocols.differing import OWN, on_each
from tlsprobe.protocols.protocol import Protocol
from tlsprobe.spelling import as_given

LONGEST = 64 * 1024
"""The longest answer that is waited for, in bytes."""

MOST_LINES = 1000
"""The most lines that an answer may have: the pattern is searched again with each of them."""

_GIVE = {
    "user": "give one with --user NAME",
    "password": "put it into an environment variable and name that with --password-env VAR",
    "database": "give one with --database NAME",
}
_WHO = frozenset({"user", "password"})
_WRONG_LOGIN = "check --user, and the variable that --password-env names"
_WRONG_PROFILE = "is it the right port? --profile names the protocol that the server speaks"


PLACEHOLDER = re.compile(r'"\{(?P<quoted>[a-z]+)\}"|\{(?P<bare>[a-z]+)\}')
"""Where a value goes in what a chat sends: a name in braces, alone or between double quotes."""

PLACEHOLDERS = ("user", "password", "database", "host", "plain", *OWN)
"""The names that PLACEHOLDER may have."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """One turn of a chat: what we say, and how we know that it was answered.

    ``send`` is a line without its end, None to speak only when spoken to. PLACEHOLDERS in it are
    filled in: ``user``, ``password`` and ``database`` from the command line or the chat's
    defaults, ``host`` as a URL would name it, ``plain``, user and password in SASL's PLAIN
    mechanism (RFC 4616) in base64, and OWN, which differ on each connection. A value between
    double quotes has quotes and backslashes in it escaped, as IMAP, JSON and Redis want them; no
    value may hold a control character.

    In the patterns one character is one byte. They are searched in the whole lines of the answer,
    where ``^`` begins any line; the answer ends with the line in which one is found. ``expect``
    None: no answer is owed. ``refused`` is an answer that ends the conversation, shown to the user
    with ``hint``. ``optional`` leaves the exchange out where the command line gives none of its
    values; user and password count as one.
    """

    send: str | None = None
    expect: re.Pattern[bytes] | None = None
    refused: re.Pattern[bytes] | None = None
    hint: str | None = None
    optional: bool = False

    @property
    def placeholders(self) -> tuple[str, ...]:
        """The names in braces, in order, known or not."""
        found = PLACEHOLDER.finditer(self.send or "")
        return tuple(match["quoted"] or match["bare"] for match in found)


def a_line(value: object) -> str:
    """A line of a chat, whose placeholders are known."""
    line = a_text(value)
    if line.endswith(("\r", "\n")):
        raise ValueError("leave out the line end; it is added to every line that is sent")
    _known(Exchange(line).placeholders)
    return line


def _known(placeholders: tuple[str, ...]) -> None:
    for name in placeholders:
        if name not in PLACEHOLDERS:
            names = ", ".join(f"{{{known}}}" for known in PLACEHOLDERS)
            raise ValueError(f"there is no {{{name}}}; write one of {names}")


_EXCHANGE: Keys = {
    "send": Key(a_line),
    "expect": Key(a_pattern_of_lines),
    "refused": Key(a_pattern_of_lines),
    "hint": Key(a_text),
}
_OPENING: Keys = {**_EXCHANGE, "optional": Key(a_flag)}
_ASKING: Keys = {**_EXCHANGE, "send": Key(a_line, required=True)}


def some_exchanges(value: object, path: str, mistakes: list[str]) -> tuple[Exchange, ...]:
    """A list of tables, an exchange each."""
    if not isinstance(value, list):
        mistakes.append(f"{path}: write a list of tables, each with a line [[{path}]]")
        return ()
    return tuple(
        _exchange(table, _OPENING, f"{path}[{number}]", mistakes)
        for number, table in enumerate(value)
    )


def an_exchange(value: object, path: str, mistakes: list[str]) -> Exchange:
    """A table that asks for something."""
    return _exchange(value, _ASKING, path, mistakes)


def _exchange(value: object, keys: Keys, path: str, mistakes: list[str]) -> Exchange:
    before = len(mistakes)
    exchange = Exchange(**checked(value, keys, path, mistakes))
    if len(mistakes) == before:
        mistakes += (f"{path}{mistake}" for mistake in _senseless(exchange))
    return exchange


def _senseless(exchange: Exchange) -> Iterator[str]:
    """What no exchange can mean, though each of its keys is well written."""
    if exchange.send is None and exchange.expect is None:
        yield ": says nothing and waits for nothing; write send, expect or both"
    elif exchange.expect is None and exchange.refused:
        yield ".refused: no answer is waited for; write expect, or remove it"
    if exchange.optional and not set(exchange.placeholders) - {"host", *OWN}:
        yield ".optional: send holds nothing that a user could leave out; remove it"


@dataclass(frozen=True, slots=True)
class ChatSettings(ProtocolSettings):
    """The ``[protocol]`` table: a script. ``request`` and ``goodbye`` may be said at any time."""

    plain: Annotated[
        tuple[Exchange, ...],
        Key(inside=some_exchanges, help="what is said before TLS; default: TLS from the start"),
    ] = ()
    greeting: Annotated[
        tuple[Exchange, ...],
        Key(
            inside=some_exchanges,
            help="what is said inside TLS until the server would take a request",
        ),
    ] = ()
    request: Annotated[Exchange, Key(inside=an_exchange, help="the request", required=True)] = (
        Exchange()
    )
    goodbye: Annotated[Exchange | None, Key(inside=an_exchange, help="how a session is ended")] = (
        None
    )
    refused: Annotated[
        re.Pattern[bytes] | None,
        Key(a_pattern_of_lines, "the refusal of each exchange that names none of its own"),
    ] = None
    defaults: Annotated[
        Login, Key(inside=a_login, help="who logs in, where the command line does not say")
    ] = field(default_factory=Login)


@dataclass(frozen=True, slots=True)
class Line:
    """An exchange ready for the wire.

    ``said`` names it in a message: as the profile has it, without the secrets that ``send`` holds.
    ``is_greeting``: the server speaks first, and says what it is.
    """

    said: str
    send: bytes = field(repr=False)
    expect: re.Pattern[bytes] | None
    refused: re.Pattern[bytes] | None
    hint: str | None
    is_greeting: bool


@dataclass(frozen=True, slots=True)
class Script:
    """Everything that is the same on each connection, written once."""

    plain: tuple[Line, ...]
    greeting: tuple[Line, ...]
    request: Line
    goodbye: Line | None


class Chat(Conversation):
    """One run through a script. Lines that nothing waits for are ignored.

    ``answer`` is the newest answer that became whole.
    """

    def __init__(self, script: Script) -> None:
        super().__init__()
        self._script = script
        self._unsaid = deque(script.plain)
        self._awaited: deque[Line] = deque()
        self.answer = b""
        self._answer = bytearray()
        self._lines = 0
        self._unfinished = bytearray()
        if script.plain:
            self.phase = Phase.PLAIN

    def open(self) -> bytes:
        """The first words before TLS; none where the server speaks first."""
        return self._talk() if self.phase is Phase.PLAIN else b""

    def secured(self) -> bytes:
        """The first words inside TLS; none where the server speaks first, or nothing is said."""
        self.phase = Phase.GREETING
        self._unsaid = deque(self._script.greeting)
        return self._talk() + self.feed(b"")

    def feed(self, data: bytes) -> bytes:
        """Read whole lines; what is returned is the next turn of the opening exchange."""
        self._unfinished += data
        if self.phase is Phase.SECURE:
            # A server that speaks first does so in the segment that ends its TLS 1.2 handshake.
            return b""
        *lines, rest = bytes(self._unfinished).split(b"\n")
        self._unfinished[:] = rest
        words = b"".join([self._hear(line + b"\n") for line in lines])
        self._hear_unfinished()
        self.partial = self.phase is Phase.OWED and bool(self._answer or self._unfinished)
        return words

    def request(self) -> bytes:
        """The profile's request."""
        return self._ask(self._script.request)

    def goodbye(self) -> bytes | None:
        """The profile's goodbye; it may be one that owes an answer."""
        return None if self._script.goodbye is None else self._ask(self._script.goodbye)

    def withdraw(self) -> None:
        """The newest line did not leave whole: its answer is not waited for."""
        super().withdraw()
        self._awaited.pop()

    def ended(self) -> None:
        """Too early for a request is a failure; the message shows what came."""
        if self.phase in {Phase.PLAIN, Phase.GREETING} and self._awaited:
            awaited = self._awaited[0]
            so_far = f"; it said: {self.so_far}" if self.so_far else ""
            self.fail(
                f"the server closed before its answer to {awaited.said} was whole{so_far}",
                awaited.hint or _WRONG_PROFILE,
            )

    @property
    def so_far(self) -> str:
        """Lines in which the answer was not recognised."""
        return escaped((self._answer + self._unfinished).strip())

    def _talk(self) -> bytes:
        """All that can be said before the next answer; behind the last one the phase is over."""
        words = b""
        while self._unsaid:
            line = self._unsaid.popleft()
            words += line.send
            if line.expect is not None:
                self._awaited.append(line)
                return words
        self.phase = Phase.SECURE if self.phase is Phase.PLAIN else Phase.READY
        return words

    def _ask(self, line: Line) -> bytes:
        if line.expect is not None:
            self._awaited.append(line)
            self.owe()
        return line.send

    def _hear(self, line: bytes) -> bytes:
        if self.phase is Phase.SECURE:
            self.went_on_in_plain(line, _WRONG_PROFILE)
        if self.phase is Phase.FAILED or not self._awaited:
            return b""
        self._answer += line
        self._lines += 1
        awaited = self._awaited[0]
        if awaited.expect is not None and awaited.expect.search(self._answer):
            return self._answered()
        if awaited.refused is not None and (found := awaited.refused.search(self._answer)):
            words = escaped(self._answer[found.start() :].strip())
            self.fail(f"the server refused {awaited.said}: {words}", awaited.hint)
        elif self._lines >= MOST_LINES or len(self._answer) > LONGEST:
            self._too_long(awaited)
        return b""

    def _answered(self) -> bytes:
        answered = self._awaited.popleft()
        if answered.is_greeting:
            self.named(b" ".join(self._answer.split()))
        self.answer = bytes(self._answer)
        self._answer.clear()
        self._lines = 0
        if self.phase is not Phase.OWED:
            return self._talk()
        self.settle()
        return b""

    def _hear_unfinished(self) -> None:
        if self.phase is Phase.SECURE and self._unfinished:
            self.went_on_in_plain(self._unfinished, _WRONG_PROFILE)
        if len(self._unfinished) > LONGEST:
            del self._unfinished[:-LONGEST]
            if self._awaited:
                self._too_long(self._awaited[0])

    def _too_long(self, awaited: Line) -> None:
        self.fail(
            f"the server's answer to {awaited.said} goes on for more than {LONGEST} bytes or "
            f"{MOST_LINES} lines: {escaped(self._answer or self._unfinished)}",
            "choose a request with a small answer, or correct its expect in the profile",
        )


def chat(settings: ChatSettings, host: str, login: Login) -> Callable[[], Chat]:
    """Conversations by this script, with this login.

    Raises UsageError for a value that the script needs and nobody gave, or that no line can hold.
    """
    known = _values(settings.defaults, login, host)

    def script(own: dict[str, str]) -> Script:
        return _script(settings, login, known | own)

    if not any(name in OWN for one in _exchanges(settings) for name in one.placeholders):
        written = script({})
        return lambda: Chat(written)
    differing = on_each(script)
    return lambda: Chat(differing())


def _exchanges(settings: ChatSettings) -> Iterator[Exchange]:
    yield from (*settings.plain, *settings.greeting, settings.request)
    if settings.goodbye is not None:
        yield settings.goodbye


def _script(settings: ChatSettings, login: Login, values: dict[str, str]) -> Script:
    def lines(exchanges: tuple[Exchange, ...]) -> tuple[Line, ...]:
        return tuple(line(one) for one in exchanges if _wanted(one, login))

    def line(exchange: Exchange) -> Line:
        return Line(
            said="the connection" if exchange.send is None else repr(exchange.send),
            send=b"" if exchange.send is None else _filled(exchange.send, values) + b"\r\n",
            expect=exchange.expect,
            refused=exchange.refused or settings.refused,
            hint=exchange.hint or (_WRONG_LOGIN if _needs(exchange) else None),
            is_greeting=exchange.send is None,
        )

    return Script(
        plain=lines(settings.plain),
        greeting=lines(settings.greeting),
        request=line(settings.request),
        goodbye=None if settings.goodbye is None else line(settings.goodbye),
    )


def _values(defaults: Login, login: Login, host: str) -> dict[str, str]:
    """What there is to fill in, by the names of the placeholders."""
    values = {"host": host}
    for name in (part.name for part in fields(Login)):
        given, default = getattr(login, name), getattr(defaults, name)
        if given is not None or default is not None:
            values[name] = given if given is not None else default
    return values


def _needs(exchange: Exchange) -> set[str]:
    """Which parts of a login the exchange holds."""
    names = set(exchange.placeholders)
    return (names | _WHO if "plain" in names else names) - {"host", "plain", *OWN}


def _wanted(exchange: Exchange, login: Login) -> bool:
    needs = _needs(exchange)
    if needs & _WHO:
        needs |= _WHO  # half a login is a mistake to report, not one to leave out
    given = any(getattr(login, name) is not None for name in needs)
    return given or not exchange.optional


def _filled(send: str, values: dict[str, str]) -> bytes:
    def fill(match: re.Match[str]) -> str:
        name = match["quoted"] or match["bare"]
        value = _plain(send, values) if name == "plain" else _value(name, send, values)
        return _quoted(value) if match["quoted"] else value

    return as_given(PLACEHOLDER.sub(fill, send))


def _value(name: str, send: str, values: dict[str, str]) -> str:
    value = values.get(name)
    if value is None:
        raise UsageError(f"{send!r} in the profile needs a {name}", _GIVE[name])
    if any(unicodedata.category(character) == "Cc" for character in value):
        raise UsageError(f"the {name} for {send!r} holds a control character", "leave it out")
    return value


def _plain(send: str, values: dict[str, str]) -> str:
    """SASL's PLAIN (RFC 4616): authorised as, authenticated as, password, between zero bytes."""
    user, password = _value("user", send, values), _value("password", send, values)
    return b64encode(as_given(f"\0{user}\0{password}")).decode()


def _quoted(value: str) -> str:
    return '"' + re.sub(r'(["\\])', r"\\\1", value) + '"'


CHAT = Protocol(
    "chat",
    "a protocol of lines, described by the profile",
    ChatSettings,
    lambda settings, peer: chat(settings, peer.host, peer.login),
    has_goodbye=lambda settings: settings.goodbye is not None,
    named_by_profile=True,
)
