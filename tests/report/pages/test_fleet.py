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
