"""The pure table: codes, distributions, folded versions, and how it fits a screen."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.report.builders import (
    bare_fin,
    clean,
    make_run,
    nginx_race,
    nginx_run,
    postgres_reset,
    postgres_run,
    unsupported,
)
from tlsprobe.model.judgement import Outcome, Verdict
from tlsprobe.model.run import Cell
from tlsprobe.report.blocks import Code, Mark, Text, marks_in
from tlsprobe.report.glyphs import ASCII, UNICODE
from tlsprobe.report.matrix import (
    CODES,
    Matrix,
    code_of,
    describe_outcomes,
    mark_of,
    matrix_of,
    transposed,
)


def shown(cell: Text) -> str:
    """A cell in words: ``!RST 3/20``, two marks parted by a stroke."""
    marks = marks_in(cell)
    if marks:
        return " / ".join(map(UNICODE.mark, marks))
    if isinstance(cell, str):
        return cell
    assert all(isinstance(inline, Code) for inline in cell)
    return "".join(inline.text for inline in cell if isinstance(inline, Code))


def heads(matrix: Matrix) -> list[str]:
    return [column.head for column in matrix.table.columns]


def labels(matrix: Matrix) -> list[Text]:
    return [row[0] for row in matrix.table.rows]


def codes(matrix: Matrix) -> dict[str, str]:
    """The meaning of each code in the legend."""
    return {sign.text: meaning for sign, meaning in matrix.legend.entries if isinstance(sign, Code)}


def text_at(matrix: Matrix, sequence: str, column: str) -> str:
    row = next(row for row in matrix.table.rows if row[0] == sequence)
    return shown(row[heads(matrix).index(column)])


def mixed(**outcomes: int) -> Cell:
    named = {name.replace("_", "-"): count for name, count in outcomes.items()}
    trials = sum(named.values())
    return replace(clean(trials=trials), verdict=Verdict.WARN, outcomes=named)


def test_every_outcome_has_a_code_of_its_own_and_a_meaning() -> None:
    assert set(CODES) == set(Outcome)
    short = [code for code, _ in CODES.values()]
    assert len(set(short)) == len(short)
    assert max(map(len, short)) <= 4
    for outcome, (_, meaning) in CODES.items():
        assert meaning.startswith(f"{outcome}: ")


@pytest.mark.parametrize("glyphs", [UNICODE, ASCII])
def test_every_verdict_has_a_mark_of_its_own(glyphs: object) -> None:
    marks = UNICODE.marks if glyphs is UNICODE else ASCII.marks
    assert set(marks) == set(Verdict)
    assert len(set(marks.values())) == len(marks)
    assert all(len(mark) == 1 for mark in marks.values())


@pytest.mark.parametrize("outcome", Outcome)
def test_every_outcome_is_in_the_legend_of_its_matrix(outcome: Outcome) -> None:
    cell = replace(clean(), outcomes={outcome.value: 20})
    matrix = matrix_of([make_run(cell)])
    code, meaning = CODES[outcome]
    assert codes(matrix)[code] == meaning
    assert code in text_at(matrix, "terminate", "TLS 1.3")


def test_one_run_is_laid_out_by_version() -> None:
    matrix = matrix_of([postgres_run()])
    assert heads(matrix) == ["sequence", "TLS 1.2", "TLS 1.3", "server's ending", "on the wire"]
    assert text_at(matrix, "terminate", "TLS 1.2") == "✓ok"
    assert text_at(matrix, "terminate-close-notify", "TLS 1.3") == "!RST"
    assert text_at(matrix, "terminate-close-notify", "server's ending") == "reset-before-fin"
    assert text_at(matrix, "terminate-close-notify", "on the wire") == "G N n r"
    verdicts = [sign for sign, _ in matrix.legend.entries if isinstance(sign, Mark)]
    assert verdicts == [Mark(Verdict.PASS), Mark(Verdict.WARN)]


def test_trials_that_were_left_out_are_counted_apart() -> None:
    reset, late = {"reset-before-fin": 13}, {"late": 7}
    outcomes = {"reset-before-fin": 13, "clean": 7}
    cell = replace(postgres_reset(), outcomes=outcomes, answers=reset, left_out=late)
    assert mark_of(cell).counts == ""
    assert describe_outcomes(cell) == "reset-before-fin, 7 left out"
    mixed = replace(cell, answers={"reset-before-fin": 12, "clean": 1})
    assert mark_of(mixed).counts.startswith("12/13")
    assert describe_outcomes(mixed) == "reset-before-fin 12/13, clean 1/13, 7 left out"


def test_versions_that_differ_are_told_apart_in_words() -> None:
    matrix = matrix_of([make_run(clean("a", "1.2"), replace(bare_fin(), sequence="a"))])
    assert text_at(matrix, "a", "server's ending") == "1.2: clean; 1.3: no-close-notify"
    assert text_at(matrix, "a", "on the wire") == "1.2: G nf F; 1.3: N F f"


def test_a_version_that_was_not_measured_is_empty() -> None:
    matrix = matrix_of([nginx_run()])
    assert text_at(matrix, "server-close-reply", "TLS 1.2") == ""


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        (mixed(clean=20), "!ok"),
        (mixed(clean=17, reset_before_fin=3), "!RST 3/20"),
        (mixed(reset_after_fin=17, reset_before_fin=3), "!RST 3/20 rst"),
        (mixed(clean=10, reset_after_fin=7, reset_before_fin=3), "!RST 3/20 rst 7/20"),
        (mixed(reset_after_fin=17, reset_before_fin=0), "!rst"),
        (replace(mixed(clean=17), trials=20), "!?? 3/20"),
    ],
)
def test_trials_that_differ_show_their_distribution(cell: Cell, said: str) -> None:
    matrix = matrix_of([make_run(cell)])
    assert text_at(matrix, "terminate", "TLS 1.3") == said
    assert ("n/N" in codes(matrix)) == ("/" in said)


def test_mixed_signatures_are_counted() -> None:
    matrix = matrix_of([make_run(nginx_race())])
    wire = text_at(matrix, "server-close-reply", "on the wire")
    assert wire == "nf N r 1197/1200 (+1 more)"
    ending = text_at(matrix, "server-close-reply", "server's ending")
    assert ending == "reset-before-fin 3/1200, reset-after-fin 1197/1200"


def test_no_answer_looks_like_no_answer() -> None:
    unproven = replace(clean("a"), verdict=Verdict.INCONCLUSIVE)
    broken = replace(clean("b"), verdict=Verdict.ERROR, outcomes={})
    empty = replace(clean("c"), verdict=Verdict.INCONCLUSIVE, outcomes={})
    matrix = matrix_of([make_run(unproven, broken, empty, unsupported("d", "1.3"))])
    said = [shown(row[1]) for row in matrix.table.rows]
    assert said == ["?ok", "#err", "???", "-na"]
    assert {"na", "??"} <= set(codes(matrix))


def test_several_runs_stand_side_by_side() -> None:
    matrix = matrix_of([postgres_run(), nginx_run()])
    assert heads(matrix) == ["sequence", "postgres", "nginx"]
    assert text_at(matrix, "terminate", "postgres") == "✓ok"
    assert text_at(matrix, "terminate", "nginx") == ""
    assert text_at(matrix, "close-notify-fin", "nginx") == "✗fin"


def test_versions_fold_only_where_they_agree() -> None:
    differing = make_run(clean(tls="1.2"), replace(mixed(reset_before_fin=20), tls="1.3"))
    counted = make_run(clean(tls="1.2"), mixed(clean=17, reset_before_fin=3), name="b")
    matrix = matrix_of([differing, counted])
    assert text_at(matrix, "terminate", "postgres") == "✓ok / !RST"
    assert text_at(matrix, "terminate", "b") == "✓ok / !RST 3/20"
    assert codes(matrix)["a/b"] == "TLS 1.2 / TLS 1.3, where they differ"


def test_equal_codes_with_other_counts_do_not_fold() -> None:
    some, more = mixed(clean=17, open=3), mixed(clean=10, open=10)
    matrix = matrix_of([make_run(replace(some, tls="1.2"), more), make_run(name="b")])
    assert text_at(matrix, "terminate", "postgres") == "!open 3/20 / !open 10/20"


def test_controls_do_not_compare() -> None:
    control = replace(clean("control-of-x"), role="control")
    alone = matrix_of([make_run(clean(), control)])
    assert labels(alone) == ["terminate", "control-of-x (control)"]
    beside = matrix_of([make_run(clean(), control), make_run(clean(), name="b")])
    assert labels(beside) == ["terminate"]


@pytest.mark.parametrize("name", ["abort", "abort (control)"])
def test_a_control_is_marked_once(name: str) -> None:
    matrix = matrix_of([make_run(replace(clean(name), role="control"))])
    assert labels(matrix) == ["abort (control)"]


def test_targets_of_one_name_are_told_apart() -> None:
    later = replace(postgres_run(), started="2026-11-21T20:01:02Z")
    elsewhere = replace(nginx_run(), target=replace(nginx_run().target, port=8443))
    columns = heads(matrix_of([postgres_run(), later, nginx_run(), elsewhere]))
    assert len(set(columns)) == 1 + 4
    assert columns[3:] == ["nginx 127.0.0.1:5432", "nginx 127.0.0.1:8443"]


def test_an_outcome_of_a_later_tlsprobe_is_shown() -> None:
    assert code_of("teleported") == "tele"
    cell = replace(clean(), outcomes={"teleported": 3, "clean": 17})
    assert mark_of(cell).counts == "3/20"


def test_an_empty_run_makes_an_empty_matrix() -> None:
    assert matrix_of([make_run()]).table.rows == ()


def test_transposing_swaps_rows_and_columns() -> None:
    table = matrix_of([postgres_run(), nginx_run()]).table
    other = transposed(table)
    assert [column.head for column in other.columns] == ["server", *(row[0] for row in table.rows)]
    assert [row[0] for row in other.rows] == ["postgres", "nginx"]
    assert other.rows[1][3] == table.rows[2][2]
