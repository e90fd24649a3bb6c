"""`tlsprobe fleet` on built-in servers, each on an address of its own."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import pytest

from tests.bench.fleet_kills import kill_and_resume
from tests.e2e.probing import PATIENCE, SPOILED, Ran, probe, tlsprobe
from tests.e2e.test_campaign import children
from tests.fleet.crowd import crowd
from tests.prepared import Started, started
from tlsprobe.fleet.ledger import Ledger
from tlsprobe.model.fleet import Answer, State
from tlsprobe.model.run import Run

pytestmark = pytest.mark.packet_socket

T = TypeVar("T")

QUICK = ("--sequence", "terminate", "--sequence", "terminate-with-close-notify")
"""What comes out does not depend on who is quicker, the server or we."""

ONE = ("--trials", "2", "--workers", "1")
"""One process costs its imports once."""

SLOW = (*QUICK, "--sequence", "request; drain 2s")
"""Long enough to be killed in the middle."""


def fleet(targets: str, *words: str, cwd: Path) -> Ran:
    (cwd / "list").write_text(targets)
    asked = ("fleet", "list", "--out", str(cwd / "out"), "--require-capture", *ONE)
    return tlsprobe(*asked, *words, cwd=cwd)


def answers(folder: Path) -> list[Answer]:
    with closing(Ledger.open(folder)) as ledger:
        return list(ledger.answers())


def told(run: Run | None) -> dict[tuple[str, str], tuple[object, ...] | None]:
    """What a run says of each cell, but for how long anything took; None if we were too slow."""
    assert run is not None
    return {
        (c.sequence, c.tls): None
        if c.left_out.keys() & SPOILED
        else (c.verdict, c.outcomes, c.causes)
        for c in run.cells
        if c.role == "asked"
    }


@contextmanager
def measuring(targets: str, *words: str, cwd: Path) -> Iterator[Started]:
    """The process of a fleet that has begun; it is killed when the block ends."""
    (cwd / "list").write_text(targets)
    asked = ("fleet", "list", "--out", str(cwd / "out"), *ONE, *words)
    with (
        (cwd / "err").open("wb") as out,
        started(asked, cwd=cwd, env={**os.environ}, streams=(out, out)) as process,
    ):
        yield process


def claims(folder: Path) -> int:
    """How many attempts the ledger knows."""
    try:
        with closing(Ledger.open(folder)) as ledger:
            return sum(map(len, ledger.attempts().values()))
    except Exception:
        return 0


def until(found: Callable[[], T], process: Started) -> T:
    """Waits for something that a fleet does while it runs, and gives it."""
    while not (it := found()):
        assert not process.has_ended, "it ended before"
        time.sleep(0.05)
    return it


def test_one_among_many_is_judged_as_alone(tmp_path: Path) -> None:
    with crowd(4, "rude") as targets:
        ran = fleet(targets, *QUICK, cwd=tmp_path)
        (tmp_path / "alone").mkdir()
        address = targets.split()[0]
        words = ("--profile", "reference", "--trials", "2", *QUICK)
        alone = probe(address, *words, cwd=tmp_path / "alone")
    assert ran.code == 1, ran.err
    found = answers(tmp_path / "out")
    expected = told(alone.run)
    for among in (told(one.run) for one in found):
        assert among.keys() == expected.keys()
        both = [cell for cell, how in among.items() if how and expected[cell]]
        assert [among[cell] for cell in both] == [expected[cell] for cell in both]
    assert "4 measured" in ran.out
    for one in found:
        assert one.run is not None
        assert one.run.capture.backend == "packet"
        assert one.run.capture.packets > 0
    kept = sorted(path.name for path in (tmp_path / "out" / "targets").iterdir())
    assert len(kept) == 4, "there is something to see in each capture"


def test_targets_that_cannot_be_measured_are_named_with_their_reasons(tmp_path: Path) -> None:
    with crowd(1) as targets:
        address = targets.split()[0]
        others = "\n".join(
            (
                "127.99.0.1:1 name=nobody profile=reference",
                "no-such-host.invalid:443",
                "127.20.0.1:443 name=denied",
            )
        )
        ran = fleet(f"{targets}{others}\n", *QUICK, "--deny", "127.20.0.0/16", cwd=tmp_path)
    assert ran.code == 1
    good, refused, unknown, denied = answers(tmp_path / "out")
    assert (good.target.address, good.state) == (address, State.DONE)
    assert "refused" in refused.reason
    assert "cannot resolve" in unknown.reason
    assert "--deny" in denied.reason
    assert not (tmp_path / "out" / "targets" / f"1-{address}").exists()


def test_a_kill_loses_nothing_and_repeats_nothing_in_silence(tmp_path: Path) -> None:
    with crowd(4) as targets:
        with measuring(targets, *SLOW, "--at-once", "2", cwd=tmp_path) as process:
            until(lambda: claims(tmp_path / "out") >= 3, process)
            process.kill(signal.SIGKILL)
        before = {one.target.address: one for one in answers(tmp_path / "out")}
        ran = tlsprobe("fleet", "resume", "out", cwd=tmp_path)
        assert ran.code == 0, ran.err
    for one in answers(tmp_path / "out"):
        assert one.state is State.DONE, one
        was = before[one.target.address]
        if was.state is State.DONE:
            assert one.attempts == was.attempts, "what has an answer is not measured again"
        elif was.attempts and len(one.attempts) > 1:
            assert one.attempts[-1].because, "a repeat says why"
    again = tlsprobe("fleet", "resume", "out", cwd=tmp_path)
    assert again.code == 0
    assert [len(one.attempts) for one in answers(tmp_path / "out")] == [
        len(one.attempts) for one in answers(tmp_path / "out")
    ]


@pytest.mark.slow
def test_kills_at_a_few_moments_lose_nothing_and_repeat_nothing_in_silence() -> None:
    assert kill_and_resume(kills=3, targets=5, seed=3) == 0


def test_ctrl_c_keeps_what_was_measured(tmp_path: Path) -> None:
    with crowd(2) as targets:
        with measuring(targets, *SLOW, cwd=tmp_path) as process:
            # On a busy machine the second waits until the first is done.
            until(lambda: claims(tmp_path / "out") >= 1, process)
            process.kill(signal.SIGINT)
            assert process.wait(PATIENCE) == 130
        states = {one.state for one in answers(tmp_path / "out")}
        assert State.INTERRUPTED in states <= {State.INTERRUPTED, None}
        ran = tlsprobe("fleet", "resume", "out", cwd=tmp_path)
    assert ran.code == 0, ran.err
    assert {one.state for one in answers(tmp_path / "out")} == {State.DONE}


def test_the_targets_of_a_process_that_dies_are_measured_again_and_no_others(
    tmp_path: Path,
) -> None:
    with (
        crowd(3) as targets,
        measuring(targets, *SLOW, "--at-once", "2", cwd=tmp_path) as process,
    ):
        until(lambda: list(tmp_path.glob("out/targets/*/facts*")), process)
        os.kill(until(lambda: workers_of(process.pid), process)[0], signal.SIGKILL)
        assert process.wait(PATIENCE) == 0
    found = answers(tmp_path / "out")
    assert {one.state for one in found} == {State.DONE}
    lost = [one for one in found if one.attempts[0].state is State.LOST]
    assert 1 <= len(lost) <= 2
    assert all("died" in one.attempts[1].because for one in lost)


def workers_of(pid: int) -> list[int]:
    """The processes that a coordinator has started to measure."""
    found = []
    for child in children(pid):
        with suppress(OSError):  # it has ended meanwhile
            if b"fleet.worker" in Path(f"/proc/{child}/cmdline").read_bytes():
                found.append(child)
    return found


def test_parts_together_are_the_whole(tmp_path: Path) -> None:
    with crowd(3) as targets:
        for part in ("1/2", "2/2"):
            folder = tmp_path / part[0]
            folder.mkdir()
            ran = fleet(targets, *QUICK, "--shard", part, "--vantage", f"v{part[0]}", cwd=folder)
            assert ran.code == 0, ran.err
    told = tlsprobe("fleet", "report", "1/out", "2/out", "--json", cwd=tmp_path)
    lines = [json.loads(line) for line in told.out.splitlines()]
    assert sorted(line["address"] for line in lines) == sorted(targets.split()[::2])
    assert {line["vantage"] for line in lines} == {"v1", "v2"}
    metrics = ("--metrics", "fleet.prom")
    tlsprobe("fleet", "report", "1/out", *metrics, cwd=tmp_path)
    assert (tmp_path / "fleet.prom").read_text().endswith("# EOF\n")


def test_status_and_what_changed(tmp_path: Path) -> None:
    with crowd(2, "rude") as rude:
        assert fleet(rude, *QUICK, cwd=tmp_path).code == 1
        status = tlsprobe("fleet", "status", "out", "--json", cwd=tmp_path)
        told = json.loads(status.out)
        assert told["done"] == 2
        assert [one["target"] for one in told["worst"]] == rude.split()[::2]
        assert told["worst"][0]["harm"] in tlsprobe("fleet", "status", "out", cwd=tmp_path).out
        same = tlsprobe("fleet", "report", "out", "--expect", "out", cwd=tmp_path)
        assert same.code == 0
        assert "Nothing that every trial shows" in same.out


def test_nothing_is_opened_in_a_dry_run(tmp_path: Path) -> None:
    ran = fleet("127.99.0.1:1\n127.99.0.2:1 profile=postgres\n", "--dry-run", cwd=tmp_path)
    assert ran.code == 0, ran.err
    assert "2, on 2 hosts" in ran.out
    assert not (tmp_path / "out").exists()


def test_help_and_the_short_form(tmp_path: Path) -> None:
    assert "resume" in tlsprobe("fleet", "--help", cwd=tmp_path).out
    assert "--dry-run" in tlsprobe("fleet", "run", "--help", cwd=tmp_path).out
    missing = tlsprobe("fleet", "no-such-file", cwd=tmp_path)
    assert missing.code == 2
    assert "no-such-file" in missing.err
