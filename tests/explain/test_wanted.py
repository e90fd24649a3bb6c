"""What `explain` can be asked for: one connection, one cause, a time."""

from __future__ import annotations

import pytest

from tests.explain.talk import (
    ACK,
    ALERT_13,
    CLIENT,
    DATA,
    FIN,
    PSH,
    RST,
    START_NS,
    Talk,
    explained,
    sealed,
    tls13,
)
from tlsprobe.errors import UsageError
from tlsprobe.explain import Filter
from tlsprobe.explain.wanted import Moment, Window, read_moment
from tlsprobe.model.causes import Cause
from tlsprobe.model.explanation import Explanation
from tlsprobe.model.trace import Side

DAY_NS = 86_400 * 10**9


def talk(port: int, after_s: float = 0) -> Talk:
    return tls13(Talk(client=(CLIENT[0], port), seqs=[port, port])).wait(after_s)


def three() -> list[Talk]:
    """One that the server resets at once, one after its FIN, and one that the client aborts."""
    unread = talk(40001).c(PSH | ACK, sealed(22)).c(PSH | ACK, ALERT_13).s(RST | ACK)
    late = talk(40002, after_s=5).s(PSH | ACK | FIN, ALERT_13).c(PSH | ACK, DATA).bare_rst()
    abort = talk(40003, after_s=9).c(PSH | ACK, DATA).s(PSH | ACK, DATA).c(RST | ACK)
    return [unread, late, abort]


def asked(wanted: Filter) -> Explanation:
    return explained(*three(), talk(40004), wanted=wanted)


def clients(wanted: Filter) -> list[int]:
    return sorted(int(flow.client.rpartition(":")[2]) for flow in asked(wanted).flows)


@pytest.mark.parametrize(
    ("wanted", "ports"),
    [
        (Filter(), [40001, 40002, 40003]),
        (Filter(cause=Cause.UNREAD_AT_CLOSE), [40001]),
        (Filter(side=Side.CLIENT), [40003]),
        (Filter(side=Side.SERVER), [40001, 40002]),
        (Filter(side=Side.CLIENT, cause=Cause.DATA_AFTER_CLOSE), []),
        (Filter(flow="192.0.2.1:40002"), [40002]),
        (Filter(flow="192.0.2.1:40004"), [40004]),
        (Filter(flow="192.0.2.2:443", quiet=True), [40001, 40002, 40003, 40004]),
        (Filter(since=Moment(3 * 10**9, since_first=True)), [40002, 40003]),
        (Filter(until=Moment(3 * 10**9, since_first=True)), [40001]),
        (
            Filter(since=Moment(START_NS + 3 * 10**9), until=Moment(7 * 10**9, since_first=True)),
            [40002],
        ),
    ],
)
def test_filters(wanted: Filter, ports: list[int]) -> None:
    assert clients(wanted) == ports


def test_what_was_not_asked_for_is_counted() -> None:
    found = asked(Filter(side=Side.CLIENT))
    assert (len(found.flows), found.passed, found.quiet) == (1, 2, 1)


def test_a_connection_that_is_asked_for_is_shown_whatever_is_the_matter() -> None:
    (quiet,) = asked(Filter(flow="192.0.2.1:40004")).flows
    assert quiet.resets == ()
    assert quiet.ladder


def test_a_packet_names_its_connection() -> None:
    found = asked(Filter())
    for flow in found.flows:
        (only,) = asked(Filter(packet=flow.resets[0].reset.packet)).flows
        assert only.client == flow.client


def test_a_packet_names_the_younger_of_two_on_the_same_ports() -> None:
    first = talk(40001).c(PSH | ACK, DATA).s(RST | ACK)
    second = Talk(client=first.client, seqs=[9_000_000, 8_000_000], now=first.now + DAY_NS)
    tls13(second).c(ACK | FIN).s(ACK | FIN)
    (flow,) = explained(first, second, wanted=Filter(packet=first.number + 3)).flows
    assert flow.resets == ()
    (flow,) = explained(first, second, wanted=Filter(packet=3)).flows
    assert len(flow.resets) == 1


@pytest.mark.parametrize("kind", ["pcap", "text"])
def test_a_packet_that_is_not_there_is_the_users_mistake(kind: str) -> None:
    with pytest.raises(UsageError, match="packet 9999 of given"):
        explained(talk(40001), kind=kind, wanted=Filter(packet=9999))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("typed", "moment"),
    [
        ("7.5", Moment(7_500_000_000, since_first=True)),
        ("12:00", Moment(43_200 * 10**9, since_midnight=True)),
        ("12:00:03.25", Moment(43_203_250_000_000, since_midnight=True)),
        ("2026-09-21T14:13:20", Moment(START_NS)),
        ("2026-09-21 14:13:20Z", Moment(START_NS)),
        ("2026-09-21T16:13:20.000001+02:00", Moment(START_NS + 1000)),
        ("yesterday", None),
        ("", None),
        ("-3", None),
    ],
)
def test_times_as_they_are_typed(typed: str, moment: Moment | None) -> None:
    assert read_moment(typed) == moment


def test_a_time_of_day_is_of_the_captures_day() -> None:
    midnight = START_NS - START_NS % DAY_NS
    assert Moment(3_600 * 10**9, since_midnight=True).at(START_NS) == midnight + 3_600 * 10**9
    assert Moment(5, since_first=True).at(START_NS) == START_NS + 5
    assert Moment(5).at(START_NS) == 5


def test_a_window_without_times_holds_everything() -> None:
    wanted = Filter(since=Moment(5, since_first=True))
    assert Window.of(wanted, None).holds(0)
    assert not Window.of(wanted, 10).holds(14)
    assert Window.of(wanted, 10).meets(3, 15)
