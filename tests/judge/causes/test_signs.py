"""What speaks for something in between, what is only noted, and that any capture is survived."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.judge.playbook import FIRST, TTL, C, Line, S, play, silence, stranger
from tlsprobe.judge.causes import resets_of
from tlsprobe.model.causes import Cause
from tlsprobe.model.judgement import Confidence, Reset
from tlsprobe.model.trace import Coverage, Flag, Mark, Record, RecordKind, Segment, Side, Trace

FAR_NS = 20_000_000
OTHER_TTL = TTL - 11
JUMPED = 9000
FOREIGN_TTL = S.rst(active=True).but(ttl=OTHER_TTL)


def first(trace: Trace) -> Reset:
    return resets_of(trace)[0]


def notes(reset: Reset) -> list[str]:
    return [sentence for sentence in reset.evidence if sentence.startswith("note:")]


ONE_SIGN = {
    "TTL": (FOREIGN_TTL,),
    "IP ID": (S.rst(active=True).but(ip_id=JUMPED),),
    "continues sending": (C.notify(), S.rst(), S.data()),
    "timestamps": (S.rst(active=True).but(timestamps=False),),
    "window of 8192": (C.notify(), silence(0.02), S.rst().but(window=8192)),
    "sequence number": (S.rst(active=True).but(start=3),),
    "round trip": (C.notify(), S.rst()),
}
SOON = {"continues sending": 100_000}
"""Those in which an answer after no time is no sign of its own: the round trip is short."""


@pytest.mark.parametrize("sign", ONE_SIGN)
def test_one_sign_is_a_note(sign: str) -> None:
    reset = first(play(*ONE_SIGN[sign], rtt_ns=SOON.get(sign, FAR_NS)))
    assert reset.cause is not Cause.MIDDLEBOX
    (note,) = notes(reset)
    assert sign in note


@pytest.mark.parametrize("sign", ONE_SIGN)
def test_one_sign_leaves_a_middlebox_open(sign: str) -> None:
    reset = first(play(*ONE_SIGN[sign], rtt_ns=SOON.get(sign, FAR_NS)))
    assert reset.confidence is not Confidence.HIGH
    assert Cause.MIDDLEBOX in reset.alternatives


@pytest.mark.parametrize("length", [0, 10])
def test_bytes_in_an_rst_leave_a_middlebox_open_though_print_shows_none_of_them(
    length: int,
) -> None:
    """A kernel sends none; of a text their number is all that is known."""
    reset = first(stranger(play(C.data(), S.fin(), S.rst(active=True).but(length=length))))
    assert (Cause.MIDDLEBOX in reset.alternatives) is bool(length)


def test_a_machine_that_says_beside_its_rst_why_it_made_it_is_one_in_between() -> None:
    """As a load balancer's own tcpdump prints: no bytes of the stream."""
    why = b"[0x2c0e7ce:1100] TCP RST from remote system"
    reset = first(stranger(play(C.data(), S.rst(active=True).but(payload=why))))
    assert (reset.cause, reset.confidence) == (Cause.MIDDLEBOX, Confidence.MEDIUM)
    assert Cause.UNREAD_AT_CLOSE in reset.alternatives
    assert any(why.decode() in line and "says why" in line for line in reset.evidence)


@pytest.mark.parametrize("sign", ONE_SIGN)
def test_one_sign_does_not_change_what_the_rst_is_put_down_to(sign: str) -> None:
    causes = {
        "TTL": Cause.DELIBERATE,
        "IP ID": Cause.DELIBERATE,
        "continues sending": Cause.NO_STATE,
        "timestamps": Cause.DELIBERATE,
        "window of 8192": Cause.NO_STATE,
        "sequence number": Cause.UNKNOWN,
        "round trip": Cause.NO_STATE,
    }
    assert first(play(*ONE_SIGN[sign], rtt_ns=SOON.get(sign, FAR_NS))).cause is causes[sign]


DISOWNED = [
    pytest.param((S.rst(active=True), C.ack(), S.data()), id="active"),
    pytest.param((C.notify(), S.rst(active=True), S.data()), id="active, bytes unread"),
    pytest.param((S.fin(), C.notify(), S.rst(active=True), S.data()), id="active behind a FIN"),
    pytest.param((S.fin(), C.notify(), S.rst(), S.data()), id="passive behind a FIN"),
]


