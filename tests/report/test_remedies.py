"""What is said of a remedy that was tried."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.report.test_series import RESET, cell, version
from tlsprobe.model.judgement import Verdict
from tlsprobe.model.profile import LabRemedy
from tlsprobe.model.run import Cell, Run
from tlsprobe.profiles import load_profile
from tlsprobe.report.formats import page_for_folder
from tlsprobe.report.pages.remedies import remedies_page
from tlsprobe.report.remedies import (
    Effect,
    Often,
    TriedRemedy,
    as_quoted,
    is_more,
    tried_remedies,
)

AFTER = "INTEROP-RESET-AFTER-FIN"
SERVER = LabRemedy("cure", "cure on", ("reset-after-fin",), ("close-notify-fin",), {"x": "1"})
CLIENT = replace(SERVER, name="wait", values={}, instead="fin-only")


def a_cell(broken: int, *, rule: str = AFTER, sequence: str = "close-notify-fin") -> Cell:
    return cell(broken, sequence=sequence, trials=20, rule=rule)


def tried(remedy: LabRemedy, plain: tuple[Cell, ...], treated: tuple[Cell, ...]) -> TriedRemedy:
    """What came of one remedy of nginx, before and after."""
    nginx = load_profile("nginx")
    assert nginx.lab is not None
    mine = replace(nginx, lab=replace(nginx.lab, remedies=(remedy,)))
    runs: dict[str, Run] = {"nginx": version("1", *plain)[1]}
    if remedy.values:
        runs["nginx+cure"] = version("1", *treated)[1]
    (found,) = tried_remedies(runs, [mine])
    return found


@pytest.mark.parametrize(
    ("before", "after", "effect"),
    [
        (20, 0, Effect.HELPS),
        (20, 5, Effect.IN_PART),
        (20, 20, Effect.HELPS_NOT),
        (20, 18, Effect.HELPS_NOT),
        (5, 20, Effect.WORSE),
        (0, 0, Effect.NOTHING),
        (2, 0, Effect.UNDECIDED),
    ],
)
def test_the_effect_is_told_by_how_often_it_came_before_and_after(
    before: int, after: int, effect: Effect
) -> None:
    found = tried(SERVER, (a_cell(before),), (a_cell(after),))
    assert found.effect is effect


def test_a_cure_that_brings_a_reset_in_place_of_the_fin_makes_it_worse() -> None:
    found = tried(SERVER, (a_cell(20),), (a_cell(20, rule=RESET),))
    (one,) = found.cells
    assert (one.effect, found.effect) == (Effect.WORSE, Effect.WORSE)
    assert [(came.kind, came.after) for came in one.came] == [("reset-before-fin", Often(20, 20))]


def test_what_a_client_does_instead_is_another_sequence_of_the_same_server() -> None:
    other = a_cell(0, sequence="fin-only")
    found = tried(CLIENT, (a_cell(20), other), ())
    assert found.effect is Effect.HELPS
    assert [(one.sequence, one.before, one.after) for one in found.cells] == [
        ("close-notify-fin", Often(20, 20), Often(0, 20))
    ]


@pytest.mark.parametrize(
    "unsure", [replace(a_cell(0), trials=9), replace(a_cell(0), verdict=Verdict.INCONCLUSIVE)]
)
def test_too_few_trials_and_those_that_tell_nothing_decide_nothing(unsure: Cell) -> None:
    found = tried(SERVER, (a_cell(20),), (unsure,))
    assert found.effect is Effect.UNDECIDED
    assert [str(one.before) for one in found.cells] == ["20/20"], "what was seen is told"
    assert list(as_quoted(found)) == []


def test_a_remedy_that_helps_in_one_close_only_helps_in_part() -> None:
    both = replace(SERVER, sequences=("close-notify-fin", "fin-only"))
    plain = (a_cell(20), a_cell(20, sequence="fin-only"))
    treated = (a_cell(0), a_cell(20, sequence="fin-only"))
    assert tried(both, plain, treated).effect is Effect.IN_PART


def test_trials_that_were_left_out_may_have_shown_anything() -> None:
    plain, late = a_cell(20), replace(a_cell(8), left_out={"late": 9})
    (one,) = tried(SERVER, (plain,), (late,)).cells
    assert (str(one.after), one.effect) == ("8/20, 9 left out", Effect.UNDECIDED)
    assert not is_more(Often(8, 20, 12), Often(2, 20, 12))
    assert is_more(Often(8, 20, 12), Often(0, 20))


def test_chance_alone_is_no_difference() -> None:
    assert is_more(Often(20, 20), Often(0, 20))
    assert is_more(Often(8, 20), Often(0, 20))
    assert not is_more(Often(4, 20), Often(0, 20))
    assert not is_more(Often(0, 20), Often(0, 20))


def test_the_page_says_what_each_remedy_does() -> None:
    found = tried(SERVER, (a_cell(20),), (a_cell(0),))
    text = page_for_folder(remedies_page([found], {}, "tlsprobe lab remedies"))
    assert "| Mine 1 1.7 | cure on | server | **helps** |" in text
    assert "RST after the FIN | 20/20 | 0/20" in text
