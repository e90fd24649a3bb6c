"""Grouping: each thing is said once, with every place, and a cause with the first that needs it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.report.builders import (
    RESET_WARNING,
    UNREAD,
    bare_fin,
    clean,
    make_run,
    nginx_run,
    postgres_reset,
    postgres_run,
    unsupported,
)
from tlsprobe.model.judgement import Confidence, Level, Result, Verdict
from tlsprobe.model.run import BeforeAfter, CauseFacts, Cell, Finding, ResetCounts
from tlsprobe.report.findings import findings_of, merged_causes, worst_cells
from tlsprobe.report.sentences import describe_cause, place_names

MEDIUM = Confidence.MEDIUM
OWN = CauseFacts("data-after-close", 4, "client", Confidence.MEDIUM, ("We had closed.",))


def test_one_finding_over_versions_is_one_entry() -> None:
    (entry,) = findings_of([postgres_run()]).entries
    assert entry.finding.rule == "INTEROP-RESET-BEFORE-FIN"
    assert entry.finding.count == 40
    assert place_names(entry.places) == ("terminate-close-notify (20/20 each, TLS 1.2 and 1.3)",)


def test_a_reset_is_explained_and_what_it_does_not_break_is_said() -> None:
    (entry,) = findings_of([postgres_run()]).entries
    (why,) = entry.why
    assert (why.facts.cause, why.facts.count) == ("unread-data-at-close", 40)
    assert why.confidences == ((Confidence.HIGH, 40),)
    assert why.facts.evidence == UNREAD.evidence
    assert ("TCP-RST-ON-UNREAD", Result.PASS) in entry.beside
    assert ("TLS13-NOTIFY", Result.PASS) in entry.beside


def test_a_cause_is_told_once() -> None:
    also = Finding("TCP-RST-FORM", Level.INFO, Result.INFO, 20, "Its form is right.")
    cell = postgres_reset()
    found = findings_of([make_run(replace(cell, findings=(*cell.findings, also)))])
    assert [entry.finding.rule for entry in found.entries] == [
        "INTEROP-RESET-BEFORE-FIN",
        "TCP-RST-FORM",
    ]
    assert [len(entry.why) for entry in found.entries] == [1, 0]
    assert found.causes == ()


def test_another_text_is_another_entry() -> None:
    other = replace(RESET_WARNING, text="Only once.", count=1)
    first, second = postgres_reset("1.2"), replace(postgres_reset(), findings=(other,))
    entries = findings_of([make_run(first, second)]).entries
    assert [entry.finding.count for entry in entries] == [20, 1]


def test_the_worst_comes_first_and_what_passed_is_no_finding() -> None:
    run = make_run(postgres_reset(), bare_fin())
    results = [entry.finding.result for entry in findings_of([run]).entries]
    assert results == [Result.FAIL, Result.WARN]
    assert findings_of([make_run(clean())]).entries == ()


def test_a_reset_of_our_own_is_never_the_servers() -> None:
    cell = postgres_reset()
    found = findings_of([make_run(replace(cell, why=(UNREAD, OWN)))])
    assert [why.facts.side for why in found.entries[0].why] == ["server"]
    (loose,) = found.causes
    assert loose.why.facts == OWN


def test_a_cause_without_a_finding_is_not_lost() -> None:
    found = findings_of([make_run(replace(clean(), why=(UNREAD,)))])
    assert [loose.why.facts.cause for loose in found.causes] == ["unread-data-at-close"]


def test_the_surest_evidence_wins_and_every_remedy_stays() -> None:
    guess = replace(UNREAD, confidence=Confidence.LOW, evidence=("A guess.",), remedy=("Wait.",))
    (merged,) = merged_causes([guess, UNREAD])
    assert merged.facts.evidence == UNREAD.evidence
    assert merged.facts.remedy == ("Wait.", *UNREAD.remedy)
    assert merged.facts.count == 40


def test_no_trial_is_made_surer_than_it_was() -> None:
    sure, likely = replace(UNREAD, count=36), replace(UNREAD, count=24, confidence=MEDIUM)
    (merged,) = merged_causes([likely, sure])
    assert merged.confidences == ((Confidence.HIGH, 36), (MEDIUM, 24))
    assert describe_cause(merged) == (
        "unread-data-at-close (confidence high in 36 trials, medium in 24)"
    )
    (alone,) = merged_causes([likely, likely])
    assert describe_cause(alone) == "unread-data-at-close (confidence medium, in 48 trials)"


def mixed_cell(*causes: str) -> Cell:
    """The server reset in 3 trials before its FIN, and in 17 after it, for these causes."""
    after = Finding("INTEROP-RESET-AFTER-FIN", Level.INTEROP, Result.INFO, 17, "After its FIN.")
    return replace(
        postgres_reset(),
        findings=(replace(RESET_WARNING, count=3), after),
        resets=ResetCounts(server=BeforeAfter(3, 17)),
        why=tuple(replace(UNREAD, cause=cause, count=3) for cause in causes),
    )


def causes_told(cell: Cell) -> dict[str, list[str]]:
    entries = findings_of([make_run(cell)]).entries
    return {entry.finding.rule: [why.facts.cause for why in entry.why] for entry in entries}


def test_what_came_before_the_fin_does_not_explain_what_came_after() -> None:
    cell = mixed_cell(
        *("data-after-close", "unread-data-at-close", "unread-data-after-fin", "refused"),
        *("no-connection-state", "teleported"),
    )
    assert causes_told(cell) == {
        "INTEROP-RESET-BEFORE-FIN": [
            *("unread-data-at-close", "refused", "no-connection-state", "teleported"),
        ],
        "INTEROP-RESET-AFTER-FIN": ["data-after-close", "unread-data-after-fin", "teleported"],
    }


def test_a_cause_of_either_phase_is_told_with_both_and_says_so() -> None:
    cell = mixed_cell("deliberate-abort", "data-after-close")
    before, after = findings_of([make_run(cell)]).entries
    assert [why.facts.cause for why in before.why] == ["deliberate-abort"]
    assert [why.facts.cause for why in after.why] == ["deliberate-abort", "data-after-close"]
    assert "in 3 trials, before or after the FIN)" in describe_cause(after.why[0])
    assert "before or after" not in describe_cause(after.why[1])


@pytest.mark.parametrize("rule", ["INTEROP-RESET-BEFORE-FIN", "INTEROP-RESET-AFTER-FIN"])
def test_a_cell_with_resets_of_one_phase_needs_no_guess(rule: str) -> None:
    """Echoes of a reset look like data after close; without a FIN they belong to it."""
    counts = BeforeAfter(20, 0) if "BEFORE" in rule else BeforeAfter(0, 20)
    causes = ["unread-data-at-close", "data-after-close", "deliberate-abort"]
    cell = replace(
        mixed_cell(*causes),
        findings=(replace(RESET_WARNING, rule=rule),),
        resets=ResetCounts(server=counts),
    )
    found = findings_of([make_run(cell)])
    assert [why.facts.cause for why in found.entries[0].why] == causes
    assert not any(why.mixed for why in found.entries[0].why)
    assert found.causes == ()


def test_a_cause_that_fits_no_finding_stands_by_itself() -> None:
    cell = replace(mixed_cell("data-after-close"), findings=(RESET_WARNING,))
    found = findings_of([make_run(cell)])
    assert found.entries[0].why == ()
    assert [loose.why.facts.cause for loose in found.causes] == ["data-after-close"]


def test_cells_without_an_answer_are_grouped_by_reason() -> None:
    run = make_run(unsupported("a", "1.2"), unsupported("b", "1.2"), clean())
    (gap,) = findings_of([run]).unanswered
    assert gap.verdict is Verdict.UNSUPPORTED
    assert place_names(gap.places) == ("a (TLS 1.2)", "b (TLS 1.2)")


def test_places_name_targets_only_if_there_are_several() -> None:
    (entry,) = findings_of([postgres_run(), replace(postgres_run(), cells=())]).entries
    assert "postgres:" not in "".join(place_names(entry.places))
    other = make_run(*postgres_run().cells, name="other")
    (entry,) = findings_of([postgres_run(), other]).entries
    assert place_names(entry.places) == (
        "postgres: terminate-close-notify 40/40",
        "other: terminate-close-notify 40/40",
    )


def test_counts_that_differ_are_given_by_version() -> None:
    few = replace(postgres_reset("1.2"), findings=(replace(RESET_WARNING, count=3),))
    (entry,) = findings_of([make_run(few, postgres_reset())]).entries
    assert place_names(entry.places) == ("terminate-close-notify (TLS 1.2 3/20, TLS 1.3 20/20)",)


def test_examples_come_from_the_worst_cells_without_repeats() -> None:
    assert [cell.sequence for cell in worst_cells(nginx_run(), 3)] == ["close-notify-fin"]
    run = make_run(*postgres_run().cells, bare_fin())
    sequences = [cell.sequence for cell in worst_cells(run, 3)]
    assert sequences == ["close-notify-fin", "terminate-close-notify"]


def test_a_clean_run_still_shows_how_it_went() -> None:
    cell = replace(clean(), example=bare_fin().example)
    assert worst_cells(make_run(cell, replace(cell, sequence="b")), 3) == [cell]
