"""Campaigns as a user runs them: interrupted, killed, resumed, and compared with a baseline."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.children import child
from tests.e2e.probing import Ran, tlsprobe
from tests.e2e.test_bad_input import complaint, until
from tests.prepared import started
from tests.servers import GENEROUS_S
from tlsprobe.campaign.judging import judged_run
from tlsprobe.facts.file import FACTS_FILE, RecordedFacts
from tlsprobe.model.facts import Fact
from tlsprobe.model.judgement import Doubt, Outcome, Verdict
from tlsprobe.model.run import Run, Trial
from tlsprobe.report.document import read_run, read_trials, trial_line
from tlsprobe.report.schema import closed, run_schema

pytestmark = pytest.mark.packet_socket

RESET = "terminate-with-close-notify"
"""What ``rude`` resets for certain: nobody can come between a goodbye and an alert in a segment."""

ASKED = ("--sequence", RESET, "--sequence", "close-notify-fin")
TRIALS = 25
CELLS = 4


@contextmanager
def reference(*names: str) -> Iterator[dict[str, int]]:
    """Reference servers for the length of the block: their ports by name."""
    command = [sys.executable, "-m", "tlsprobe.reference", *names]
    with child(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        yield json.loads(process.stdout.readline())
        process.stdin.close()
        process.wait(GENEROUS_S)


@pytest.fixture(scope="module")
def ports() -> Iterator[dict[str, int]]:
    with reference("rude", "polite", "silent") as found:
        yield found


def words(port: int, *more: str, trials: int = TRIALS) -> tuple[str, ...]:
    at = ("--target", f"127.0.0.1:{port}", "--profile", "reference", "--patience", "3")
    return ("run", *at, "--trials", str(trials), *ASKED, *more)


def trials_in(folder: Path) -> list[Trial]:
    """The trials that a folder tells of, in their order."""
    return [Trial(line.sequence, line.tls, line.trial) for line in read_trials(folder)]


def ids(line: bytes) -> dict[str, Any]:
    """What names the trial of a line."""
    said = json.loads(line)
    return {"sequence": said["sequence"], "tls": said["tls"], "index": said["trial"]}


def facts_in(folder: Path) -> int:
    """How many facts are on disk."""
    file = folder / FACTS_FILE
    return sum(1 for _ in RecordedFacts(file).read()) if file.exists() else 0


def finished(folder: Path) -> int:
    """How many cells the document calls measured."""
    if not (folder / "run.json").exists():
        return 0
    return sum(cell.trials == TRIALS for cell in read_run(folder).cells)


def cut_short(
    how: signal.Signals,
    command: tuple[str, ...],
    cwd: Path,
    *,
    after: int,
    facts: int = 0,
    cells: int = 0,
) -> int:
    """Run a command and send a signal once so much is on disk; its exit code.

    So many trials, facts, and finished cells; it may have ended before, if we were too slow.
    """
    with started(command, cwd=cwd) as process:
        trials = cwd / "out" / "trials.jsonl"

        def far_enough() -> bool:
            counts = trials.exists() and trials.read_bytes().count(b"\n") >= after
            return counts and facts_in(cwd / "out") >= facts and finished(cwd / "out") >= cells

        until(lambda: process.has_ended or far_enough())
        process.kill(how)
        return process.wait(GENEROUS_S)


def whole(folder: Path, trials: int = TRIALS) -> Run:
    """The run in a folder, every planned trial of which was measured exactly once."""
    run = read_run(folder)
    asked = [cell for cell in run.cells if cell.role == "asked"]
    assert not run.interrupted
    assert [cell.trials for cell in asked] == [trials] * CELLS
    lines = Counter((line.sequence, line.tls, line.trial) for line in read_trials(folder))
    assert set(lines.values()) == {1}
    assert sum(lines.values()) == sum(cell.trials for cell in run.cells)
    jsonschema.validate(json.loads((folder / "run.json").read_bytes()), closed(run_schema()))
    return run


def totals(run: Run) -> list[tuple[str, str, int, str, dict[str, int]]]:
    return [(c.sequence, c.tls, c.trials, c.verdict, c.outcomes) for c in run.cells]


@pytest.fixture(scope="module")
def in_one_go(ports: dict[str, int], tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """The same run, never interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    return tlsprobe(*words(ports["rude"], "--out", "out"), cwd=folder)


