"""The idle timeout over cells, and the advice that stays below it."""

from __future__ import annotations

import pytest

from tlsprobe.judge.idle import NOT_WAITED_FOR, advised
from tlsprobe.judge.idle import idle_of as told_by
from tlsprobe.model.judgement import Verdict, Word
from tlsprobe.model.run import Cell, CountedFrom, Idle, Spread
from tlsprobe.model.trace import Side


def cell(
    *seconds: float,
    signature: str = "nf",
    sequence: str = "idle-expiry",
    count: int = 3,
    accept: tuple[float, ...] = (),
) -> Cell:
    """A cell whose connections were ended after these many seconds, counted from either packet."""
    timing = {}
    for name, values in (("idle_to_end", seconds), ("accept_to_end", accept)):
        ordered = sorted(1e6 * value for value in values)
        if ordered:
            middle = ordered[len(ordered) // 2]
            timing[name] = Spread(len(ordered), ordered[0], middle, ordered[-1], ordered[-1])
    signatures = {signature: count}
    return Cell(sequence, "", "1.3", count, Verdict.PASS, signatures=signatures, timing_us=timing)


def words(signature: str) -> tuple[Word, ...]:
    sides = {True: Side.CLIENT, False: Side.SERVER}
    return tuple(Word(sides[word.isupper()], word.lower()) for word in signature.split())


def idle_of(cells: list[Cell]) -> Idle | None:
    return told_by(cells, {text: words(text) for cell in cells for text in cell.signatures})


def test_without_an_idle_sequence_there_is_nothing_to_say() -> None:
    assert idle_of([]) is None
    assert idle_of([cell(60, sequence="server-close-reply")]) is None


def test_a_cell_that_was_never_measured_says_nothing() -> None:
    unsupported = Cell("idle-expiry", "", "1.2", 0, Verdict.UNSUPPORTED)
    assert idle_of([unsupported]) is None


def test_the_timeout_and_its_spread() -> None:
    idle = idle_of([cell(60.01, 60.02, 60.03), cell(60.02)])
    assert idle is not None
    assert idle.timeout_s == pytest.approx(60.02, abs=0.011)
    assert idle.spread_s == pytest.approx(0.02)


@pytest.mark.parametrize("timeout", [0.6, 1, 5, 60, 75, 3600])
def test_the_advice_lies_safely_below_the_shortest_expiry(timeout: float) -> None:
    idle = idle_of([cell(timeout, timeout * 1.2)])
    assert idle is not None
    assert idle.advice_s is not None
    assert 0 < idle.advice_s < timeout
    assert f"{idle.advice_s:g} s" in idle.advice


def test_a_minute_leaves_five_seconds() -> None:
    idle = idle_of([cell(60.0)])
    assert idle is not None
    assert idle.advice_s == 55


@pytest.mark.parametrize(
    ("signature", "how"),
    [
        ("nf", "close_notify+fin"),
        ("n f", "close_notify, fin"),
        ("f", "fin"),
        ("r", "rst"),
    ],
)
def test_how_names_the_events(signature: str, how: str) -> None:
    idle = idle_of([cell(60, signature=signature)])
    assert idle is not None
    assert idle.how == how


def test_how_is_the_commonest_way() -> None:
    cells = [cell(60, signature="f", count=3), cell(60, signature="n f"), cell(60, signature="n f")]
    idle = idle_of(cells)
    assert idle is not None
    assert idle.how == "close_notify, fin"


def test_a_server_that_ended_nothing_has_no_timeout() -> None:
    idle = idle_of([cell(signature="")])
    assert idle is not None
    assert (idle.timeout_s, idle.spread_s, idle.advice_s) == (None, None, None)
    assert idle.how == "silence"
    assert "no idle connection" in idle.advice


def test_sequences_in_which_we_act_are_left_out() -> None:
    idle = idle_of([cell(60), cell(5, sequence="idle-expiry-reply", signature="nf N r")])
    assert idle is not None
    assert idle.timeout_s == 60


def test_the_timers_are_told_apart() -> None:
    idle = idle_of(
        [
            cell(75, signature="n f"),
            cell(60, sequence="idle-before-request", signature="f"),
            cell(signature="", sequence="idle-before-handshake"),
        ]
    )
    assert idle is not None
    assert idle.timeout_s == 75
    assert list(idle.kinds) == [
        "after a request",
        "before the first request",
        "before the handshake",
    ]
    assert idle.kinds["before the first request"].timeout_s == 60
    assert idle.kinds["before the first request"].how == "fin"
    assert idle.kinds["before the handshake"].timeout_s is None


def test_without_a_request_the_next_timer_speaks_for_the_server() -> None:
    idle = idle_of([cell(30, sequence="idle-before-request")])
    assert idle is not None
    assert idle.advice_s == 27


@pytest.mark.parametrize(
    "other", ["idle-before-request", "idle-partial-request", "idle-before-handshake"]
)
def test_another_timer_is_not_told_as_that_of_a_connection_after_a_request(other: str) -> None:
    """A server that bounds its handshakes, and keeps connections, gives pools no limit."""
    idle = idle_of([cell(signature=""), cell(10, sequence=other)])
    assert idle is not None
    assert idle.timeout_s is None
    assert idle.advice_s is None
    assert idle.advice == (
        "the server ended no connection that was idle after a request while we waited"
    )
    assert [timer.timeout_s for timer in idle.kinds.values()] == [None, 10]


@pytest.mark.parametrize("other", ["idle-partial-request", "idle-before-handshake"])
def test_a_timer_in_the_middle_of_something_is_no_idle_timeout(other: str) -> None:
    """Nor is it said that the server ends none: nobody waited where a client keeps connections."""
    idle = idle_of([cell(10, sequence=other)])
    assert idle is not None
    assert (idle.timeout_s, idle.how, idle.advice_s) == (None, "not measured", None)
    assert idle.advice == NOT_WAITED_FOR
    assert [timer.timeout_s for timer in idle.kinds.values()] == [10]


@pytest.mark.parametrize(
    ("shortest", "advice"),
    [(59.914, 54), (60.02, 55), (5.004, 4.5), (10.9, 9.5), (2.5, 2.0), (1.0, 0.9), (0.3, 0.0)],
)
def test_advice_is_a_number_that_people_write(shortest: float, advice: float) -> None:
    assert advised(shortest) == advice


def test_nothing_is_safely_below_next_to_nothing() -> None:
    idle = idle_of([cell(0.22)])
    assert idle is not None
    assert idle.advice_s == 0
    assert "0 s" not in idle.advice
    assert "no client should keep one" in idle.advice


def test_times_far_apart_are_no_timeout_to_stay_below() -> None:
    """unbound with its ten slots ended some of ours after 0.22 s, where its timeout is 5 s."""
    idle = idle_of([cell(0.22, 5.0, 5.0)])
    assert idle is not None
    assert (idle.timeout_s, idle.advice_s) == (5.0, None)
    assert "--connections 2" in idle.advice
    assert "keep" not in idle.advice


def test_a_limit_on_the_age_of_a_connection_counts_from_its_beginning() -> None:
    """As APISIX does: 60.0 s from the accept, whenever the last response was."""
    idle = idle_of([cell(58.96, 59.4, 59.91, accept=(60.0, 60.002, 60.004))])
    assert idle is not None
    assert idle.counted_from is CountedFrom.ACCEPT
    assert idle.timeout_s == 60.002
    assert idle.advice_s == 55
    assert "from its beginning" in idle.advice


def test_sequences_that_begin_to_wait_at_different_times_tell_from_where_it_counts() -> None:
    after = cell(59.0, accept=(60.0,))
    before = cell(59.9, sequence="idle-before-request", accept=(60.001,))
    idle = idle_of([after, before])
    assert idle is not None
    assert idle.counted_from is CountedFrom.ACCEPT


def test_a_timer_that_a_request_restarts_counts_from_the_last_exchange() -> None:
    idle = idle_of([cell(60.0, 60.001, 60.002, accept=(60.2, 60.6, 61.1))])
    assert idle is not None
    assert idle.counted_from is CountedFrom.EXCHANGE
    assert idle.timeout_s == 60.001


def test_where_both_agree_the_last_exchange_is_taken() -> None:
    idle = idle_of([cell(60.0, 60.004, accept=(60.003, 60.004))])
    assert idle is not None
    assert idle.counted_from is CountedFrom.EXCHANGE
