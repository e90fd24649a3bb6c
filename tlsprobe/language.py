r"""The one-line language for close sequences: text to steps, and back.

    sequence = group *( ";" group )
    group    = step *( "+" step )
    step     = [ treatment [ number ] ] verb [ form ] [ operand ]
    treatment = "hold" | "lose" | "twice" | "corrupt" | "urgent" | "split"
    event    = "flight" | "response" | "data" | "close_notify" | "fin" | "end"
    wait     = duration | "idle"
    level    = "warning" | "fatal"
    name     = that of an alert, as the registry of TLS alerts has it
    what     = "stop" | "graceful" | "reload" | "TERM" | "INT" | "QUIT" | "HUP" | "USR1" | ...
    duration = number ( "us" | "ms" | "s" )
    string   = a Python-style quoted string with \n, \r, \t, \0, \\, \", \xHH

The verbs, their forms and their operands are the table in ``model.sequence``; ``grammar`` writes
it out. Steps joined by ``+`` leave in one TCP segment. There is a single grammar for the command
line, the catalogue, the fuzzer and every report, and ``parse(str(...))`` gives back the same value.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import NamedTuple, NoReturn, TypeVar, assert_never

from tlsprobe.errors import SequenceError
from tlsprobe.model.alerts import CLOSE_NOTIFY, DESCRIPTIONS, LEVELS, alert_name, alert_number
from tlsprobe.model.sequence import Awaited, Group, Limit, Sequence, Signal, Step, Wait
from tlsprobe.model.verbs import (
    COUNTED,
    ENDS,
    FIN_TREATMENTS,
    NEEDS_OUR_HALF,
    SENDS_FIN,
    TREATABLE,
    WRITES,
    Act,
    Form,
    Operand,
    Place,
    Treatment,
    Verb,
)
from tlsprobe.spelling import nearest

_TOKEN = re.compile(
    r"""(?P<space>\s+)
      | (?P<mark>[;+])
      | (?P<string>"(?:[^"\\\n]|\\.)*")
      | (?P<duration>\d+(?:\.\d+)?(?:us|ms|s)\b)
      | (?P<number>\d+(?![\w.]))
      | (?P<word>[A-Za-z_][A-Za-z_0-9-]*)""",
    re.VERBOSE,
)
_SECONDS = {"us": Decimal("0.000001"), "ms": Decimal("0.001"), "s": Decimal(1)}
_ESCAPES = {"n": b"\n", "r": b"\r", "t": b"\t", "0": b"\0", "\\": b"\\", '"': b'"'}
_PRINTED = {value[0]: f"\\{letter}" for letter, value in _ESCAPES.items() if letter != "0"}

_UNITS = "write 5ms, 1.5s or 200us"

MAX_LENGTH = 100_000
"""Characters a sequence may have; a longer text is a mistake, not a sequence."""


_Word = TypeVar("_Word", Verb, Awaited, Signal, str)

MOST_TIMES = 10_000
"""How often bytes can be lost, and how long their pieces can be."""

MOST_AHEAD = 2**30
"""Bytes that an RST can be ahead: the largest window that TCP knows."""

_CLOSE_NOTIFY = (LEVELS["warning"], CLOSE_NOTIFY)


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
    count = str(step.count) if step.treatment is Treatment.SPLIT or step.count > 1 else ""
    words = step.treatment, count, step.verb, step.form, _format_operand(step)
    return " ".join(word for word in words if word)


def grammar() -> Iterator[tuple[str, str]]:
    """How each verb is written, and what it means, in the order of the table."""
    for verb in Verb:
        payload = ("string",) if verb.row.operand is Operand.BYTES else ()
        choices = " | ".join((*payload, *verb.row.forms))
        written = (verb, f"[ {choices} ]" if choices else "", _grammar_of(verb.row.operand))
        yield " ".join(word for word in written if word), verb.row.meaning
    for treatment in Treatment:
        count = {Treatment.LOSE: " [ number ]", Treatment.SPLIT: " number"}.get(treatment, "")
        yield f"{treatment}{count} step", treatment.meaning


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


def _grammar_of(operand: Operand) -> str:  # noqa: PLR0911 - one per kind
    match operand:
        case Operand.NOTHING | Operand.BYTES:  # bytes are written where a form would be
            return ""
        case Operand.DURATION:
            return "wait"
        case Operand.WAIT | Operand.EXPIRY:
            return "[ wait ]"
        case Operand.EVENT:
            return "event [ wait ]"
        case Operand.ALERT:
            return "[ level name ]"
        case Operand.DISTANCE:
            return "[ before | after duration ]"
        case Operand.SERVER_FIN:
            return "server fin duration"
        case Operand.WINDOW:
            return "0 | open"
        case Operand.AHEAD:
            return "[ + number ]"
        case Operand.SIGNAL:
            return "what"
        case _:
            assert_never(operand)


def _format_operand(step: Step) -> str:  # noqa: PLR0911 - one per kind
    match step.verb.row.operand:
        case Operand.NOTHING:
            return ""
        case Operand.BYTES:
            return "" if step.payload is None else format_bytes(step.payload)
        case Operand.DURATION:
            return format_wait(step.wait)
        case Operand.WAIT | Operand.EXPIRY:
            return _unless_patience(step.wait)
        case Operand.EVENT:
            return f"{step.event} {_unless_patience(step.wait)}".rstrip()
        case Operand.ALERT:
            return "" if step.alert is None else _format_alert(step.alert)
        case Operand.DISTANCE:
            return "" if step.offset is None else _format_offset(step.offset)
        case Operand.SERVER_FIN:
            return f"server fin {format_wait(step.wait)}"
        case Operand.WINDOW:
            return "open" if step.is_open else "0"
        case Operand.AHEAD:
            return f"+{step.ahead}" if step.ahead else ""
        case Operand.SIGNAL:
            return str(step.signal)
        case operand:
            assert_never(operand)


def _unless_patience(wait: Wait) -> str:
    return "" if wait is Limit.PATIENCE else format_wait(wait)


def _format_alert(alert: tuple[int, int]) -> str:
    level = next(name for name, number in LEVELS.items() if number == alert[0])
    return f"{level} {alert_name(alert)}"


def _format_offset(offset: float) -> str:
    return f"{'before' if offset < 0 else 'after'} {format_wait(abs(offset))}"


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
        if self.peek().kind == "number":
            self.fail("a number needs a unit", self.peek(), _UNITS)
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
                said = f"nothing can share a segment with '{last.verb}'"
                self.fail(said, plus, _plus_hint(last.verb))
            if step.verb not in WRITES | SENDS_FIN:
                self.fail(f"'{step.verb}' cannot share a segment", token, _plus_hint(step.verb))
            steps.append(step)

    def step(self, before: Group) -> Step:
        first = self.peek()
        treatment, count = self.treatment()
        if treatment is None:
            return self.untreated(before)
        token = self.peek()
        step = self.untreated(before)
        if step.verb not in TREATABLE:
            hint = f"{_list(TREATABLE, 'or')} can be"
            self.fail(f"the path cannot {treatment} '{step.verb}'", token, hint)
        if step.verb is Verb.FIN and treatment not in FIN_TREATMENTS:
            self.fail(f"a FIN has no bytes: '{treatment}' is nothing to do to it", first)
        return replace(step, treatment=treatment, count=count)

    def treatment(self) -> tuple[Treatment | None, int]:
        """What the path does to the step that follows, and the number that goes with it."""
        token, behind = self.peek(), self.tokens[min(self.at + 1, len(self.tokens) - 1)]
        named = next((t for t in Treatment if t == token.text), None)
        if named is None or token.kind != "word" or (named == "hold" and behind.text == "server"):
            return None, 1
        self.take()
        if named is Treatment.SPLIT or (named in COUNTED and self.peek().kind == "number"):
            return named, self.number(1, MOST_TIMES)
        return named, 1

    def number(self, least: int, most: int) -> int:
        token = self.take()
        if token.kind != "number" or not least <= int(token.text[:10]) <= most:
            self.fail(f"expected a number from {least} to {most} here", token)
        return int(token.text)

    def untreated(self, before: Group) -> Step:
        token = self.take()
        if token.kind != "word":
            self.fail("expected a verb here", token, f"the verbs are {', '.join(Verb)}")
        verb = self.choose(tuple(Verb), token, "verb")
        out_of_place = _out_of_place(verb, before)
        if out_of_place is not None:
            self.fail(f"'{verb}' cannot {out_of_place[0]}", token, out_of_place[1])
        return self.operands(verb)

    def operands(self, verb: Verb) -> Step:  # noqa: PLR0911 - one per kind
        form = self.form(verb)
        match verb.row.operand:
            case Operand.NOTHING:
                return Step(verb, form=form)
            case Operand.BYTES:
                return Step(verb, form=form, payload=self.payload(form))
            case Operand.DURATION | Operand.WAIT as operand:
                return Step(verb, form=form, wait=self.wait(required=operand is Operand.DURATION))
            case Operand.EXPIRY:
                wait = self.wait()
                return Step(verb, form=form, wait=Limit.IDLE if wait is Limit.PATIENCE else wait)
            case Operand.EVENT:
                event = self.choose(tuple(Awaited), self.take(), "event")
                return Step(verb, form=form, event=event, wait=self.wait())
            case Operand.ALERT:
                return Step(verb, form=form, alert=self.alert())
            case Operand.DISTANCE:
                return Step(verb, form=form, wait=Limit.IDLE, offset=self.offset())
            case Operand.SERVER_FIN:
                return Step(verb, wait=self.server_fin())
            case Operand.WINDOW:
                return Step(verb, is_open=self.window())
            case Operand.AHEAD:
                return Step(verb, ahead=self.number(0, MOST_AHEAD) if self.take_mark("+") else 0)
            case Operand.SIGNAL:
                return Step(verb, signal=self.choose(tuple(Signal), self.take(), "signal"))
            case operand:
                assert_never(operand)

    def form(self, verb: Verb) -> Form:
        token = self.peek()
        if token.kind == "word" and token.text in verb.row.forms:
            return Form(self.take().text)
        return Form.WHOLE

    def alert(self) -> tuple[int, int] | None:
        if self.peek().kind != "word":
            return None
        level = LEVELS[self.choose(tuple(LEVELS), self.take(), "level")]
        description = alert_number(self.choose(DESCRIPTIONS, self.take(), "alert"))
        assert description is not None
        alert = level, description
        return None if alert == _CLOSE_NOTIFY else alert

    def server_fin(self) -> float:
        for word in ("server", "fin"):
            token = self.take()
            if token.text != word:
                self.fail(f"expected '{word}' here", token, "for example hold server fin 200ms")
        token = self.peek()
        wait = self.wait(required=True)
        if isinstance(wait, Limit):
            self.fail("expected a duration here", token, _UNITS)
        return wait

    def window(self) -> bool:
        token = self.take()
        if token.text not in {"0", "open"}:
            self.fail("expected '0' or 'open' here", token)
        return token.text == "open"

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

    def wait(self, *, required: bool = False) -> Wait:
        token = self.peek()
        if token.kind == "duration":
            try:
                return parse_duration(self.take().text)
            except ValueError:
                self.fail("this duration is too long", token, "for example 5ms, 1.5s or 200us")
        if token.kind == "number":
            self.fail("a number needs a unit", token, _UNITS)
        if token.kind == "word" and token.text in tuple(Limit):
            return Limit(self.take().text)
        if required or token.kind == "word":
            self.fail("expected a duration here", token, "for example 5ms, 1.5s, 200us, or idle")
        return Limit.PATIENCE

    def payload(self, form: Form) -> bytes | None:
        is_given = form is Form.WHOLE and self.peek().kind == "string"
        return self.string(self.take()) if is_given else None

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

    def choose(self, words: tuple[_Word, ...], token: _Token, what: str) -> _Word:
        found = next((word for word in words if word == token.text), None)
        if found is None:
            near = nearest(token.text, words)
            hint = f"did you mean '{near}'?" if near else f"the {what}s are {', '.join(words)}"
            text = f"'{token.text}'" if token.text else "nothing"
            self.fail(f"expected {_article(what)} {what}, found {text}", token, hint)
        return found

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
        return SequenceError("a number needs a unit", text, at + 1, _UNITS)
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


def _out_of_place(  # noqa: PLR0911 - one per reason
    verb: Verb, before: Group
) -> tuple[str, str] | None:
    """Why this verb cannot stand behind these steps, and what to write instead."""
    if any(step.verb.row.act is Act.RESUMES for step in before):
        return "follow the second connection", "put 'resume' last"
    if verb in NEEDS_OUR_HALF and any(step.verb in ENDS for step in before):
        return "follow the end of our half", f"put it before {_list(ENDS, 'or')}"
    in_hand = bool(before) and before[0].verb.row.act is Act.OPENS
    match verb.row.place:
        case Place.ANYWHERE:
            return None
        case Place.FIRST if before:
            hint = "it begins the connection, so put it first or leave it out"
            return "stand here", hint
        case Place.IN_HANDSHAKE if not in_hand:
            return "stand here", "begin with 'connect' to make the handshake yourself"
        case Place.IN_SESSION if in_hand:
            return "follow 'connect'", "leave 'connect' out: the handshake is then made for you"
        case Place.FIRST | Place.IN_HANDSHAKE | Place.IN_SESSION:
            return None
        case place:
            assert_never(place)


def _plus_hint(verb: Verb) -> str:
    if verb.row.act is Act.ASKS:
        return f"'{verb}' waits for its response; write 'send' to send it and go on"
    joined, last = _list(WRITES, "and"), _list(SENDS_FIN, "or")
    return f"only {joined} can be joined; {last} may come last"


def _list(verbs: frozenset[Verb], last: str) -> str:
    """The verbs in the order of the table: ``fin, close or abort``."""
    *words, end = (verb for verb in Verb if verb in verbs)
    return f"{', '.join(words)} {last} {end}"


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"
