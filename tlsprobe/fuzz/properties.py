"""What every close should keep to, whatever the sequence: the fuzzer's questions.

A property of one connection looks at what the judge said of it; the rules decide, and a property
only says which of their answers matter here. The others compare how two connections ended: that
two of the same sequence differ is a race, and no two connections may be compared before it is
known that they are none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from tlsprobe.fuzz.observation import Observation
from tlsprobe.judge.rule_remedies import NOTIFIES
from tlsprobe.judge.rules import IGNORE_AFTER, RULES
from tlsprobe.model.causes import Cause
from tlsprobe.model.judgement import Doubt, Result, TcpEnd
from tlsprobe.model.sequence import Awaited
from tlsprobe.model.verbs import ANNOUNCES, ENDS, ODD, RACES, SPEAKS, WRITES, Form, Verb

_NOTIFY = ("TLS12-NOTIFY", "TLS12-ANSWER", "TLS13-NOTIFY")
_END_NOW = (
    *("HTTP-CLOSE", "PG-TERMINATE", "SMTP-221", "MQTT-DISCONNECT"),
    *("TLS-FATAL-CLOSES", "H2-ERROR-CLOSES"),
)
"""Rules that say when a server has to end a connection."""

ANSWERS_BEHIND_ALERT = "no-answer-after-alert"
"""The property that a control has to confirm: our alert alone may draw the same answer."""

RESETS = "no-reset-before-fin"
_ABORTS, _SILENCE = "no-deliberate-abort", "notify-before-fin"

_ABOUT_MORE = {"runs-alike", "versions-alike", "targets-alike", "next-connection"}
"""Properties that no single connection breaks."""
_BROKEN = {Result.FAIL, Result.WARN}


class Kind(NamedTuple):
    """What tells one fault from another: faults of one kind may be the same, others are not.

    ``rule`` is without its TLS version, ``cause`` what the server's first RST was, ``provoked``
    what drew it, ``phase`` which end of ours the server answered, ``shape`` its letters from its
    first end on. For two ends that differ, ``cause`` holds both.
    """

    name: str
    rule: str
    cause: str
    provoked: str
    phase: str
    shape: str
    tls: str

    @property
    def in_any_version(self) -> Kind:
        """The same fault in whatever TLS version."""
        return self._replace(tls="")

    @property
    def whatever_provoked(self) -> Kind:
        """The same fault, whatever was left unread by it."""
        return self._replace(provoked="")

    def is_like(self, other: Kind) -> bool:
        """Whether these are one fault to somebody who confirms it: in the same words, anywhere."""
        return self[:3] == other[:3]


class Needs(StrEnum):
    """What has to be driven before a property can be asked about."""

    ONE = "one connection"
    RUNS = "two runs"
    VERSIONS = "two TLS versions"
    TARGETS = "two targets"
    PATH = "the next connection"


def plain_rule(rule: str) -> str:
    """A rule without its TLS version; that of TLS 1.2 about our alert says what 1.3's says of all.

    So a server that is silent in both has one fault.
    """
    plain = rule.removeprefix("TLS12-").removeprefix("TLS13-")
    return "NOTIFY" if plain == "ANSWER" else plain


@dataclass(frozen=True, slots=True)
class Violation:
    """A property broken: the rule that says so, and what was seen.

    ``ends`` are the two ends that differ, for a property that compares.
    """

    name: str
    rule: str
    text: str
    ends: str = ""

    def kind(self, seen: Observation) -> Kind:
        """What this is, seen on that connection."""
        rule = plain_rule(self.rule)
        if self.name in _ABOUT_MORE:
            return Kind(self.name, rule, self.ends, "", "", "", "")
        what = seen.cause, seen.provoked, seen.phase, seen.shape, seen.example.tls
        return Kind(self.name, rule, *what)


@dataclass(frozen=True, slots=True)
class Property:
    """A question: its name on the command line, the rule it stands for, one sentence.

    ``check`` answers for one connection; properties that compare have none. ``reads``: it is about
    what the server said, which somebody has to have read. ``asked``: by default.
    """

    name: str
    rule: str
    text: str
    needs: Needs = Needs.ONE
    check: Callable[[Observation], Iterable[Violation]] = lambda _: ()
    reads: bool = True
    asked: bool = True


def violations(seen: Observation, properties: Iterable[Property]) -> tuple[Violation, ...]:
    """The properties that this one connection broke; none where nothing can be said."""
    excuse = _excuse(seen)
    return tuple(found for found in _seen_broken(seen, properties) if not excuse.covers(found))


def shows_like(seen: Observation, kind: Kind, properties: Iterable[Property]) -> bool:
    """Whether this one connection broke a property in a way like this."""
    return any(broken.kind(seen).is_like(kind) for broken in violations(seen, properties))


def excused(seen: Observation, properties: Iterable[Property]) -> tuple[tuple[str, Violation], ...]:
    """What else it broke, and why that is not held against the server."""
    excuse = _excuse(seen)
    broken = _seen_broken(seen, properties)
    return tuple((excuse.why, found) for found in broken if excuse.covers(found))


_OF_A_RESET = NOTIFIES | {"HTTP-TLS-INCOMPLETE"}
"""Rules that a reset breaks whatever it was for."""


def without_echoes(broken: tuple[Violation, ...]) -> tuple[Violation, ...]:
    """The same without what another of them means anyway.

    Where a server resets, no alert came, it was an abort, and a client that closes without waiting
    meets an error; where no alert came, HTTP misses it as well. A server that does so for one
    reason has one fault, and would have three.
    """
    names = {found.name for found in broken}
    if RESETS in names:
        return tuple(f for f in broken if f.name != _ABORTS and f.rule not in _OF_A_RESET)
    if _SILENCE in names:
        return tuple(f for f in broken if f.name == _SILENCE or f.rule not in NOTIFIES)
    return broken


class _Excuse(NamedTuple):
    """Why a server need not bear what we sent; it is to end the connection, unless ``of_all``."""

    why: str = ""
    of_all: bool = False

    def covers(self, found: Violation) -> bool:
        return bool(self.why) and (self.of_all or found.name != "ends")


def _excuse(seen: Observation) -> _Excuse:
    if _babbles(seen):
        return _Excuse("we went on writing in a handshake that we had broken off", of_all=True)
    if _confuses(seen):
        return _Excuse("we went on talking behind half a message")
    return _Excuse()


def _seen_broken(seen: Observation, properties: Iterable[Property]) -> Iterable[Violation]:
    if not seen.counts:
        return ()
    can_say = [asked for asked in properties if not (asked.reads and seen.blind)]
    return [found for asked in can_say for found in asked.check(seen)]


def broken_by(seen: Observation, properties: Iterable[Property]) -> tuple[str, ...]:
    """The names of the properties that this one connection broke."""
    return tuple(dict.fromkeys(found.name for found in violations(seen, properties)))


def differ(one: Observation, other: Observation, needs: Needs = Needs.RUNS) -> bool:
    """Whether two connections, both of which can be judged, ended unlike."""
    both = is_comparable(one, needs) and is_comparable(other, needs)
    return both and one.end != other.end


def is_comparable(seen: Observation, needs: Needs = Needs.RUNS) -> bool:
    """Whether how it ended is the server's own doing: no junk, no crowd or race of ours, all read.

    Which of two things that cross on the way comes first is nobody's habit. How two servers take
    half a message is a matter of the servers, as long as it is not excused.
    """
    in_company = seen.example.together > 1 or seen.example.beside is not None
    if not seen.counts or seen.we_reset or seen.blind or in_company:
        return False
    if seen.judgement.doubt in _ENDED_FIRST and not _waits_for_the_end(seen):
        return False
    if seen.example.sequence.uploads or seen.example.sequence.is_shaped:
        return False
    return _is_plain(seen) or (needs is Needs.TARGETS and not _excuse(seen).why)


_ENDED_FIRST = frozenset({Doubt.OVERTAKEN, Doubt.WITH_RESPONSE})


def _waits_for_the_end(seen: Observation) -> bool:
    """Whether it is meant to meet the server's own end, which otherwise came in between."""
    return any(step.event in _ENDS or step.verb in RACES for step in seen.example.sequence.steps)


