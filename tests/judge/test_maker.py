"""Nobody is blamed for an RST that something else made, or that anybody could have made.

ARCHITECTURE.md, "What we may not conclude": from an RST that the server did not send, that the
server broke a rule.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.judge.playbook import FIRST, C, Line, S, crossing, gives_up, play, silence, step
from tlsprobe.judge.closing import closing_of
from tlsprobe.judge.digest import digest_of
from tlsprobe.judge.maker import Maker, as_far_as_settled, maker_of
from tlsprobe.judge.remedies import Situation, remedy_of
from tlsprobe.judge.rules import RULES
from tlsprobe.judge.verdict import judge
from tlsprobe.model.causes import Cause, Party
from tlsprobe.model.far_side import FarFact, ResetNumbers
from tlsprobe.model.judgement import (
    Confidence,
    Judgement,
    Level,
    Outcome,
    Provoked,
    Result,
    RuleResult,
)
from tlsprobe.model.knowledge import NOTHING_KNOWN, Knowledge
from tlsprobe.model.trace import Coverage, EventKind, Side, Trace

_BAD = {Result.FAIL, Result.WARN}

_LINES: tuple[Line, ...] = (
    *(C.request(), C.goodbye(asks=True), C.notify(), C.fin(), C.alert(80), C.key_update()),
    *(S.response(), S.partial(), S.data(), S.notify(), S.alert(80), S.alert(90, level=1)),
    *(S.plain(), S.ticket(), silence(0.4), silence(2), C.ack(), S.ack()),
)
STORIES = st.lists(st.sampled_from(_LINES), max_size=6).map(tuple)
PROTOCOLS = st.sampled_from(["raw", "http1", "http2", "postgres", "smtp", "imap", "ldap", "mqtt"])
VERSIONS = st.sampled_from(["1.2", "1.3"])
SIX = st.booleans()
"""IPv6: without IP IDs."""

FORMS = st.sampled_from([S.rst(active=True), S.rst()])


def bad(judgement: Judgement, *levels: Level) -> set[str]:
    """The rules about the server that it is said to have broken."""
    return {
        r.rule
        for r in judgement.results
        if r.result in _BAD and RULES[r.rule].of_server and (not levels or r.level in levels)
    }


def without_its_end(trace: Trace) -> Trace:
    """The same story, and nobody reset."""
    kept = tuple(s for s in trace.segments if not s.rst)
    told = tuple(e for e in trace.drive.events if e.kind is not EventKind.RESET)
    return replace(trace, segments=kept, drive=replace(trace.drive, events=told))


def made_on_the_way(trace: Trace) -> Knowledge:
    made = tuple(ResetNumbers(s.start, s.ack) for s in trace.segments if s.rst)
    return Knowledge(far=FarFact("192.0.2.1:40000", 0, made=made))


@given(STORIES, FORMS, PROTOCOLS, VERSIONS, SIX)
@example((C.goodbye(asks=True),), S.rst(active=True), "smtp", "1.3", False)
@example((S.alert(90, level=1),), S.rst(active=True), "raw", "1.3", False)
@example((C.request(), S.partial()), S.rst(active=True), "http1", "1.2", False)
def test_no_rule_of_the_server_is_broken_by_an_rst_that_it_did_not_make(
    lines: tuple[Line, ...], rst: Line, protocol: str, tls: str, six: bool
) -> None:
    trace = play(*lines, rst, protocol=protocol, tls=tls, ipv6=six)
    knowledge = made_on_the_way(trace)
    told = judge(trace, knowledge)
    assert {reset.cause for reset in told.resets} == {Cause.MIDDLEBOX}
    assert bad(told) <= bad(judge(without_its_end(trace)))


@given(STORIES, FORMS, PROTOCOLS, VERSIONS, SIX)
@example((C.notify(),), S.rst(active=True), "raw", "1.2", False)
@example((C.goodbye(asks=True),), S.rst(), "http1", "1.3", False)
def test_no_must_is_broken_by_an_rst_that_anybody_can_forge(
    lines: tuple[Line, ...], rst: Line, protocol: str, tls: str, six: bool
) -> None:
    """Nor is anybody surely to blame for it."""
    trace = play(*lines, rst, protocol=protocol, tls=tls, ipv6=six)
    told, quiet = judge(trace), judge(without_its_end(trace))
    failed = {r.rule for r in told.results if r.result is Result.FAIL}
    assert failed <= {r.rule for r in quiet.results if r.result is Result.FAIL}
    (reset,) = told.resets
    assert reset.confidence is not Confidence.HIGH


@given(STORIES, PROTOCOLS, VERSIONS, SIX)
def test_an_rst_in_our_name_that_we_did_not_ask_for_is_nobodys_fault(
    lines: tuple[Line, ...], protocol: str, tls: str, six: bool
) -> None:
    trace = play(*lines, C.rst(active=True), silence(1), protocol=protocol, tls=tls, ipv6=six)
    told = judge(trace)
    (reset,) = told.resets
    assert (reset.side, reset.cause) == (Side.CLIENT, Cause.MIDDLEBOX)
    assert reset.confidence is not Confidence.HIGH
    assert bad(told) <= bad(judge(without_its_end(trace)))
    assert Result.ERROR not in {r.result for r in told.results}


def test_an_rst_of_ours_is_ours_from_when_we_gave_up() -> None:
    """Our program writes down what it did right behind the call."""
    ours = judge(play(C.notify(), C.abort())).resets[0]
    assert (ours.cause, ours.vouched) == (Cause.DELIBERATE, True)
    early = judge(play(C.notify(), C.rst(active=True), silence(1), C.abort())).resets[0]
    assert early.cause is Cause.MIDDLEBOX


@pytest.mark.parametrize(
    "behind",
    [
        pytest.param((S.notify(),), id="it goes on"),
        pytest.param((S.fin(),), id="it closes"),
        pytest.param((C.data(), S.ack()), id="it takes what comes later"),
        pytest.param((silence(0.3), S.ack()), id="it still has a word"),
    ],
)
def test_a_server_that_is_still_there_did_not_give_up(behind: tuple[Line, ...]) -> None:
    told = judge(play(C.notify(), S.rst(active=True), *behind, step("drain"), gives_up("drain")))
    assert told.resets[0].cause is Cause.MIDDLEBOX
    assert not bad(told, Level.MUST, Level.SHOULD)


def test_over_the_loopback_nobody_else_can_have_sent_it() -> None:
    trace = play(C.notify(), S.rst(active=True))
    near = judge(trace, Knowledge(near=True))
    assert near.resets[0].vouched
    assert "TLS13-NOTIFY" in bad(near, Level.MUST)
    assert not bad(judge(trace), Level.MUST)
    odd = judge(trace, Knowledge(near=True, odd=1))  # and yet somebody was caught at it
    assert not bad(odd, Level.MUST)


def test_the_end_of_a_connection_without_a_capture_is_settled_by_nobody() -> None:
    trace = play(C.notify(), S.rst(active=True), coverage=Coverage.NONE)
    closing = closing_of(trace)
    assert maker_of(closing, ()) is Maker.UNSETTLED
    assert maker_of(closing, (), near=True) is Maker.SERVER
    assert judge(trace, NOTHING_KNOWN).outcome is Outcome.RESET_BEFORE_FIN


def test_whoever_adds_a_rule_need_not_think_of_it() -> None:
    failed = RuleResult("X", Level.MUST, Result.FAIL, "broken")
    assert as_far_as_settled(failed, Maker.OTHERS, of_server=True, is_apart=False) is None
    left = as_far_as_settled(failed, Maker.UNSETTLED, of_server=True, is_apart=False)
    assert left is not None
    assert left.result is Result.INFO
    assert as_far_as_settled(failed, Maker.OTHERS, of_server=True, is_apart=True) is failed


@pytest.mark.parametrize(
    ("level", "left"), [(Level.SHOULD, Result.INFO), (Level.INTEROP, Result.WARN)]
)
def test_what_it_does_to_clients_it_does_whoever_made_it(level: Level, left: Result) -> None:
    """A box that resets idle connections made no server break the SHOULD of a graceful end."""
    warned = RuleResult("X", level, Result.WARN, "ungraceful")
    told = as_far_as_settled(warned, Maker.UNSETTLED, of_server=True, is_apart=False)
    assert told is not None
    assert told.result is left


NOT_ITS_OWN = [c for c in Cause if not c.row.by_sender and c is not Cause.REFUSED]


@pytest.mark.parametrize(("cause", "side"), list(product(NOT_ITS_OWN, Side)))
def test_nobody_is_told_to_mend_what_something_else_made(cause: Cause, side: Side) -> None:
    for provoked in (None, *Provoked):
        advice = remedy_of(Situation(cause, side, provoked)).advice
        assert Party.SERVER not in {one.party for one in advice}


# --- a FIN in the server's name, and no alert ---------------------------------------------------

_LIKE_A_PROXYS = [(silence(2), S.fin()), (C.fin(), S.fin()), (C.notify(), C.fin(), S.fin())]


@pytest.mark.parametrize("lines", _LIKE_A_PROXYS)
@pytest.mark.parametrize("tls", ["1.2", "1.3"])
def test_a_fin_as_a_proxy_sends_it_breaks_no_must(tls: str, lines: tuple[Line, ...]) -> None:
    """HAProxy in TCP mode and socat end idle connections so; a polite server failed for it."""
    trace = play(*lines, tls=tls)
    assert bad(judge(trace), Level.MUST, Level.SHOULD) == set()
    assert any("no proxy before it" in r.text for r in judge(trace).results)
    for known in (Knowledge(near=True), Knowledge(wordless=True)):
        assert bad(judge(trace, known), Level.MUST)


@pytest.mark.parametrize(
    "lines",
    [
        (C.goodbye(), S.fin()),
        (C.notify(), S.fin()),
        (silence(2), S.data(), S.fin()),
        (crossing(C.fin(), S.fin()),),
    ],
)
def test_a_fin_that_no_proxy_sends_by_itself_is_the_servers(lines: tuple[Line, ...]) -> None:
    assert bad(judge(play(*lines)), Level.MUST)


def test_a_reset_that_did_not_reach_our_socket_leaves_nothing_to_blame_a_server_for() -> None:
    """A SYN proxy passed a server's RST on with a wrong number: to us it looks open for ever."""
    stray = S.rst(active=True).but(start=-70_000)
    told = play(C.notify(), stray, silence(1), gives_up(), tls="1.2")
    events = tuple(e for e in told.drive.events if e.kind is not EventKind.RESET)
    trace = replace(told, drive=replace(told.drive, events=events))
    assert maker_of(closing_of(trace), judge(trace).resets) is Maker.OTHERS
    assert bad(judge(trace)) == set()


