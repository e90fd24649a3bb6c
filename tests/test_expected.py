"""Runs compared by behaviour: new, gone, the same, and what chance explains."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.report.builders import UNREAD, bare_fin, clean, make_run, postgres_reset, postgres_run
from tlsprobe.behaviours import behaviours_of
from tlsprobe.campaign.expecting import compared, has_changed, read_baseline
from tlsprobe.errors import UsageError
from tlsprobe.expected import behaviour_changes, known_behaviours
from tlsprobe.language import parse
from tlsprobe.model.behaviour import KnownBehaviours
from tlsprobe.model.judgement import Confidence, Verdict
from tlsprobe.model.run import CaptureFacts, Cell, CellPlan, Change, Deviation, Run
from tlsprobe.report.document import RUN_FILE, encode_run
from tlsprobe.report.known import KNOWN_FILE, decode_known, encode_known


def known(*cells: Cell) -> KnownBehaviours:
    return known_of(make_run(*cells))


def known_of(run: Run) -> KnownBehaviours:
    return known_behaviours(run, behaviours_of(run))


def changes(before: tuple[Cell, ...], now: tuple[Cell, ...]) -> list[tuple[Change, bool]]:
    return [(one.change, one.certain) for one in behaviour_changes(known(*before), known(*now))]


RESETS = postgres_reset()
ENDS = replace(clean("terminate-close-notify"), steps=RESETS.steps)
ONCE = tuple(replace(finding, count=1) for finding in RESETS.findings)
SELDOM = replace(RESETS, findings=ONCE, why=(replace(UNREAD, count=1),))


def test_the_same_behaviours_are_no_change() -> None:
    assert changes((RESETS, clean()), (RESETS, clean())) == []


def test_how_often_and_where_else_is_no_change() -> None:
    assert changes((RESETS,), (SELDOM, clean(), postgres_reset("1.2"))) == []


def test_a_new_behaviour_is_a_change_and_says_where() -> None:
    (one,) = behaviour_changes(known(ENDS), known(RESETS))
    assert (one.change, one.certain) == (Change.WORSE, True)
    assert one.sentences == (
        "new: RST in place of a FIN: unread-data-at-close (breaks): 20 of 20 trials, before 0 of 20"
        " (terminate-close-notify TLS 1.3)",
    )


def test_a_behaviour_that_is_gone_is_a_change() -> None:
    assert changes((RESETS,), (ENDS,)) == [(Change.BETTER, True)]


def test_what_chance_explains_is_none() -> None:
    assert changes((ENDS,), (SELDOM,)) == [(Change.WORSE, False)]


def test_trials_that_were_left_out_show_no_absence() -> None:
    late = replace(ENDS, left_out={"late": 15}, answers={"clean": 5})
    assert known(late).measured == {ENDS.sequence: {ENDS.tls: 5}}
    assert changes((SELDOM,), (late,)) == [(Change.BETTER, False)]
    one = replace(ENDS, left_out={"late": 19}, answers={"clean": 1})
    assert changes((RESETS,), (one,)) == [(Change.UNCLEAR, False)]


def test_what_the_other_run_did_not_measure_is_unclear() -> None:
    lost = replace(ENDS, verdict=Verdict.INCONCLUSIVE, reason="packets were lost")
    assert changes((clean(),), (RESETS, clean())) == [(Change.UNCLEAR, False)]
    assert changes((lost, clean()), (RESETS, clean())) == [(Change.UNCLEAR, False)]
    assert changes((RESETS,), (lost,)) == [(Change.UNCLEAR, False)]
    other = replace(ENDS, steps="request; drain")
    assert changes((other,), (RESETS,)) == [(Change.UNCLEAR, False)]


def test_another_cause_is_another_behaviour_unless_it_is_a_guess() -> None:
    other = replace(RESETS, why=(replace(UNREAD, cause="deliberate-abort"),))
    guess = replace(other, why=(replace(other.why[0], confidence=Confidence.LOW),))
    assert changes((RESETS,), (other,)) == [(Change.WORSE, True), (Change.BETTER, True)]
    assert changes((RESETS,), (guess,)) == []


def test_a_run_without_a_capture_is_not_compared_with_one() -> None:
    blind = make_run(RESETS, capture=CaptureFacts("none", "", 0, None))
    (one,) = behaviour_changes(known(RESETS), known_of(blind))
    assert one.certain
    assert "cannot be compared" in one.sentences[0]


def test_the_document_reads_back() -> None:
    before = known(RESETS, bare_fin(), clean())
    assert decode_known(encode_known(before), Path("x")) == before


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("tlsprobe.behaviours/1", "tlsprobe.behaviours/9", "the schema is tlsprobe.behaviours/9"),
        ('"sentence"', '"phrase"', "sentence"),
    ],
)
def test_a_document_that_cannot_be_read_is_named(old: str, new: str, said: str) -> None:
    data = encode_known(known(RESETS)).decode().replace(old, new).encode()
    with pytest.raises(UsageError, match="known.json.*" + said):
        decode_known(data, Path("known.json"))


# --- --expect -------------------------------------------------------------------------------------


def plans(name: str = "terminate-close-notify") -> list[CellPlan]:
    sequence = replace(parse("request; drain"), name=name)
    return [CellPlan(sequence, "request; drain", "1.3", 5)]


def test_a_file_of_behaviours_is_a_baseline(tmp_path: Path) -> None:
    file = tmp_path / KNOWN_FILE
    file.write_bytes(encode_known(known(ENDS)))
    for place in (file, tmp_path):
        baseline = read_baseline(place, plans())
        assert isinstance(baseline, KnownBehaviours)
        assert has_changed([compared(make_run(RESETS), baseline)])
        assert not has_changed([compared(make_run(ENDS), baseline)])


def test_a_results_folder_is_compared_by_cell_all_the_same(tmp_path: Path) -> None:
    (tmp_path / KNOWN_FILE).write_bytes(encode_known(known(ENDS)))
    (tmp_path / RUN_FILE).write_bytes(encode_run(postgres_run()))
    baseline = read_baseline(tmp_path, plans())
    assert isinstance(baseline, Run)
    (one,) = [d for d in compared(make_run(ENDS), baseline).deviations or () if d.certain]
    assert isinstance(one, Deviation)
    assert one.sequence == "terminate-close-notify"


def test_a_baseline_of_other_cells_is_refused(tmp_path: Path) -> None:
    (tmp_path / KNOWN_FILE).write_bytes(encode_known(known(ENDS)))
    with pytest.raises(UsageError, match="no cell in common"):
        read_baseline(tmp_path, plans("half-close"))