@pytest.mark.parametrize("ipv6", [False, True])
@pytest.mark.parametrize("lines", DISOWNED)
def test_who_goes_on_sending_has_neither_reset_nor_closed(
    lines: tuple[Line, ...], ipv6: bool
) -> None:
    reset = first(play(*lines, ipv6=ipv6))
    assert (reset.cause, reset.confidence) == (Cause.MIDDLEBOX, Confidence.MEDIUM)


def test_an_rst_that_overtook_data_is_its_senders_own() -> None:
    """Its number says how much went before it, and that much arrives behind it."""
    overtaken = play(S.rst(active=True), S.data())
    *before, rst, data = overtaken.segments
    rst = rst._replace(start=data.end)
    reset = first(replace(overtaken, segments=(*before, rst, data)))
    assert reset.cause is not Cause.MIDDLEBOX
    assert notes(reset) == []


def test_an_rst_without_timestamps_is_no_sign_where_there_were_none() -> None:
    without = S.data().but(timestamps=False), S.rst(active=True).but(timestamps=False)
    assert notes(first(play(*without))) == []


TWO_SIGNS = [
    pytest.param((FOREIGN_TTL.but(ip_id=JUMPED),), id="TTL, IP ID"),
    pytest.param((FOREIGN_TTL, S.data()), id="TTL, data goes on"),
    pytest.param((FOREIGN_TTL.but(start=3),), id="TTL, sequence number"),
    pytest.param((C.notify(), S.rst().but(ttl=OTHER_TTL)), id="TTL, round trip"),
    pytest.param((S.rst(active=True).but(ip_id=JUMPED), S.data()), id="IP ID, data goes on"),
    pytest.param((S.fin(), C.notify(), S.rst().but(ttl=OTHER_TTL)), id="behind a FIN"),
]

THREE_SIGNS = [
    pytest.param((FOREIGN_TTL.but(ip_id=JUMPED), S.data()), id="TTL, IP ID, data goes on"),
    pytest.param((FOREIGN_TTL.but(ip_id=JUMPED, start=3),), id="TTL, IP ID, sequence number"),
]


def test_a_doubt_who_made_it_takes_nothing_from_what_its_header_shows() -> None:
    """An answer behind a FIN that ended a silence may be a box's: here three signs say it is."""
    foreign = S.rst().but(ttl=OTHER_TTL, ip_id=JUMPED)
    reset = first(
        play(C.data(), silence(0.3), S.fin(), C.notify(), foreign, S.data(), rtt_ns=FAR_NS)
    )
    assert (reset.cause, reset.confidence) == (Cause.MIDDLEBOX, Confidence.HIGH)
    assert Cause.MIDDLEBOX not in reset.alternatives


@pytest.mark.parametrize("lines", TWO_SIGNS)
def test_row_2_two_signs_are_a_middlebox_perhaps(lines: tuple[Line, ...]) -> None:
    reset = first(play(*lines, rtt_ns=FAR_NS))
    assert (reset.cause, reset.confidence) == (Cause.MIDDLEBOX, Confidence.MEDIUM)
    assert len(reset.evidence) == 2
    assert notes(reset) == []


@pytest.mark.parametrize("lines", THREE_SIGNS)
def test_row_2_three_signs_are_a_middlebox(lines: tuple[Line, ...]) -> None:
    reset = first(play(*lines, rtt_ns=FAR_NS))
    assert (reset.cause, reset.confidence) == (Cause.MIDDLEBOX, Confidence.HIGH)
    assert len(reset.evidence) == 3


def test_the_signs_name_packet_and_value() -> None:
    reset = first(play(FOREIGN_TTL.but(ip_id=JUMPED)))
    said = " ".join(reset.evidence)
    assert f"packet {FIRST} has TTL {OTHER_TTL}" in said
    assert str(TTL) in said
    assert str(JUMPED) in said


def test_the_hop_limit_is_a_sign_in_ipv6_too() -> None:
    reset = first(play(FOREIGN_TTL, S.data(), ipv6=True))
    assert reset.cause is Cause.MIDDLEBOX


def test_a_clients_rst_can_be_foreign_as_well() -> None:
    forged = C.rst(active=True).but(ttl=OTHER_TTL, ip_id=JUMPED)
    reset = first(play(S.notify(), forged))
    assert (reset.side, reset.cause) == (Side.CLIENT, Cause.MIDDLEBOX)