def test_a_killed_run_is_gone_on_with(
    ports: dict[str, int], tmp_path: Path, in_one_go: Ran
) -> None:
    command = words(ports["rude"], "--out", "out", "--rate", "12")
    code = cut_short(signal.SIGKILL, command, tmp_path, after=2 * TRIALS + 5, cells=2)
    assert code == -signal.SIGKILL
    folder = tmp_path / "out"
    left = read_run(folder)
    assert left.interrupted
    assert [cell.trials for cell in left.cells[:2]] == [TRIALS, TRIALS]
    assert tlsprobe("matrix", "out", cwd=tmp_path).code == 0
    lines = (folder / "trials.jsonl").read_bytes()
    kept = lines[: lines.rfind(b"\n") + 1]
    with (folder / "trials.jsonl").open("ab") as file:
        file.write(kept[:100])  # a line that was being written

    again = tlsprobe("run", "--resume", "out", cwd=tmp_path)
    assert again.code == 1, again.err
    assert "cells to go" in again.err
    run = whole(folder)
    told = [Trial(**ids(line)) for line in kept.splitlines()]
    assert set(told) <= set(trials_in(folder))  # what came late is driven again, and comes last
    assert totals(run) == totals(whole(in_one_go.folder))
    assert run.started == left.started
    assert run.command == left.command
    assert run.capture.packets > left.capture.packets
    assert any("capture-2.pcapng" in note for note in run.notes)
    names = {path.name for path in folder.iterdir()}
    captures = {"capture.pcapng", "capture-2.pcapng"}
    assert names == {
        "run.json",
        "trials.jsonl",
        "facts.jsonl.gz",
        "matrix.md",
        "report.html",
        "behaviours.json",
        *captures,
    }


def test_a_run_that_is_killed_again_and_again_loses_nothing_finished(
    ports: dict[str, int], tmp_path: Path
) -> None:
    folder, chance = tmp_path / "out", random.Random(9)
    command = words(ports["rude"], "--out", "out", "--rate", "60")
    seen: list[Fact] = []
    for _ in range(4):
        more = len(seen) + chance.randrange(1, 20)
        cut_short(signal.SIGKILL, command, tmp_path, after=0, facts=more)
        facts = list(RecordedFacts(folder / FACTS_FILE).read())
        assert facts[: len(seen)] == seen
        seen = facts
        command = ("run", "--resume", "out")
    again = tlsprobe("run", "--resume", "out", cwd=tmp_path)
    assert again.code == 1, again.err
    whole(folder)
    assert list(RecordedFacts(folder / FACTS_FILE).read())[: len(seen)] == seen


def test_what_is_recorded_is_judged_to_the_same_document(in_one_go: Ran) -> None:
    run = whole(in_one_go.folder)
    again = judged_run(RecordedFacts(in_one_go.folder / FACTS_FILE).read)
    assert again.cells == run.cells
    assert again.idle == run.idle
    assert [trial_line(trial) for trial in again.trials] == list(read_trials(in_one_go.folder))


def test_a_run_from_before_facts_were_kept_is_not_gone_on_with(in_one_go: Ran) -> None:
    facts = in_one_go.folder / FACTS_FILE
    hidden = facts.rename(facts.with_suffix(".away"))
    try:
        again = tlsprobe("run", "--resume", "out", cwd=in_one_go.folder.parent)
    finally:
        hidden.rename(facts)
    assert again.code == 2
    assert "no such file" in again.err and "before facts were kept" in again.err


def test_an_interrupted_run_is_gone_on_with(
    ports: dict[str, int], tmp_path: Path, in_one_go: Ran
) -> None:
    command = words(ports["rude"], "--out", "out", "--rate", "15", "--seed", "5")
    assert cut_short(signal.SIGINT, command, tmp_path, after=TRIALS + 5) == 130
    left = read_run(tmp_path / "out")
    assert left.interrupted
    assert left.seed == 5
    again = tlsprobe(*words(ports["rude"], "--resume", "out"), cwd=tmp_path)
    assert again.code == 1, again.err
    run = whole(tmp_path / "out")
    assert run.seed == 5
    assert totals(run) == totals(whole(in_one_go.folder))


