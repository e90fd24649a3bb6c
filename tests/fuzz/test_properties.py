"""What counts as broken, and what must not: half sentences, unread words, our own resets."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tlsprobe.fuzz.observation import Observation
from tlsprobe.fuzz.properties import (
    PROPERTIES,
    Needs,
    by_default,
    differ,
    excused,
    is_comparable,
    violations,
    without_echoes,
)
from tlsprobe.judge.rules import RULES
from tlsprobe.language import parse
from tlsprobe.model.causes import Cause
from tlsprobe.model.fuzz import Example
from tlsprobe.model.judgement import (
    Axes,
    Confidence,
    DataEnd,
    Doubt,
    Judgement,
    Level,
    Outcome,
    Provoked,
    Reader,
    Reset,
    Result,
    RuleResult,
    TcpEnd,
    TlsEnd,
    Word,
)
from tlsprobe.model.trace import Side

ALL = tuple(PROPERTIES.values())


def words(signature: str) -> tuple[Word, ...]:
    sides = {True: Side.CLIENT, False: Side.SERVER}
    return tuple(Word(sides[word.isupper()], word.lower()) for word in signature.split())


def seen(
    steps: str,
    *broken: str,
    tcp: TcpEnd = TcpEnd.FIN,
    cause: Cause | None = None,
    signature: str = "N n f",
    result: Result = Result.WARN,
    vouched: bool = True,
    provoked: Provoked | None = None,
) -> Observation:
    resets: tuple[Reset, ...] = ()
    if cause is not None:
        before, how = tcp is TcpEnd.RESET, (cause, Confidence.HIGH, ())
        resets = (Reset(Side.SERVER, 1, 1, before, *how, vouched=vouched, provoked=provoked),)
    judgement = Judgement(
        outcome=Outcome.CLEAN,
        axes=Axes(TlsEnd.NOTIFIED, tcp, DataEnd.NONE, Reader.EOF),
        words=words(signature),
        resets=resets,
        results=tuple(RuleResult(rule, Level.MUST, result, "so it was") for rule in broken),
    )
    return Observation(Example(parse(steps), "1.3"), judgement)


def names(observation: Observation) -> list[str]:
    return [violation.name for violation in violations(observation, ALL)]


@pytest.mark.parametrize(
    ("rule", "name"),
    [
        ("INTEROP-RESET-BEFORE-FIN", "no-reset-before-fin"),
        ("INTEROP-DATA-LOST", "no-data-lost"),
        ("INTEROP-LEAK", "ends"),
        ("TLS12-ANSWER", "notify-before-fin"),
        ("TLS13-NOTIFY", "notify-before-fin"),
        ("TLS13-IGNORE-AFTER", "no-answer-after-alert"),
        ("TLS-FATAL-CLOSES", "rules"),
    ],
)
def test_a_broken_rule_breaks_its_property(rule: str, name: str) -> None:
    (violation,) = violations(seen("close_notify; fin; drain", rule), ALL)
    assert (violation.name, violation.rule) == (name, rule)
    quiet = names(seen("close_notify; fin; drain", rule, result=Result.INFO))
    assert quiet == ([name] if "IGNORE" in rule else []), "a control tells the rest"


@pytest.mark.parametrize(
    ("steps", "rule"),
    [
        ("send part; terminate; drain", "INTEROP-DATA-LOST"),
        ('send "x"; send; fin; drain', "INTEROP-DATA-LOST"),
        ('send "x"; terminate; drain', "INTEROP-LEAK"),
        ("send cut; close_notify; drain", "TLS13-NOTIFY"),
    ],
)
def test_nobody_has_to_make_sense_of_nonsense(steps: str, rule: str) -> None:
    assert names(seen(steps, rule)) == []


def test_who_breaks_a_handshake_off_and_goes_on_writing_is_not_read() -> None:
    reset = {"tcp": TcpEnd.RESET, "cause": Cause.UNREAD_AT_CLOSE, "signature": "N r"}
    rule = "INTEROP-RESET-BEFORE-FIN"
    once = seen("connect; close_notify; fin; drain", rule, **reset)  # type: ignore[arg-type]
    twice = seen("connect; close_notify; close_notify; drain", rule, **reset)  # type: ignore[arg-type]
    assert names(once) == ["no-reset-before-fin"]
    assert names(twice) == []


def test_the_rule_that_names_the_occasion_is_the_one_that_is_broken() -> None:
    rules = ("INTEROP-LEAK", "HTTP-CLOSE")
    leak = seen("terminate; drain", *rules, tcp=TcpEnd.OPEN, signature="G d")
    found = [(one.name, one.rule) for one in violations(leak, ALL)]
    assert found == [("ends", "HTTP-CLOSE")]


def test_who_talks_on_behind_half_a_message_talks_nonsense() -> None:
    rules = ("INTEROP-RESET-BEFORE-FIN", "TLS13-NOTIFY")
    for steps in ('send "x"; terminate; drain', "send part; request; fin; drain"):
        assert names(seen(steps, *rules)) == []
    for steps in ('terminate; send "x"; drain', 'close_notify; send "x"; send; drain'):
        assert len(names(seen(steps, *rules))) == 2


def test_what_is_not_held_against_a_server_is_told_with_the_reason() -> None:
    rules = ("TLS13-NOTIFY", "INTEROP-LEAK")
    steps = "send part; send; fin; drain"
    garbled = seen(steps, *rules, tcp=TcpEnd.OPEN, signature="D D F")
    told = [(why, violation.name) for why, violation in excused(garbled, ALL)]
    assert told == [("we went on talking behind half a message", "notify-before-fin")]
    assert names(garbled) == ["ends"]
    assert excused(seen("send; fin; drain", "TLS13-NOTIFY"), ALL) == ()


def test_what_came_late_says_nothing() -> None:
    reset = seen("fin; drain", "INTEROP-RESET-BEFORE-FIN", tcp=TcpEnd.RESET)
    late = Observation(reset.example, replace(reset.judgement, doubt=Doubt.LATE))
    assert names(reset) == ["no-reset-before-fin"]
    assert names(late) == []


def test_only_what_makes_sense_is_compared() -> None:
    assert is_comparable(seen("close_notify; fin; drain"))
    assert not is_comparable(seen('send "x"; fin; drain'))
    assert not is_comparable(seen("send part; fin; drain"))
    assert is_comparable(seen("send part; fin; drain"), Needs.TARGETS)
    assert not is_comparable(seen("send part; terminate; fin; drain"), Needs.TARGETS)
    assert not is_comparable(seen("send upload; fin; drain"), Needs.TARGETS)


@pytest.mark.parametrize(
    ("signature", "phase", "shape"),
    [
        ("G N n r", "goodbye", "nr"),
        ("G n N r", "goodbye", "nr"),
        ("D d F nf", "fin", "nf"),
        ("D d n f N", "open", "nf"),
        ("N D n d d f", "close_notify", "ndf"),
        ("F", "fin", ""),
    ],
)
def test_what_tells_one_fault_from_another(signature: str, phase: str, shape: str) -> None:
    one = seen("fin; drain", signature=signature)
    assert (one.phase, one.shape) == (phase, shape)


def test_what_was_sent_and_not_read_is_not_called_missing() -> None:
    quiet = seen("terminate; abort; drain", "TLS13-NOTIFY", "INTEROP-RESET-BEFORE-FIN")
    blind = Observation(quiet.example, quiet.judgement, blind=True)
    assert names(quiet) == ["no-reset-before-fin", "notify-before-fin"]
    assert names(blind) == ["no-reset-before-fin"]


@pytest.mark.parametrize(("failure", "late"), [("refused", False), (None, True)])
def test_nothing_is_said_of_what_was_not_seen(failure: str | None, late: bool) -> None:
    sure = seen("fin; drain", "INTEROP-LEAK")
    unsure = Observation(sure.example, sure.judgement, failure=failure, late=late)
    assert names(sure) == ["ends"]
    assert names(unsure) == []


def test_an_abort_is_deliberate_only_where_nothing_can_be_unread() -> None:
    abort = {"tcp": TcpEnd.RESET, "cause": Cause.DELIBERATE, "signature": "F r"}
    assert names(seen("fin; drain", **abort)) == ["no-deliberate-abort"]  # type: ignore[arg-type]
    for steps in ("terminate; close_notify; drain", "close_notify; request; drain"):
        assert names(seen(steps, **abort)) == []  # type: ignore[arg-type]
    assert names(seen("fin; drain", **abort, vouched=False)) == []  # type: ignore[arg-type]


def test_what_a_reset_means_anyway_is_no_fault_of_its_own() -> None:
    resets, silent = "INTEROP-RESET-BEFORE-FIN", ("TLS12-ANSWER", "HTTP-TLS-ALERT")
    errs = "HTTP-TLS-INCOMPLETE"
    abort = seen("fin; drain", resets, errs, *silent, tcp=TcpEnd.RESET, cause=Cause.DELIBERATE)
    assert len(violations(abort, ALL)) == 5
    assert [one.rule for one in without_echoes(violations(abort, ALL))] == [resets]
    lost = seen("fin; drain", resets, "INTEROP-DATA-LOST", "HTTP-CLOSE", *silent)
    assert {one.rule for one in without_echoes(violations(lost, ALL))} == {
        *(resets, "INTEROP-DATA-LOST", "HTTP-CLOSE")
    }
    fin = violations(seen("fin; drain", *silent), ALL)
    assert [one.rule for one in without_echoes(fin)] == ["TLS12-ANSWER"]
    http = violations(seen("fin; drain", "HTTP-TLS-ALERT"), ALL)
    assert without_echoes(http) == http


def test_a_server_that_is_silent_in_both_versions_has_one_fault() -> None:
    kinds = set()
    for rule, tls in (("TLS12-ANSWER", "1.2"), ("TLS13-NOTIFY", "1.3")):
        silent = seen("close_notify; drain", rule)
        silent = replace(silent, example=replace(silent.example, tls=tls))
        kinds |= {one.kind(silent).in_any_version for one in violations(silent, ALL)}
    assert len(kinds) == 1


def test_a_reset_after_the_fin_is_a_property_that_has_to_be_asked_for() -> None:
    after = seen("fin; drain", tcp=TcpEnd.FIN_RESET, cause=Cause.UNREAD_AFTER_FIN)
    assert names(after) == ["no-reset-after-fin"]
    assert "no-reset-after-fin" not in by_default(two_targets=True)


def test_only_two_that_can_be_compared_differ() -> None:
    fin, reset = seen("fin; drain"), seen("fin; drain", tcp=TcpEnd.RESET)
    assert differ(fin, reset)
    assert not differ(fin, fin)
    assert not differ(fin, seen("abort; drain", tcp=TcpEnd.RESET, signature="R r"))
    assert not differ(fin, Observation(reset.example, reset.judgement, blind=True))


def test_two_targets_are_compared_only_if_there_are_two() -> None:
    assert "targets-alike" in by_default(two_targets=True)
    assert "targets-alike" not in by_default(two_targets=False)


def test_properties_stand_for_rules_that_there_are() -> None:
    for name, asked in PROPERTIES.items():
        assert name == asked.name
        assert asked.text.endswith(".")
        compares = asked.needs in {Needs.RUNS, Needs.VERSIONS, Needs.TARGETS}
        assert asked.rule in RULES or compares or name == "rules"


def test_what_the_server_s_own_end_overtook_is_compared_only_where_it_was_awaited() -> None:
    for steps, is_asked in (
        ("request large; terminate; drain", False),
        ("await close_notify 3s; close_notify; drain", True),
    ):
        one = seen(steps)
        overtaken = replace(one, judgement=replace(one.judgement, doubt=Doubt.OVERTAKEN))
        assert is_comparable(one)
        assert is_comparable(overtaken) is is_asked


def test_a_crowd_is_compared_with_nothing() -> None:
    one = seen("fin; drain")
    assert not is_comparable(replace(one, example=replace(one.example, together=4)))


@pytest.mark.parametrize(
    ("steps", "is_doubtful"),
    [("await end 1s; drain", False), ("sleep 1s; drain", False), ("request; drain", True)],
)
def test_that_it_stays_open_is_no_bad_end_of_what_asked_for_nothing(
    steps: str, is_doubtful: bool
) -> None:
    one = seen(steps, tcp=TcpEnd.OPEN)
    busy = replace(one.judgement, outcome=Outcome.OPEN, doubt=Doubt.BUSY)
    assert replace(one, judgement=busy).is_doubtful is is_doubtful