GENUINE = [
    pytest.param((S.rst(active=True),), id="active"),
    pytest.param((C.goodbye(), C.notify(), S.notify(), S.rst(active=True)), id="unread"),
    pytest.param((S.fin(), C.notify(), S.rst(active=True)), id="active after FIN"),
    pytest.param((S.fin(), C.notify(), S.rst()), id="passive after FIN, IP ID 0"),
    pytest.param((C.notify(), S.rst()), id="passive without FIN"),
    pytest.param((C.goodbye() + C.fin(), S.notify(), C.rst()), id="the client's"),
    pytest.param((S.notify(), S.rst(active=True), S.again(FIRST)), id="an old segment after it"),
]


@pytest.mark.parametrize("ipv6", [False, True])
@pytest.mark.parametrize("lines", GENUINE)
def test_a_genuine_rst_carries_no_sign(lines: tuple[Line, ...], ipv6: bool) -> None:
    assert notes(first(play(*lines, ipv6=ipv6))) == []


def test_an_answer_after_a_round_trip_is_not_too_soon() -> None:
    slow = (C.notify(), silence(FAR_NS / 1e9), S.rst())
    assert notes(first(play(*slow, rtt_ns=FAR_NS))) == []


@pytest.mark.parametrize(("last", "then"), [(65535, 0), (65535, 1), (500, 503)])
def test_a_counter_that_wraps_or_skips_a_little_is_no_jump(last: int, then: int) -> None:
    trace = play(S.notify().but(ip_id=last), S.rst(active=True).but(ip_id=then))
    assert notes(first(trace)) == []


# --- row 10: timers ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "whose"),
    [(60, "ALB"), (240, "Azure"), (350, "NLB"), (352.5, "NLB"), (432_000, "conntrack")],
)
def test_row_10_silence_near_a_known_timer_is_noted(seconds: float, whose: str) -> None:
    reset = first(play(silence(seconds), C.notify(), S.rst()))
    assert reset.cause is Cause.NO_STATE
    (note,) = notes(reset)
    assert whose in note


@pytest.mark.parametrize("seconds", [0, 5, 100, 300, 3600])
def test_row_10_other_silences_are_not_noted(seconds: float) -> None:
    assert notes(first(play(silence(seconds), C.notify(), S.rst()))) == []


def test_row_10_counts_to_an_rst_that_came_by_itself() -> None:
    (note,) = notes(first(play(silence(350), S.rst(active=True))))
    assert "350" in note


def test_row_10_knows_idle_time_from_a_capture_alone() -> None:
    assert notes(first(stranger(play(silence(240), C.notify(), S.rst()))))


# --- whatever the capture ------------------------------------------------------------------------

offsets = st.integers(-2, 400)
segments = st.builds(
    Segment,
    number=st.integers(1, 99),
    time_ns=st.integers(0, 2**40),
    side=st.sampled_from(Side),
    flags=st.integers(0, 31),
    start=offsets,
    length=st.integers(0, 200),
    ack=st.none() | offsets,
    window=st.integers(0, 65535),
    ttl=st.integers(1, 255),
    ip_id=st.none() | st.integers(0, 65535),
    timestamps=st.booleans(),
)
records = st.builds(
    Record,
    side=st.sampled_from(Side),
    start=offsets,
    end=offsets,
    kind=st.sampled_from(RecordKind),
    time_ns=st.just(0),
    alert=st.none() | st.just((1, 0)),
)
marks = st.none() | st.builds(Mark, st.just(0), st.integers(0, 300), st.integers(0, 300))


@pytest.mark.slow
@given(
    st.lists(segments, max_size=12), st.lists(records, max_size=4), marks, st.sampled_from(Coverage)
)
@settings(deadline=None)
def test_any_capture_gets_one_answer_an_rst(
    given_segments: list[Segment], known: list[Record], mark: Mark | None, coverage: Coverage
) -> None:
    drive = replace(play().drive, records=tuple(known), mark=mark)
    resets = resets_of(Trace(drive, tuple(given_segments), coverage))
    rsts = [s for s in given_segments if s.flags & Flag.RST]
    assert [(r.packet, r.side, r.time_ns) for r in resets] == [
        (s.number, s.side, s.time_ns) for s in rsts
    ]
    assert all(reset.evidence for reset in resets)
    assert all(reset.cause not in reset.alternatives for reset in resets)
