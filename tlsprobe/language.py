r"""The one-line language for close sequences: text to steps, and back.

    sequence = group *( ";" group )
    group    = step *( "+" step )
    step     = "connect" | "hello" [ "part" ]
             | "request" [ "large" ] | "send" [ string | "part" | "cut" | "large" | "upload" ]
             | "terminate" | "close_notify" [ "split" ] | "fin" | "close" | "abort"
             | "sleep" duration | "pause" duration | "await" event [ wait ] | "drain" [ wait ]
             | "answer" [ wait ] | "meet" [ ( "before" | "after" ) duration ]
    event    = "flight" | "response" | "data" | "close_notify" | "fin" | "end"
    wait     = duration | "idle"
    duration = number ( "us" | "ms" | "s" )
    string   = a Python-style quoted string with \n, \r, \t, \0, \\, \", \xHH

Steps joined by ``+`` leave in one TCP segment. There is a single grammar for the command line,
the catalogue, the fuzzer and every report, and ``parse(str(...))`` gives back the same value.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from decimal import Decimal
from difflib import get_close_matches
from typing import NamedTuple, NoReturn, TypeVar

from tlsprobe.errors import SequenceError
from tlsprobe.model.sequence import (
    ENDS,
    FORMS,
    WRITES,
    Awaited,
    Form,
    Group,
    Limit,
    Sequence,
    Step,
    Verb,
    Wait,
)

_TOKEN = re.compile(
    r"""(?P<space>\s+)
      | (?P<mark>[;+])
      | (?P<string>"(?:[^"\\\n]|\\.)*")
      | (?P<duration>\d+(?:\.\d+)?(?:us|ms|s)\b)
      | (?P<word>[A-Za-z_][A-Za-z_0-9-]*)""",
    re.VERBOSE,
)
_SECONDS = {"us": Decimal("0.000001"), "ms": Decimal("0.001"), "s": Decimal(1)}
_ESCAPES = {"n": b"\n", "r": b"\r", "t": b"\t", "0": b"\0", "\\": b"\\", '"': b'"'}
_PRINTED = {value[0]: f"\\{letter}" for letter, value in _ESCAPES.items() if letter != "0"}

MAX_LENGTH = 100_000
"""Characters a sequence may have; a longer text is a mistake, not a sequence."""


_Word = TypeVar("_Word", Verb, Awaited)


class _Token(NamedTuple):
    kind: str
    text: str
    column: int


def parse(text: str, name: str | None = None) -> Sequence:
    """Read a sequence; ``name`` defaults to the text itself. Raises SequenceError."""
    if len(text) > MAX_LENGTH:
        message = f"a sequence of {len(text)} characters is too long"
        raise SequenceError(message, text[:40], 1, f"at most {MAX_LENGTH}")
    parser = _Parser(text)
    groups = parser.sequence()
    return Sequence(name if name is not None else format_groups(groups), groups)


def format_groups(groups: tuple[Group, ...]) -> str:
    """The text that parses to these groups."""
    return "; ".join(" + ".join(format_step(step) for step in group) for group in groups)


def format_step(step: Step) -> str:
    """One step as text."""
    match step.verb:
        case Verb.SEND if step.payload is not None:
            return f"send {format_bytes(step.payload)}"
        case Verb.SLEEP | Verb.PAUSE as verb:
            return f"{verb} {format_wait(step.wait)}"
        case Verb.AWAIT:
            return f"await {step.event}{_suffix(step.wait)}"
        case Verb.DRAIN | Verb.ANSWER as verb:
            return f"{verb}{_suffix(step.wait)}"
        case Verb.MEET if step.offset is not None:
            side = "before" if step.offset < 0 else "after"
            return f"meet {side} {format_wait(abs(step.offset))}"
        case verb:
            return f"{verb} {step.form}".rstrip()


def format_bytes(payload: bytes) -> str:
    """A quoted string of printable ASCII; everything else is escaped."""
    return f'"{"".join(map(_format_byte, payload))}"'


def format_wait(wait: Wait) -> str:
    """A duration in the unit that keeps it shortest, or the name of a limit."""
    if isinstance(wait, Limit):
        return str(wait)
    seconds = Decimal(repr(wait))
    texts = (f"{_plain(seconds / scale)}{unit}" for unit, scale in _SECONDS.items())
    return min(texts, key=len)


def parse_duration(text: str) -> float:
    """Seconds of ``5ms``, ``1.5s``, ``200us``. Raises ValueError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(us|ms|s)", text)
    seconds = float(Decimal(match[1]) * _SECONDS[match[2]]) if match else math.inf
    if math.isinf(seconds):
        raise ValueError(text)
    return seconds


