"""The demo's self-test: what is known of a server has to be found, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.report.builders import nginx_run
from tlsprobe.model.judgement import Level, Outcome, Result, Verdict
from tlsprobe.model.run import Cell, Finding, Run
from tlsprobe.reference.behaviours import DEMO
from tlsprobe.reference.known import KNOWN, differences


def cell(outcome: Outcome, *broken: str, verdict: Verdict = Verdict.PASS) -> Cell:
    findings = tuple(Finding(rule, Level.MUST, Result.FAIL, 1, "seen") for rule in broken)
    found = Cell("terminate", "terminate; drain", "1.3", 1, verdict, {str(outcome): 1})
    return replace(found, findings=findings)


def run_of(server: str, *cells: Cell) -> Run:
    run = nginx_run()
    return replace(run, target=replace(run.target, name=server), cells=cells)


def as_known(server: str) -> list[Cell]:
    known = KNOWN[server]
    cells = [cell(outcome) for outcome in known.shows]
    return [*cells, *(cell(next(iter(known.shows)), rule) for rule in known.breaks)]


def test_something_is_known_of_each_server_of_the_demo() -> None:
    assert tuple(KNOWN) == DEMO


@pytest.mark.parametrize("server", KNOWN)
def test_a_server_that_does_what_it_is_known_for(server: str) -> None:
    aborted = cell(Outcome.CLIENT_RESET)
    assert differences(run_of(server, *as_known(server), aborted)) == ()


@pytest.mark.parametrize("server", KNOWN)
def test_what_was_not_found_is_missed(server: str) -> None:
    (missing, *_) = differences(run_of(server, cell(Outcome.CLIENT_RESET)))
    assert missing.startswith("outcome not found: ")


def test_a_rule_that_was_not_found_broken_is_missed() -> None:
    cells = [c for c in as_known("silent") if not any(f.rule == "TLS12-NOTIFY" for f in c.findings)]
    assert differences(run_of("silent", *cells)) == ("broken rule not found: TLS12-NOTIFY",)


def test_anything_else_is_too_much() -> None:
    found = run_of("polite", cell(Outcome.CLEAN), cell(Outcome.RESET_AFTER_FIN, "HTTP-CLOSE"))
    assert differences(found) == (
        "outcome not expected: reset-after-fin",
        "broken rule not expected: HTTP-CLOSE",
    )


@pytest.mark.parametrize("verdict", [Verdict.INCONCLUSIVE, Verdict.ERROR])
def test_what_could_not_be_measured_says_nothing(verdict: Verdict) -> None:
    unsure = cell(Outcome.DATA_LOST, "INTEROP-PATH", verdict=verdict)
    assert differences(run_of("polite", cell(Outcome.CLEAN), unsure)) == ()
    assert differences(run_of("polite", unsure)) == ("outcome not found: clean",)


def test_what_came_out_of_time_is_not_too_much() -> None:
    cells = replace(cell(Outcome.CLEAN), outcomes={"clean": 2, "reset-after-fin": 1})
    late = replace(cells, left_out={"late": 1})
    assert differences(run_of("polite", late)) == ()
    assert differences(run_of("polite", cells)) == ("outcome not expected: reset-after-fin",)


def test_our_own_error_is_never_as_known() -> None:
    wrong = Finding("SELF-NOTIFY", Level.CHECK, Result.ERROR, 1, "driver and capture disagree")
    unsure = replace(cell(Outcome.CLEAN, verdict=Verdict.ERROR), findings=(wrong,))
    assert differences(run_of("polite", cell(Outcome.CLEAN), unsure)) == (
        "broken rule not expected: SELF-NOTIFY",
    )


def test_nothing_is_known_of_others() -> None:
    assert differences(run_of("premature", cell(Outcome.DATA_LOST))) == ()