_ENDS = {Awaited.CLOSE_NOTIFY, Awaited.FIN, Awaited.END}


def _broken(name: str, *rules: str) -> Callable[[Observation], Iterable[Violation]]:
    """A check that asks the judge's rules."""

    def check(seen: Observation) -> Iterable[Violation]:
        for result in seen.judgement.results:
            if result.rule in rules and result.result in _BROKEN:
                yield Violation(name, result.rule, result.text)

    return check


def _answers_behind_alert(seen: Observation) -> Iterable[Violation]:
    """Data after what came behind our alert; whether the alert alone draws it, a control tells."""
    for result in seen.judgement.results:
        if result.rule in IGNORE_AFTER and result.result is not Result.PASS:
            text = "the server sent data after what came behind our close_notify"
            yield Violation(ANSWERS_BEHIND_ALERT, result.rule, text)


_SENSELESS = ODD | {Form.PART, Form.CUT}


def _is_plain(seen: Observation) -> bool:
    """Whether all that we sent made sense, and came as we sent it.

    Nobody has to answer, or even notice, half of it.
    """
    if seen.example.sequence.is_shaped:
        return False
    steps = seen.example.sequence.steps
    return all(s.payload is None and s.form not in _SENSELESS for s in steps) and not any(
        s.verb in {Verb.ALERT, Verb.RENEGOTIATE} for s in steps
    )