def test_a_finished_run_can_be_extended(ports: dict[str, int], tmp_path: Path) -> None:
    first = tlsprobe(*words(ports["rude"], "--out", "out", trials=2), cwd=tmp_path)
    assert first.code == 1, first.err
    lines = (tmp_path / "out" / "trials.jsonl").read_bytes()
    more = tlsprobe("run", "--resume", "out", "--trials", "4", "--quiet", cwd=tmp_path)
    assert (more.code, more.err) == (1, "")
    run = whole(tmp_path / "out", trials=4)
    assert (tmp_path / "out" / "trials.jsonl").read_bytes().startswith(lines)
    assert run.command[-3:] == ("--trials", "4", "--quiet")


def test_several_targets_are_gone_on_with(ports: dict[str, int], tmp_path: Path) -> None:
    two = ("--target", f"127.0.0.1:{ports['polite']}")
    command = words(ports["rude"], *two, "--out", "out", trials=2)
    assert tlsprobe(*command, cwd=tmp_path).code == 1
    folders = {read_run(folder).target.port: folder for folder in (tmp_path / "out").iterdir()}
    shutil.rmtree(folders[ports["polite"]])  # as if it had been killed while it measured the first
    again = tlsprobe("run", "--resume", "out", cwd=tmp_path)
    assert again.code == 1, again.err
    assert all(len(whole(folder, trials=2).cells) >= CELLS for folder in folders.values())
    one = tlsprobe("run", "--resume", str(folders[ports["rude"]]), cwd=tmp_path)
    assert one.code == 1, one.err


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--sequence", "terminate", "--trials", "1"), ("also holds", RESET)),
        (("--tls", "1.3", *ASKED), ("also holds", "TLS 1.2")),
        (("--seed", "1", *ASKED), ("seed", "none")),
        (("--profile", "https", *ASKED), ("profile reference", "profile https")),
        (("--out", "elsewhere", *ASKED), ("--out",)),
    ],
)
def test_what_does_not_fit_is_refused(
    in_one_go: Ran, more: tuple[str, ...], said: tuple[str, ...]
) -> None:
    at = str(in_one_go.run.target)
    before = (in_one_go.folder / "run.json").read_bytes()
    ran = tlsprobe(
        *("run", "--target", at, "--profile", "reference", "--resume", "out", *more),
        cwd=in_one_go.folder.parent,
    )
    complaint(ran, 2, "hint: ", *said)
    assert (in_one_go.folder / "run.json").read_bytes() == before


def test_what_is_no_run_cannot_be_gone_on_with(tmp_path: Path) -> None:
    complaint(tlsprobe("run", "--resume", "nowhere", cwd=tmp_path), 2, "nowhere")
    (tmp_path / "empty").mkdir()
    complaint(tlsprobe("run", "--resume", "empty", cwd=tmp_path), 2, "empty/run.json")
    complaint(tlsprobe("run", cwd=tmp_path), 2, "--target")


def test_two_runs_never_share_a_folder(ports: dict[str, int], tmp_path: Path) -> None:
    command = words(ports["polite"], "--out", "out", "--rate", "0.5")
    with started(command, cwd=tmp_path):
        until((tmp_path / "out" / "run.json").exists)
        complaint(tlsprobe("run", "--resume", "out", cwd=tmp_path), 2, "another tlsprobe")


# --- the baseline --------------------------------------------------------------------------------


def test_a_baseline_fails_on_change_alone(ports: dict[str, int], in_one_go: Ran) -> None:
    """The same server again: its known findings are no change, unless asked for."""
    cwd = in_one_go.folder.parent
    expecting = ("--expect", "out", "--out", "again", "--json")
    same = tlsprobe(*words(ports["rude"], *expecting, trials=5), cwd=cwd)
    assert same.code == 0, same.err
    document = json.loads(same.out)
    jsonschema.validate(document, closed(run_schema()))
    assert [d for d in document["deviations"] if d["certain"]] == []
    strict = ("--expect", "out", "--out", "strict", "--fail-on", "warn")
    assert tlsprobe(*words(ports["rude"], *strict, trials=5), cwd=cwd).code == 1


