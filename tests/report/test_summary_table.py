"""The telling columns, the names of groups and who is safe behind a forwarder."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.report.builders import make_run
from tests.report.vendors import (
    BARE,
    CLOSED,
    HASTY,
    NEVER_IDLE,
    Endings,
    cell,
    five,
    run_of,
    vendor,
)
from tlsprobe.model.judgement import Verdict
from tlsprobe.model.run import Cell
from tlsprobe.report.ending import NOT_MEASURED
from tlsprobe.report.questions import QUESTIONS, answer, group_names
from tlsprobe.report.summary_table import COLUMNS, answers_of, safety_of, summary_of


def test_servers_that_agree_share_a_line_and_absent_ones_come_last() -> None:
    lines = summary_of(five())
    assert [line.names for line in lines] == [
        ("nginx", "nginx (as a proxy)"),
        ("PostgreSQL",),
        ("redis",),
        ("h2o",),
    ]
    assert lines[-1].reason == "no such program: h2o"
    assert all(len(line.answers) == len(COLUMNS) + 1 for line in lines[:-1])


def test_each_column_has_its_answer() -> None:
    assert answers_of(run_of("hasty", HASTY)) == (
        "close_notify, FIN",
        "close_notify, FIN",
        "close_notify, FIN",
        "close_notify, FIN",
        "close_notify, RST",
        "no",
    )
    idle, first, *_ = answers_of(run_of("redis", NEVER_IDLE))
    assert (idle, first) == ("stays open", "close_notify, FIN")


def test_what_was_not_measured_is_said() -> None:
    assert answers_of(make_run()) == (NOT_MEASURED,) * (len(COLUMNS) + 1)


def test_a_rare_reset_in_place_of_the_fin_is_not_hidden() -> None:
    run = make_run(cell("terminate-close-notify", "n f r", rare="n r"))
    assert answers_of(run)[4] == "close_notify, FIN, RST (at times RST in place of FIN)"


@pytest.mark.parametrize(
    ("cells", "safe"),
    [
        ([cell("terminate", "n f")], "yes"),
        ([cell("terminate", "n f r")], "yes"),
        ([cell("terminate", "n f", rare="n r")], "not always"),
        ([cell("idle-expiry-race", "n r")], "not always"),
        ([cell("terminate", "n r")], "no"),
        ([replace(cell("terminate", "n f"), path_alive=False)], "no"),
        (
            [cell("fin-only", "n f"), replace(cell("terminate", "n r"), role="control")],
            "yes",
        ),
        ([replace(cell("terminate", "n f"), verdict=Verdict.INCONCLUSIVE)], NOT_MEASURED),
    ],
)
def test_safe_is_who_gives_readers_no_error(cells: list[Cell], safe: str) -> None:
    assert safety_of(make_run(*cells)) == safe


def names_of(*groups: list[Endings]) -> list[str]:
    return group_names([[run_of("x", habit) for habit in group] for group in groups])


def test_a_group_is_named_by_what_tells_it_apart() -> None:
    bare, hasty = names_of([BARE, BARE], [HASTY])
    assert bare.startswith("answer close_notify with a bare FIN, ")
    assert hasty.startswith("answer close_notify, ")
    assert "reset in place of their FIN when a close_notify follows the goodbye" in hasty
    assert "idle" not in bare + hasty  # both do the same there


def test_no_two_groups_have_one_name() -> None:
    habits = [CLOSED, BARE, HASTY, NEVER_IDLE, CLOSED | {"terminate-close-notify": "n f r"}]
    names = names_of(*([habit] for habit in habits))
    assert len(set(names)) == len(habits), names


def test_groups_that_no_question_parts_are_parted_by_a_sequence() -> None:
    one, other = names_of(
        [CLOSED | {"fin-before-request": "f"}], [CLOSED | {"fin-before-request": "n f"}]
    )
    assert one.endswith("fin-before-request: FIN")
    assert other.endswith("fin-before-request: close_notify, FIN")


def test_what_most_of_a_group_do_is_called_so() -> None:
    mostly, _ = names_of([CLOSED, CLOSED, BARE], [NEVER_IDLE])
    assert "mostly answer close_notify" in mostly


def test_versions_that_differ_are_named() -> None:
    run = make_run(cell("close-notify-fin", "n f", "1.2"), cell("close-notify-fin", "f", "1.3"))
    said = answer(run, QUESTIONS[0])
    assert said == "answer close_notify in TLS 1.2, answer close_notify with a bare FIN in TLS 1.3"
    assert answer(make_run(), QUESTIONS[0]) == ""


def test_nothing_measured_is_a_name_too() -> None:
    assert group_names([[make_run()]]) == ["no measured difference"]
    assert vendor("a", CLOSED).run is not None