_BOXS = [
    pytest.param((S.fin().but(ttl=57),), "TTL 57", id="ttl"),
    pytest.param((S.fin().but(ip_id=4711),), "IP ID 4711", id="id"),
    pytest.param((S.fin().but(timestamps=False),), "no TCP timestamps", id="stamps"),
    pytest.param((S.fin(), C.fin(), S.unknown()), "continues sending", id="goes on"),
    pytest.param((S.fin(), C.data(), S.ack().but(start=400)), "does not count it", id="unaware"),
]
"""A FIN that a box makes in the server's name when it sees our alert."""


@pytest.mark.parametrize(("lines", "sign"), _BOXS)
@pytest.mark.parametrize("said", [C.notify(), C.goodbye(), silence(2)])
@pytest.mark.parametrize("tls", ["1.2", "1.3"])
def test_a_fin_that_another_machine_made_is_not_the_servers(
    tls: str, said: Line, lines: tuple[Line, ...], sign: str
) -> None:
    trace = play(said, *lines, tls=tls)
    for known in (NOTHING_KNOWN, Knowledge(wordless=True)):
        told = judge(trace, known)
        assert not bad(told, Level.MUST, Level.SHOULD)
        assert any("another machine's" in note and sign in note for note in told.notes)
        results = {(r.rule, r.result, r.text) for r in told.results}
        what = "a FIN that the server did not make ended the connection"
        assert ("INTEROP-RESET-BEFORE-FIN", Result.INFO, what) in results  # and it is no pass
    assert not digest_of(trace).unasked  # nor does it bear witness against the server
    assert bad(judge(trace, Knowledge(near=True)), Level.MUST)  # nothing lies in between


