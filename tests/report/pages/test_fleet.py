"""The page of a fleet: made of short answers it says what it says of whole ones."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

from tests.report.drawn import on_terminal
from tlsprobe import judge
from tlsprobe.model.fleet import Answer, Attempt, FleetTarget, State
from tlsprobe.model.waiver import Waiver
from tlsprobe.report.fleet_metrics import render_metrics
from tlsprobe.report.pages.fleet import fleet_page, has_changed, in_short
from tlsprobe.waiving import waived

DONE = (Attempt(1, 1, State.DONE, 1.0, 2.0),)
FAILED = (Attempt(3, 1, State.FAILED, 1.0, 2.0, "refused"),)
ANSWERS = (
    Answer(FleetTarget("a.example:443"), DONE, "here", judge("tests/data/judged/rude")),
    Answer(FleetTarget("b.example:443"), DONE, "here", judge("tests/data/judged/polite")),
    Answer(FleetTarget("c.example:443", "", {}, {"team": "é\n'\""}), FAILED, "here"),
)


def test_a_short_answer_makes_the_same_page() -> None:
    short = [in_short(one) for one in ANSWERS]
    assert all(one.run is None or not one.run.cells for one in short)
    assert fleet_page(short) == fleet_page(ANSWERS)
    assert render_metrics(short) == render_metrics(ANSWERS)


def test_a_target_that_was_left_is_measured_in_part_and_says_why() -> None:
    done = replace(DONE[0], reason="this target's time was over")
    words = on_terminal(fleet_page([replace(ANSWERS[0], attempts=(done,))]), width=200)
    assert "1: 1 measured in part" in words
    assert "Measured in part" in words
    assert "this target's time was" in words
    assert "Not measured" not in words


def test_what_is_waived_hurts_nobody_and_is_not_counted_as_clean() -> None:
    rude = ANSWERS[0]
    assert rude.run is not None
    accepted = waived(rude.run, [Waiver("known", rule="*")], date(2026, 11, 26))
    page = fleet_page([in_short(replace(rude, run=accepted))])
    words = on_terminal(page, width=200)
    assert "0 with nothing that hurts a client" in words
    assert "1 of which everything that hurts is waived" in words
    assert "Worst first" not in words
    short = in_short(replace(rude, run=accepted)).run
    assert short is not None
    assert not {"fail", "warn"} & short.summary.keys()


def test_a_change_is_seen_in_short_answers_too() -> None:
    rude, polite, _ = map(in_short, ANSWERS)
    now = Answer(rude.target, DONE, "here", polite.run)
    assert has_changed([now], [rude])
    assert not has_changed([rude], [rude])


def test_a_target_that_cannot_be_measured_any_more_has_changed() -> None:
    rude = in_short(ANSWERS[0])
    now = Answer(rude.target, FAILED, "here")
    assert has_changed([now], [rude])
    assert "a.example:443: not measurable any more: refused" in on_terminal(
        fleet_page([now], before=[rude]), width=200
    )
    assert not has_changed([now], [now])
    assert not has_changed([rude], [now])


def test_vantage_points_are_compared_by_what_they_see_and_whether_they_can() -> None:
    rude, polite, failed = map(in_short, ANSWERS)
    here = replace(rude, vantage="here")
    there = Answer(rude.target, FAILED, "there")
    words = on_terminal(fleet_page([here, there]), width=200)
    assert "a.example:443: from there not measurable: refused" in words
    quiet = replace(polite, target=rude.target, vantage="there")
    assert "a.example:443: from here" in on_terminal(fleet_page([here, quiet]), width=300)
    for same in ([here, replace(here, vantage="there")], [failed, replace(failed, vantage="x")]):
        assert "Otherwise from elsewhere" not in on_terminal(fleet_page(same), width=200)


def test_what_shows_now_and_then_is_no_difference_between_places() -> None:
    rude = in_short(ANSWERS[0])
    assert rude.run is not None
    rarely = tuple(
        replace(one, seen=tuple(replace(each, judged=each.asked + 1) for each in one.seen))
        for one in rude.run.behaviours
    )
    other = replace(rude, vantage="there", run=replace(rude.run, behaviours=rarely))
    words = on_terminal(fleet_page([rude, other]), width=200)
    assert "Otherwise from elsewhere" not in words


def test_who_was_not_asked_everything_hurts_nobody_only_as_far_as_is_known() -> None:
    polite = in_short(ANSWERS[1])
    assert polite.run is not None
    words = on_terminal(fleet_page([polite]), width=200)
    assert "1 with nothing that hurts a client" in words
    assert "nobody can tell" not in words
    half = replace(polite, attempts=(replace(DONE[0], state=State.INTERRUPTED),))
    assert "0 with nothing that hurts a client" in on_terminal(fleet_page([half]), width=200)
    unsure = replace(polite, run=replace(polite.run, summary={"pass": 1, "inconclusive": 2}))
    words = on_terminal(fleet_page([unsure]), width=200)
    assert (
        "1 with nothing that hurts a client, 1 of which with cells in which nobody can tell"
        in words
    )