def test_a_baseline_fails_on_an_improvement_too(ports: dict[str, int], in_one_go: Ran) -> None:
    cwd = in_one_go.folder.parent
    baseline = ("--expect", "out/run.json", "--out", "better")
    better = tlsprobe(*words(ports["polite"], *baseline, trials=5), cwd=cwd)
    assert better.code == 1, better.err
    assert "2 changes since the baseline" in better.out
    assert f"BETTER: {RESET}, TLS 1.3" in better.out
    assert "outcome reset-before-fin: 0 of 5 trials, before 25 of 25" in better.out
    found = read_run(cwd / "better").deviations
    assert found is not None
    assert {(d.sequence, d.change) for d in found if d.certain} == {(RESET, "better")}


def test_a_baseline_fails_on_a_new_fault(ports: dict[str, int], tmp_path: Path) -> None:
    assert tlsprobe(*words(ports["polite"], "--out", "good", trials=3), cwd=tmp_path).code == 0
    asked = words(ports["silent"], "--expect", "good", "--sequence", "fin-only", trials=3)
    worse = tlsprobe(*asked, "--out", "bad", cwd=tmp_path)
    assert worse.code == 1
    assert worse.out.count("WORSE: ") == CELLS
    assert "not in the baseline: fin-only, TLS 1.2; fin-only, TLS 1.3" in worse.out


def test_a_baseline_that_says_nothing_is_refused(in_one_go: Ran, tmp_path: Path) -> None:
    at = ("run", "--target", str(in_one_go.run.target), "--profile", "reference")
    expecting = ("--expect", str(in_one_go.folder), "--sequence", "abort")
    complaint(tlsprobe(*at, *expecting, cwd=tmp_path), 2, "no cell in common", "hint: ")
    complaint(tlsprobe(*at, "--expect", "nowhere", cwd=tmp_path), 2, "nowhere")
    assert not (tmp_path / "results").exists()


# --- distributions -------------------------------------------------------------------------------


def test_trials_that_differ_are_shown_as_a_distribution(
    ports: dict[str, int], tmp_path: Path
) -> None:
    """Half of the run against a server that resets, half against one that does not."""
    assert tlsprobe(*words(ports["rude"], "--out", "out", trials=6), cwd=tmp_path).code == 1
    folder = tmp_path / "out"
    document = (folder / "run.json").read_text(encoding="utf-8")
    for form in ('"port": {}', "127.0.0.1:{}"):  # pretend that it was the other server
        document = document.replace(form.format(ports["rude"]), form.format(ports["polite"]))
    (folder / "run.json").write_text(document, encoding="utf-8")
    again = tlsprobe(*words(ports["polite"], "--resume", "out", trials=12), cwd=tmp_path)
    assert again.code == 1, again.err
    for tls in ("1.2", "1.3"):
        mixed = again.cell(RESET, tls)
        assert mixed.outcomes == {Outcome.RESET_BEFORE_FIN: 6, Outcome.CLEAN: 6}
        assert mixed.verdict == "warn"
    assert "6/12" in again.out
    assert "6/12" in (folder / "matrix.md").read_text(encoding="utf-8")


def children(pid: int) -> list[int]:
    """The processes that a process, by whichever thread, has started and not waited for."""
    found: list[int] = []
    for listed in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):  # a thread that has ended meanwhile
            found += map(int, listed.read_text().split())
    return found


def test_a_run_whose_sniffer_dies_says_how_many_trials_it_cannot_vouch_for(
    ports: dict[str, int], tmp_path: Path
) -> None:
    command = words(ports["polite"], "--out", "out", "--rate", "15")
    trials = tmp_path / "out" / "trials.jsonl"
    with started(command, cwd=tmp_path) as process:
        until(lambda: trials.exists() and trials.read_bytes().count(b"\n") >= TRIALS + 5)
        sniffers = children(process.pid)
        assert sniffers
        for sniffer in sniffers:
            os.kill(sniffer, signal.SIGKILL)
        process.wait(GENEROUS_S)
    run = whole(tmp_path / "out")
    assert any("the capture ended early" in note for note in run.notes)
    first, *_, last = run.cells
    assert (first.verdict, first.reason) == (Verdict.PASS, None)
    assert last.verdict is Verdict.INCONCLUSIVE
    assert last.reason is not None  # of how many trials depends on how quick we were
    assert last.reason.endswith(f" of {TRIALS} trials: the capture had ended by then")
    lines = [line for line in read_trials(tmp_path / "out") if not line.conclusive]
    assert {line.doubt for line in lines} == {Doubt.CAPTURE_ENDED}
