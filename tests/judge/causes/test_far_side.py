"""What captures on both sides of a router prove: whose RST it was, and why.

ARCHITECTURE.md, "Facts, knowledge, judgement": what the far side of a path saw is knowledge.
"""

from __future__ import annotations

import pytest

from tests.judge.playbook import C, S, play, silence
from tlsprobe.judge.verdict import judge
from tlsprobe.model.causes import Cause
from tlsprobe.model.far_side import FarFact, Renaming, ResetNumbers
from tlsprobe.model.judgement import Confidence, Control, Judgement, Level, Result
from tlsprobe.model.knowledge import NOTHING_KNOWN, Knowledge
from tlsprobe.model.trace import Trace

CLIENT = "192.0.2.1:40000"
RENAMING = Renaming("10.0.0.1:51000", "10.0.0.1:9000", 6, 7)

IN_PLACE_OF_FIN = play(C.goodbye(), C.notify(), S.rst(active=True), protocol="postgres")
BARE = play(silence(4.5), C.request(), S.rst(), tls="1.2", protocol="postgres")


def numbers(trace: Trace) -> ResetNumbers:
    (rst,) = (segment for segment in trace.segments if segment.rst)
    return ResetNumbers(rst.start, rst.ack)


def made(trace: Trace) -> Knowledge:
    return Knowledge(far=FarFact(CLIENT, 0, made=(numbers(trace),)))


def sent(trace: Trace, renaming: Renaming | None = None) -> Knowledge:
    return Knowledge(far=FarFact(CLIENT, 0, sent=(numbers(trace),), renaming=renaming))


def broken(judgement: Judgement) -> set[str]:
    """The rules of specifications that it broke: those bind the server."""
    bad = {Result.FAIL, Result.WARN}
    levels = {Level.MUST, Level.SHOULD}
    return {r.rule for r in judgement.results if r.result in bad and r.level in levels}


@pytest.mark.parametrize("trace", [IN_PLACE_OF_FIN, BARE])
def test_an_rst_that_the_server_never_sent_is_a_boxs(trace: Trace) -> None:
    (reset,) = judge(trace, made(trace)).resets
    assert (reset.cause, reset.confidence) == (Cause.MIDDLEBOX, Confidence.HIGH)
    assert "the server never sent it" in reset.evidence[0]


@pytest.mark.parametrize(
    ("trace", "knowledge"),
    [
        pytest.param(IN_PLACE_OF_FIN, made(IN_PLACE_OF_FIN), id="a firewall resets"),
        pytest.param(BARE, made(BARE), id="a firewall answers late data"),
        pytest.param(BARE, sent(BARE, RENAMING), id="NAT lost its entry"),
    ],
)
def test_a_server_is_not_failed_for_an_end_that_it_did_not_make(
    trace: Trace, knowledge: Knowledge
) -> None:
    """postgres-resets-idle: FAIL TLS12-NOTIFY beside "the server never sent it"."""
    assert broken(judge(trace, knowledge)) == set()
    hurts = {r.rule: r.result for r in judge(trace, knowledge).results}
    assert hurts["INTEROP-RESET-BEFORE-FIN"] is Result.INFO


def test_the_same_reset_of_the_server_itself_breaks_the_rule() -> None:
    assert broken(judge(IN_PLACE_OF_FIN, sent(IN_PLACE_OF_FIN))) == {"TLS13-NOTIFY"}
    assert broken(judge(IN_PLACE_OF_FIN)) == set()  # nothing but the RST says that it is its own


def test_what_is_hurt_is_said_without_blaming_the_server() -> None:
    texts = [r.text for r in judge(BARE, made(BARE)).results]
    assert any("the server did not make" in text for text in texts)
    assert not any("the server reset" in text for text in texts)


def test_a_renamed_connection_has_lost_its_state() -> None:
    (reset,) = judge(BARE, sent(BARE, RENAMING)).resets
    assert (reset.cause, reset.confidence) == (Cause.NO_STATE, Confidence.HIGH)
    assert "10.0.0.1:9000, which never made a handshake" in reset.evidence[0]


def test_what_the_server_sent_is_judged_by_the_packets() -> None:
    assert why(IN_PLACE_OF_FIN, sent(IN_PLACE_OF_FIN)) == why(IN_PLACE_OF_FIN)


def why(trace: Trace, knowledge: Knowledge = NOTHING_KNOWN) -> tuple[Cause, Confidence]:
    (reset,) = judge(trace, knowledge).resets
    return reset.cause, reset.confidence


def test_an_rst_seen_on_both_sides_was_not_made_on_the_way() -> None:
    both = FarFact(CLIENT, 0, (numbers(IN_PLACE_OF_FIN),), (numbers(IN_PLACE_OF_FIN),))
    assert why(IN_PLACE_OF_FIN, Knowledge(far=both)) == why(IN_PLACE_OF_FIN)


def test_a_control_has_no_say_about_what_is_proved() -> None:
    known = Knowledge(
        control=Control("terminate", 3, 3),
        far=FarFact(CLIENT, 0, made=(numbers(IN_PLACE_OF_FIN),)),
    )
    (reset,) = judge(IN_PLACE_OF_FIN, known).resets
    assert (reset.cause, reset.control) == (Cause.MIDDLEBOX, None)


def test_our_own_resets_are_ours() -> None:
    trace = play(C.abort())
    assert judge(trace, made(trace)) == judge(trace)