def _babbles(seen: Observation) -> bool:
    """Whether we went on writing in a handshake that we had broken off: nobody has to read that."""
    if not seen.example.sequence.is_handshake:
        return False
    verbs = [step.verb for step in seen.example.sequence.steps]
    ours = [verb for verb in verbs if verb in WRITES]
    return Verb.CLOSE_NOTIFY in ours[:-1]


def _confuses(seen: Observation) -> bool:
    """Whether we went on talking behind half a message or a few bytes: then all of it is nonsense.

    A server may give such a connection up as it likes. What comes behind our close_notify or our
    FIN is no part of the conversation.
    """
    half = False
    for step in seen.example.sequence.steps:
        if step.verb is Verb.CLOSE_NOTIFY or step.verb in ENDS:
            return False
        if half and step.verb in SPEAKS:
            return True
        half = half or step.payload is not None or step.form in {Form.PART, Form.CUT}
    return False


def _is_tls(seen: Observation) -> bool:
    """Whether all that we sent was TLS: behind half a record nothing is."""
    return all(step.form is not Form.CUT for step in seen.example.sequence.steps)


def _data_lost(seen: Observation) -> Iterable[Violation]:
    """What comes behind a body that the server refuses is part of that body to it."""
    owed = _is_plain(seen) and not seen.example.sequence.uploads
    return _broken("no-data-lost", "INTEROP-DATA-LOST")(seen) if owed else ()


def _ends(seen: Observation) -> Iterable[Violation]:
    """After our FIN; after a goodbye alone only if that is what it must have looked like.

    A rule that names the very occasion says more than that the connection leaked.
    """
    closed = seen.we("f") or _is_plain(seen)
    if not closed:
        return ()
    named = tuple(_broken("ends", *_END_NOW)(seen)) if seen.is_open else ()
    return named[:1] or _broken("ends", "INTEROP-LEAK")(seen)


def _notifies(seen: Observation) -> Iterable[Violation]:
    return _broken(_SILENCE, *_NOTIFY)(seen) if _is_tls(seen) else ()