def _suffix(wait: Wait) -> str:
    return "" if wait is Limit.PATIENCE else f" {format_wait(wait)}"


def _plain(value: Decimal) -> str:
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _format_byte(byte: int) -> str:
    if byte in _PRINTED:
        return _PRINTED[byte]
    return chr(byte) if 0x20 <= byte < 0x7F else f"\\x{byte:02x}"


class _Parser:
    """Recursive descent over the tokens of one text, one token ahead."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = list(_tokens(text))
        self.at = 0

    def sequence(self) -> tuple[Group, ...]:
        groups = [self.group(())]
        while self.take_mark(";"):
            if self.peek().kind == "end":
                break  # a trailing semicolon is how people write lists
            groups.append(self.group(tuple(step for group in groups for step in group)))
        if self.peek().kind != "end":
            self.fail("expected ';' or '+' here", self.peek())
        return tuple(groups)

    def group(self, before: Group) -> Group:
        steps = [self.step(before)]
        while True:
            plus = self.peek()
            if not self.take_mark("+"):
                return tuple(steps)
            token = self.peek()
            last, step = steps[-1], self.step(before)
            if last.verb not in WRITES:
                self.fail(f"nothing can share a segment with '{last.verb}'", plus, _plus_hint(last))
            if step.verb not in WRITES | ENDS - {Verb.ABORT}:
                self.fail(f"'{step.verb}' cannot share a segment", token, _plus_hint(step))
            steps.append(step)

    def step(self, before: Group) -> Step:
        token = self.take()
        if token.kind != "word":
            self.fail("expected a verb here", token, f"the verbs are {_list(Verb)}")
        verb = self.choose(Verb, token, "verb")
        out_of_place = _out_of_place(verb, before)
        if out_of_place is not None:
            self.fail(f"'{verb}' cannot {out_of_place[0]}", token, out_of_place[1])
        return self.operands(verb)

    def operands(self, verb: Verb) -> Step:
        match verb:
            case Verb.SEND if self.peek().kind == "string":
                return Step(verb, payload=self.string(self.take()))
            case Verb.SLEEP | Verb.PAUSE | Verb.DRAIN:
                return Step(verb, wait=self.wait(required=verb is not Verb.DRAIN))
            case Verb.AWAIT:
                event = self.choose(Awaited, self.take(), "event")
                return Step(verb, event=event, wait=self.wait())
            case Verb.ANSWER:
                wait = self.wait()
                return Step(verb, wait=Limit.IDLE if wait is Limit.PATIENCE else wait)
            case Verb.MEET:
                return Step(verb, wait=Limit.IDLE, offset=self.offset())
            case _:
                return Step(verb, form=self.form(verb))

    def form(self, verb: Verb) -> Form:
        token = self.peek()
        if token.kind == "word" and token.text in FORMS.get(verb, ()):
            return Form(self.take().text)
        return Form.WHOLE

    def offset(self) -> float | None:
        token = self.peek()
        if token.kind != "word":
            return None
        if token.text not in {"before", "after"}:
            self.fail("expected 'before' or 'after' here", token, "for example meet before 2ms")
        sign = -1 if self.take().text == "before" else 1
        token = self.peek()
        wait = self.wait(required=True)
        if isinstance(wait, Limit):
            self.fail("expected a duration here", token, "for example 5ms, 1.5s or 200us")
        return sign * wait

    def wait(self, required: bool = False) -> Wait:
        token = self.peek()
        if token.kind == "duration":
            try:
                return parse_duration(self.take().text)
            except ValueError:
                self.fail("this duration is too long", token, "for example 5ms, 1.5s or 200us")
        if token.kind == "word" and token.text in tuple(Limit):
            return Limit(self.take().text)
        if required or token.kind == "word":
            self.fail("expected a duration here", token, "for example 5ms, 1.5s, 200us, or idle")
        return Limit.PATIENCE

    def string(self, token: _Token) -> bytes:
        out = bytearray()
        body = token.text[1:-1]
        at = 0
        while at < len(body):
            size, piece = _unescape(body, at)
            if piece is None:
                column = token.column + 1 + at
                hint = r"the escapes are \n \r \t \0 \\ \" and \xHH; other bytes are ASCII"
                self.fail("this character cannot be sent as it is", token, hint, column)
            out += piece
            at += size
        return bytes(out)

    def choose(self, kind: type[_Word], token: _Token, what: str) -> _Word:
        try:
            return kind(token.text)
        except ValueError:
            near = get_close_matches(token.text, list(kind), 1)
            hint = f"did you mean '{near[0]}'?" if near else f"the {what}s are {_list(kind)}"
            found = f"'{token.text}'" if token.text else "nothing"
            self.fail(f"expected {_article(what)} {what}, found {found}", token, hint)

    def fail(
        self, message: str, token: _Token, hint: str | None = None, column: int | None = None
    ) -> NoReturn:
        raise SequenceError(message, self.text, column or token.column, hint)

    def peek(self) -> _Token:
        return self.tokens[self.at]

    def take(self) -> _Token:
        token = self.tokens[self.at]
        self.at = min(self.at + 1, len(self.tokens) - 1)
        return token

    def take_mark(self, mark: str) -> bool:
        found = self.peek().kind == "mark" and self.peek().text == mark
        if found:
            self.take()
        return found


def _tokens(text: str) -> Iterator[_Token]:
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise _unreadable(text, at)
        if match.lastgroup != "space":
            yield _Token(str(match.lastgroup), match[0], at + 1)
        at = match.end()
    yield _Token("end", "", len(text) + 1)


def _unreadable(text: str, at: int) -> SequenceError:
    if text[at] == '"':
        return SequenceError("this string does not end", text, at + 1, "close it with a quote")
    if text[at].isdigit():
        hint = "write 5ms, 1.5s or 200us"
        return SequenceError("a number needs a unit", text, at + 1, hint)
    return SequenceError(f"cannot read {text[at]!r}", text, at + 1, "steps are separated by ';'")


def _unescape(body: str, at: int) -> tuple[int, bytes | None]:
    """How many characters make the next byte, and the byte; None for what is no escape."""
    char = body[at]
    if char != "\\":
        return 1, char.encode("ascii") if char.isascii() else None
    if body[at + 1] == "x":
        digits = body[at + 2 : at + 4]
        valid = re.fullmatch("[0-9a-fA-F]{2}", digits) is not None
        return 4, bytes.fromhex(digits) if valid else None
    return 2, _ESCAPES.get(body[at + 1])


def _out_of_place(verb: Verb, before: Group) -> tuple[str, str] | None:
    """Why this verb cannot stand behind these steps, and the mend."""
    if verb in WRITES | {Verb.REQUEST, Verb.FIN} and any(s.verb in ENDS for s in before):
        return "follow the end of our half", "put it before fin, close or abort"
    if verb is Verb.CONNECT and before:
        return "stand here", "it takes the handshake into your hands, and comes first or not at all"
    in_hand = bool(before) and before[0].verb is Verb.CONNECT
    if verb is Verb.HELLO and not in_hand:
        return "stand here", "begin with 'connect' to take the handshake into your own hands"
    if in_hand and verb in _INSIDE_TLS:
        return "follow 'connect'", "leave 'connect' out: the handshake is then made for you"
    return None


_INSIDE_TLS = {Verb.REQUEST, Verb.SEND, Verb.TERMINATE, Verb.ANSWER, Verb.MEET}


def _plus_hint(step: Step) -> str | None:
    if step.verb is Verb.REQUEST:
        return "'request' waits for its response; write 'send' to send it and go on"
    return "only send, terminate and close_notify can be joined; fin or close may come last"


def _list(words: type[Verb] | type[Awaited]) -> str:
    return ", ".join(words)


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"
