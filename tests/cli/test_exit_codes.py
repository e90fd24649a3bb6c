"""Exit codes of finished runs: findings, cells without an answer, and readers who leave."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryFile

import pytest

from tests.e2e.test_campaign import reference
from tests.prepared import started
from tests.report.builders import nginx_run
from tests.servers import GENEROUS_S
from tlsprobe.cli.exit_codes import print_unmeasured, verdict_exit
from tlsprobe.model.judgement import Verdict
from tlsprobe.model.run import Cell, Run

PASS, FAIL, WARN = Verdict.PASS, Verdict.FAIL, Verdict.WARN
INCONCLUSIVE, ERROR, UNSUPPORTED = Verdict.INCONCLUSIVE, Verdict.ERROR, Verdict.UNSUPPORTED
CONTROL = "control"


def run_with(*verdicts: Verdict, role: str = "asked") -> Run:
    cells = [Cell(f"close-{n}", "fin", "1.3", 1, v) for n, v in enumerate(verdicts)]
    return replace(nginx_run(), cells=(*cells[:1], *(replace(c, role=role) for c in cells[1:])))


@pytest.mark.parametrize(
    ("verdicts", "fail", "warn", "never"),
    [
        ((PASS, PASS), 0, 0, 0),
        ((PASS, WARN), 0, 1, 0),
        ((PASS, FAIL), 1, 1, 0),
        ((PASS, UNSUPPORTED), 0, 0, 0),
        ((PASS, INCONCLUSIVE), 1, 1, 0),
        ((PASS, ERROR), 1, 1, 0),
        ((ERROR, ERROR), 3, 3, 3),
        ((INCONCLUSIVE, UNSUPPORTED), 3, 3, 3),
    ],
)
def test_what_makes_a_run_fail(
    verdicts: tuple[Verdict, ...], fail: int, warn: int, never: int
) -> None:
    codes = [verdict_exit([run_with(*verdicts)], on) for on in ("fail", "warn", "never")]
    assert codes == [fail, warn, never]


@pytest.mark.parametrize("verdict", [INCONCLUSIVE, ERROR])
def test_what_is_not_measured_can_be_allowed(verdict: Verdict) -> None:
    assert verdict_exit([run_with(PASS, verdict)], "warn", allow_unmeasured=True) == 0
    assert verdict_exit([run_with(verdict)], "warn", allow_unmeasured=True) == 3
    assert verdict_exit([run_with(WARN, verdict)], "warn", allow_unmeasured=True) == 1


def test_a_control_that_nobody_asked_for_need_not_be_measured() -> None:
    assert verdict_exit([run_with(PASS, INCONCLUSIVE, role=CONTROL)], "warn") == 0


@pytest.mark.parametrize("fail_on", ["warn", "never"])
def test_it_never_passes_in_silence(fail_on: str, capsys: pytest.CaptureFixture[str]) -> None:
    print_unmeasured([run_with(PASS, INCONCLUSIVE, ERROR, ERROR)], fail_on, allow_unmeasured=False)
    said = capsys.readouterr().err
    assert "3 of 4 cells could not be measured (2 error, 1 inconclusive)" in said
    assert ("--allow-unmeasured" in said) == (fail_on == "warn")


def moot(run: Run) -> Run:
    """The same, of a server that ended every connection of its cells without an answer."""
    ended = {"ended-with-response": 1}
    cells = (replace(c, left_out=ended) if c.verdict is INCONCLUSIVE else c for c in run.cells)
    return replace(run, cells=tuple(cells))


def test_what_cannot_be_asked_is_said_once_and_fails_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = moot(run_with(PASS, INCONCLUSIVE, INCONCLUSIVE))
    assert verdict_exit([run], "warn") == 0
    print_unmeasured([run], "warn", allow_unmeasured=False)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("note: the server ends each connection with its response: 2 cells")
    assert verdict_exit([moot(run_with(PASS, INCONCLUSIVE, ERROR))], "warn") == 1
    assert verdict_exit([moot(run_with(INCONCLUSIVE))], "warn") == 3  # and nothing was measured


def test_an_end_that_crossed_our_first_step_is_one_with_the_response_where_others_are() -> None:
    """On a busy machine it depends on the moment which of them it is called."""
    mixed = {"ended-with-response": 1, "overtaken": 1, "ended-before-start": 1}
    cells = [replace(cell, trials=3, left_out=mixed) for cell in run_with(INCONCLUSIVE).cells]
    run = run_with(PASS)
    assert verdict_exit([replace(run, cells=(*run.cells, *cells))], "warn") == 0
    never = [replace(cell, left_out={"overtaken": 3}) for cell in cells]
    assert verdict_exit([replace(run, cells=(*run.cells, *never))], "warn") == 1


@pytest.mark.parametrize("verdicts", [(INCONCLUSIVE,), (PASS, INCONCLUSIVE)])
def test_a_server_that_ends_before_anything_begins_is_told_by_what_it_does(
    verdicts: tuple[Verdict, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_with(*verdicts)
    cells = [replace(c, left_out={"ended-before-start": 1}) for c in run.cells]
    print_unmeasured([replace(run, cells=tuple(cells))], "warn", allow_unmeasured=False)
    first = capsys.readouterr().err.splitlines()[0]
    assert "ends connections by itself before a sequence begins" in first
    print_unmeasured([run], "warn", allow_unmeasured=False)
    assert "by itself" not in capsys.readouterr().err


def test_one_trial_that_was_to_be_had_leaves_its_cell_unmeasured() -> None:
    run = moot(run_with(PASS, INCONCLUSIVE))
    cells = tuple(replace(cell, trials=2) for cell in run.cells)
    assert verdict_exit([replace(run, cells=cells)], "warn") == 1


def test_it_says_nothing_where_all_was_measured(capsys: pytest.CaptureFixture[str]) -> None:
    print_unmeasured([run_with(PASS, FAIL, UNSUPPORTED)], "warn", allow_unmeasured=False)
    assert capsys.readouterr().err == ""


# --- readers who leave ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def silent() -> Iterator[int]:
    with reference("silent") as ports:
        yield ports["silent"]


def left_after_a_line(*words: str, cwd: Path) -> tuple[int, str]:
    """``tlsprobe WORDS | head -1``: the exit code, and what it said on standard error."""
    reading, writing = os.pipe()
    with TemporaryFile() as said, os.fdopen(reading, "rb") as out, os.fdopen(writing, "wb") as end:
        with started(words, cwd=cwd, streams=(end, said)) as process:
            end.close()
            out.readline()
            out.close()
            code = process.wait(GENEROUS_S)
        said.seek(0)
        return code, said.read().decode()


@pytest.mark.slow
@pytest.mark.parametrize("form", [(), ("--json",)])
def test_a_run_keeps_its_code_when_the_reader_leaves(
    silent: int, tmp_path: Path, form: tuple[str, ...]
) -> None:
    asked = ("--profile", "reference", "--sequence", "terminate", "--trials", "1", *form)
    words = ("run", "--target", f"127.0.0.1:{silent}", *asked, "--capture", "none")
    assert left_after_a_line(*words, cwd=tmp_path)[0] == 1
    assert left_after_a_line(*words, "--fail-on", "never", cwd=tmp_path)[0] == 0


@pytest.mark.slow
@pytest.mark.parametrize("words", [("rules",), ("sequences",), ("--help",), ("run", "--help")])
def test_lists_end_well_when_the_reader_leaves(words: tuple[str, ...], tmp_path: Path) -> None:
    assert left_after_a_line(*words, cwd=tmp_path) == (0, "")