def _deliberate(seen: Observation) -> Iterable[Violation]:
    """Only where nothing can have been unread: our last word is what the server acted upon.

    And only of the server: what passes its connections on, or forges packets, has read nothing.
    """
    words = [step.verb for step in seen.example.sequence.steps if step.verb in SPEAKS]
    if not _is_plain(seen) or any(verb in ANNOUNCES for verb in words[:-1]):
        return
    reset = seen.reset
    is_its_own = reset is not None and reset.cause is Cause.DELIBERATE and reset.vouched
    if is_its_own and not seen.we_reset:
        text = "the server reset though it had read everything"
        yield Violation(_ABORTS, "INTEROP-RESET-BEFORE-FIN", text)


def _reset_after_fin(seen: Observation) -> Iterable[Violation]:
    if seen.judgement.axes.tcp is TcpEnd.FIN_RESET and not seen.we_reset:
        text = "the server reset after its FIN: readers saw EOF, reset metrics count it"
        yield Violation("no-reset-after-fin", "INTEROP-RESET-AFTER-FIN", text)


_ASKED_ELSEWHERE = {
    *(*_NOTIFY, *IGNORE_AFTER, "INTEROP-RESET-BEFORE-FIN", "INTEROP-RESET-AFTER-FIN"),
    *("INTEROP-DATA-LOST", "INTEROP-LEAK"),
}
_OTHERS = tuple(rule for rule in RULES if rule not in _ASKED_ELSEWHERE)


def _other_rules(seen: Observation) -> Iterable[Violation]:
    named = {violation.rule for violation in _ends(seen)}
    return (found for found in _broken("rules", *_OTHERS)(seen) if found.rule not in named)


_ALL = (
    Property(
        RESETS,
        "INTEROP-RESET-BEFORE-FIN",
        "The server does not reset before its FIN: a reader gets EOF, not ECONNRESET.",
        check=_broken(RESETS, "INTEROP-RESET-BEFORE-FIN"),
        reads=False,
    ),
    Property(
        "no-data-lost",
        "INTEROP-DATA-LOST",
        "A response that is owed arrives whole, however the connection ends.",
        check=_data_lost,
    ),
    Property(
        "ends",
        "INTEROP-LEAK",
        "The server ends the connection within patience once both sides have closed.",
        check=_ends,
        reads=False,
    ),
    Property(
        _SILENCE,
        "TLS13-NOTIFY",
        "The server sends close_notify before its FIN, and answers ours in TLS 1.2.",
        check=_notifies,
    ),
    Property(
        ANSWERS_BEHIND_ALERT,
        "TLS13-IGNORE-AFTER",
        "Nothing that comes after our close_notify is answered.",
        check=_answers_behind_alert,
    ),
    Property(
        _ABORTS,
        "INTEROP-RESET-BEFORE-FIN",
        "The server does not reset when it has nothing left unread.",
        check=_deliberate,
    ),
    Property(
        "next-connection",
        "INTEROP-PATH",
        "After any close, the next connection works.",
        Needs.PATH,
    ),
    Property(
        "versions-alike",
        "FUZZ-VERSIONS-ALIKE",
        "TLS 1.2 and 1.3 end alike.",
        Needs.VERSIONS,
    ),
    Property(
        "targets-alike",
        "FUZZ-TARGETS-ALIKE",
        "The two targets end alike (--against).",
        Needs.TARGETS,
    ),
    Property(
        "runs-alike",
        "FUZZ-RUNS-ALIKE",
        "Two runs of the same sequence end alike; else it is a race.",
        Needs.RUNS,
    ),
    Property(
        "no-reset-after-fin",
        "INTEROP-RESET-AFTER-FIN",
        "The server does not reset after its FIN either.",
        check=_reset_after_fin,
        reads=False,
        asked=False,
    ),
    Property(
        "rules",
        "",
        "No other rule is broken ('tlsprobe rules').",
        check=_other_rules,
    ),
)

PROPERTIES = {asked.name: asked for asked in _ALL}
"""All properties by name, the gravest first."""


def by_default(*, two_targets: bool) -> tuple[str, ...]:
    """The properties that are asked for when nobody names any."""
    needed = (p for p in _ALL if p.asked and (two_targets or p.needs is not Needs.TARGETS))
    return tuple(p.name for p in needed)
