"""Two runs compared: what is a change, what is timing, and what cannot be compared."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tlsprobe.judge.baseline import Shift, common_cells, deviations
from tlsprobe.model.judgement import Confidence, Level, Result, Verdict
from tlsprobe.model.run import (
    CaptureFacts,
    CauseFacts,
    Cell,
    Change,
    Deviation,
    Finding,
    HostFacts,
    Run,
    Tool,
)
from tlsprobe.model.target import Target

RESET = Finding("INTEROP-RESET-BEFORE-FIN", Level.INTEROP, Result.WARN, 20, "reset")
UNREAD = CauseFacts("unread-data-at-close", 20, "server", Confidence.HIGH, ("packet 9",))


def cell(
    verdict: Verdict = Verdict.PASS,
    *findings: Finding,
    outcomes: dict[str, int] | None = None,
    causes: dict[str, int] | None = None,
    sequence: str = "terminate",
    tls: str = "1.3",
) -> Cell:
    seen = {"clean": 20} if outcomes is None else outcomes
    return Cell(
        sequence,
        "request; terminate; drain",
        tls,
        sum(seen.values()),
        verdict,
        outcomes=seen,
        causes=causes or {},
        findings=findings,
        path_alive=True,
    )


def reset_cell() -> Cell:
    seen = {"reset-before-fin": 20}
    return replace(
        cell(Verdict.WARN, RESET, outcomes=seen, causes={"unread-data-at-close": 20}),
        why=(UNREAD,),
    )


def run(*cells: Cell, version: str = "0.1.0", backend: str = "packet") -> Run:
    return Run(
        Tool("tlsprobe", version),
        "2026-11-20T20:01:02.345Z",
        "2026-11-20T20:03:09.001Z",
        HostFacts("Linux", "6.18.0", "3.11.9", "OpenSSL 3.5.1"),
        Target("127.0.0.1:5432", "127.0.0.1", 5432, "postgres", "postgres"),
        CaptureFacts(backend, "lo", 1234, 0),
        cells,
        {},
    )


def only(before: Cell, now: Cell) -> Deviation:
    (found,) = deviations(run(before), run(now))
    return found


def outcomes(**seen: int) -> Cell:
    return cell(outcomes={name.replace("_", "-"): count for name, count in seen.items()})


# --- what is a change ----------------------------------------------------------------------------


def test_the_same_again_is_no_change() -> None:
    assert deviations(run(cell(), reset_cell()), run(cell(), reset_cell())) == ()


def test_a_reset_that_was_not_there_is_worse() -> None:
    found = only(cell(), reset_cell())
    assert (found.sequence, found.tls) == ("terminate", "1.3")
    assert (found.change, found.certain) == (Change.WORSE, True)
    assert found.sentences == (
        "the verdict was pass and is now warn",
        "outcome reset-before-fin: 20 of 20 trials, before 0 of 20",
        "outcome clean: 0 of 20 trials, before 20 of 20",
        "cause unread-data-at-close: 20 of 20 trials, before 0 of 20",
        "warn INTEROP-RESET-BEFORE-FIN: 20 of 20 trials, before 0 of 20",
    )


def test_a_reset_that_is_gone_is_better_and_a_change_all_the_same() -> None:
    found = only(reset_cell(), cell())
    assert (found.change, found.certain) == (Change.BETTER, True)


def test_another_way_to_fail_is_different() -> None:
    silent = Finding("TLS13-NOTIFY", Level.MUST, Result.FAIL, 20, "no close_notify")
    lost = replace(silent, rule="INTEROP-DATA-LOST")
    found = only(cell(Verdict.FAIL, silent), cell(Verdict.FAIL, lost))
    assert (found.change, found.certain) == (Change.DIFFERENT, True)


@pytest.mark.parametrize(
    ("before", "now"),
    [
        pytest.param(
            outcomes(reset_before_fin=18, reset_after_fin=2),
            outcomes(reset_before_fin=15, reset_after_fin=5),
            id="a race with other luck",
        ),
        pytest.param(
            outcomes(reset_before_fin=18, reset_after_fin=2),
            outcomes(reset_before_fin=1, reset_after_fin=19),
            id="a race on a busier machine",
        ),
    ],
)
def test_a_distribution_that_only_varies_is_no_change(before: Cell, now: Cell) -> None:
    assert deviations(run(before), run(now)) == ()


@pytest.mark.parametrize(
    ("before", "now", "certain"),
    [
        pytest.param(
            outcomes(reset_before_fin=18, reset_after_fin=2), outcomes(clean=20), True, id="cured"
        ),
        pytest.param(outcomes(clean=20), outcomes(clean=19, open=1), False, id="1 of 20"),
        pytest.param(outcomes(clean=20), outcomes(clean=16, open=4), False, id="4 of 20"),
        pytest.param(outcomes(clean=20), outcomes(clean=15, open=5), True, id="5 of 20"),
        pytest.param(outcomes(clean=5), outcomes(clean=2, open=3), False, id="3 of 5"),
        pytest.param(outcomes(clean=5), outcomes(clean=1, open=4), True, id="4 of 5"),
        pytest.param(outcomes(clean=1), outcomes(open=1), True, id="one trial, and the other way"),
        pytest.param(outcomes(clean=1199, open=1), outcomes(clean=20), False, id="a rare race"),
        pytest.param(
            outcomes(clean=20, open=20), outcomes(clean=9), True, id="a common one that is gone"
        ),
    ],
)
def test_what_came_or_went_must_be_more_than_chance(before: Cell, now: Cell, certain: bool) -> None:
    found = only(before, now)
    assert found.certain is certain
    assert ("too few" in found.sentences[-1]) is not certain
    assert only(now, before).certain is certain


def test_chance_is_fishers_exact_test() -> None:
    """As scipy.stats.fisher_exact(alternative="greater") has it."""
    assert Shift("", 0, 20, 5, 20).chance == pytest.approx(0.02356, rel=1e-3)
    assert Shift("", 0, 5, 4, 5).chance == pytest.approx(0.02381, rel=1e-3)
    assert Shift("", 4, 5, 0, 5).chance == pytest.approx(0.02381, rel=1e-3)
    assert Shift("", 0, 100_000, 1000, 100_000).chance < 1e-100
    assert Shift("", 3, 5, 1, 5).chance == 1.0


def test_a_verdict_that_rests_on_one_trial_is_told_and_fails_nothing() -> None:
    rare = replace(RESET, count=1)
    now = cell(Verdict.WARN, rare, outcomes={"clean": 19, "reset-before-fin": 1})
    found = only(cell(), now)
    assert (found.change, found.certain) == (Change.WORSE, False)
    assert found.sentences[0] == "the verdict was pass and is now warn"


def test_a_path_that_died_is_a_change() -> None:
    dead = replace(cell(Verdict.WARN), path_alive=False)
    assert only(cell(), dead).certain
    assert "is dead" in only(cell(), dead).sentences[-1]
    assert "works again" in only(dead, cell()).sentences[-1]
    untried = replace(cell(), path_alive=None)
    assert deviations(run(untried), run(cell())) == ()


def test_a_server_that_stopped_answering_is_worse() -> None:
    refused = cell(Verdict.ERROR, outcomes={"refused": 20})
    assert (only(cell(), refused).change, only(cell(), refused).certain) == (Change.WORSE, True)


def test_a_tls_version_that_works_no_longer() -> None:
    gone = replace(cell(Verdict.UNSUPPORTED, outcomes={}), reason="protocol_version")
    found = only(cell(), gone)
    assert (found.change, found.certain) == (Change.WORSE, True)
    assert found.sentences == ("TLS 1.3 works no longer (protocol_version)",)
    assert only(gone, cell()).change is Change.BETTER
    assert deviations(run(gone), run(gone)) == ()


def test_a_cause_that_packets_only_hint_at_is_left_out() -> None:
    vague = replace(
        reset_cell(),
        causes={"middlebox": 20},
        why=(replace(UNREAD, cause="middlebox", confidence=Confidence.LOW),),
    )
    sure = reset_cell()
    found = only(sure, vague)
    assert not [s for s in found.sentences if "middlebox" in s]
    assert [s for s in found.sentences if "unread-data-at-close" in s]
    nothing = replace(vague, causes={"unknown": 20}, why=())
    assert deviations(run(vague), run(nothing)) == ()


def test_a_rule_of_a_newer_tlsprobe_is_not_the_servers_change() -> None:
    rule = Finding("NEW-RULE", Level.MUST, Result.FAIL, 20, "a rule that was not there")
    now = cell(Verdict.FAIL, rule)
    assert deviations(run(cell()), run(now, version="0.2.0")) == ()
    assert only(cell(), now).certain


# --- what cannot be compared ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "now", "word"),
    [
        (cell(), replace(cell(), verdict=Verdict.INCONCLUSIVE), "inconclusive now"),
        (replace(cell(), verdict=Verdict.INCONCLUSIVE), cell(), "inconclusive in the baseline"),
        (cell(), cell(Verdict.ERROR, outcomes={}), "not measured now"),
        (cell(), cell(Verdict.ERROR), "driver and capture disagree"),
        (replace(cell(), steps="request; drain"), cell(), "'request; drain'"),
    ],
)
def test_what_proves_nothing_is_told_and_fails_nothing(before: Cell, now: Cell, word: str) -> None:
    found = only(before, now)
    assert (found.change, found.certain) == (Change.UNCLEAR, False)
    assert word in found.sentences[0]


def test_cells_of_one_side_are_told_and_fail_nothing() -> None:
    other = cell(sequence="fin-only")
    assert only_change(run(cell()), run(cell(), other)) == (Change.NEW, False)
    assert only_change(run(cell(), other), run(cell())) == (Change.MISSING, False)
    control = replace(other, role="control")
    assert deviations(run(cell()), run(cell(), control)) == ()


def only_change(before: Run, now: Run) -> tuple[Change, bool]:
    (found,) = deviations(before, now)
    return found.change, found.certain


def test_a_run_without_a_capture_is_held_against_none_with_one() -> None:
    found = deviations(run(cell(), backend="packet"), run(reset_cell(), backend="none"))
    assert [(d.sequence, d.certain) for d in found] == [("", True)]
    assert deviations(run(cell(), backend="none"), run(cell(), backend="none")) == ()
    assert deviations(run(cell(), backend="packet"), run(cell(), backend="dumpcap")) == ()


def test_cells_in_common() -> None:
    assert common_cells(run(cell(), cell(tls="1.2")), {("terminate", "1.3"), ("x", "1.2")}) == 1


def late(count: int, now: Cell) -> Cell:
    """The same with so many trials more, that were left out."""
    outcomes = {**now.outcomes, "reset-before-fin": count}
    trials = now.trials + count
    left_out = {"late": count}
    return replace(now, trials=trials, outcomes=outcomes, left_out=left_out, answers=now.outcomes)


def test_what_late_trials_show_is_no_change() -> None:
    assert deviations(run(cell()), run(late(7, cell()))) == ()


def test_a_cell_in_which_nearly_all_came_late_is_compared_with_nothing() -> None:
    found = only(reset_cell(), late(18, outcomes(clean=2)))
    assert (found.change, found.certain) == (Change.UNCLEAR, False)
    assert found.sentences == ("only 2 of 20 trials gave an answer now",)