@pytest.mark.parametrize(
    "behind",
    [
        (C.fin(), S.ack()),
        (C.data(), S.rst()),
        (S.again(FIRST + 1), C.fin(), S.ack().but(ip_id=0)),
        (C.ack(), silence(1), S.ack().but(start=400, ip_id=52004)),
    ],
)
def test_a_fin_that_bears_all_marks_of_the_servers_packets_is_the_servers(
    behind: tuple[Line, ...],
) -> None:
    """What a closed socket sends behind its FIN speaks for nobody else: keepalive probes, too."""
    told = judge(play(C.notify(), S.fin(), *behind))
    assert bad(told, Level.MUST)
    assert not any("another machine's" in note for note in told.notes)


def test_who_answers_a_syn_may_be_another_than_the_server() -> None:
    """A SYN proxy's SYN-ACK has a TTL of its own."""
    trace = play(C.notify(), S.fin())
    segments = tuple(
        s._replace(ttl=63) if s.syn and s.side is Side.SERVER else s for s in trace.segments
    )
    assert bad(judge(replace(trace, segments=segments)), Level.MUST)


def test_where_no_header_was_seen_a_box_may_have_answered_our_alert() -> None:
    trace = play(C.notify(), S.fin(), coverage=Coverage.NONE)
    assert not bad(judge(trace), Level.MUST, Level.SHOULD)
    assert any("no proxy before it" in r.text for r in judge(trace).results)
    assert bad(judge(play(C.goodbye(), S.fin(), coverage=Coverage.NONE)), Level.MUST)
