"""A fleet over a real scheduler of Dask: workers that are killed or hang, a scheduler that dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path

import pytest
import trio

from tests.e2e.probing import PATIENCE, tlsprobe
from tests.e2e.test_campaign import children
from tests.fleet.crowd import crowd
from tests.fleet.swarm import VANTAGE, Swarm, swarm
from tlsprobe.campaign.settings import Settings
from tlsprobe.drive.script import Patience
from tlsprobe.facts.file import FACTS_FILE, RecordedFacts
from tlsprobe.fleet.asked import FleetSettings
from tlsprobe.fleet.coordinator import Coordinator
from tlsprobe.fleet.dask_engine import DaskEngine
from tlsprobe.fleet.ledger import Ledger
from tlsprobe.fleet.targets import read_targets
from tlsprobe.model.facts import TrialFact
from tlsprobe.model.fleet import Answer, FleetFacts, State
from tlsprobe.model.judgement import Verdict

pytestmark = [pytest.mark.packet_socket, pytest.mark.slow]

HANGS_S = PATIENCE
"""Longer than any target takes, also on a busy machine."""


class Notes(list[str]):
    """What a coordinator says."""

    def note(self, text: str) -> None:
        """Keep it."""
        self.append(text)

    def running(self, done: int, failed: int, running: int, allowed: int) -> None:
        """Nothing is shown."""


def fleet_of(
    targets: str,
    folder: Path,
    dask: Swarm,
    meanwhile: Callable[[DaskEngine], Awaitable[None]],
    sequences: Sequence[str] = ("terminate", "request; drain 2s"),
    *,
    interrupted: bool = False,
) -> list[Answer]:
    """What came of a fleet during which something happens."""
    facts = FleetFacts(0.0, VANTAGE, (), "tlsprobe fleet", "0")
    how = Settings(trials=1, patience=Patience(2.0), require_capture=True)
    options = {"profile": "reference", "sequence": list(sequences)}
    asked = FleetSettings(folder, how, options, workers=1, most=100)

    async def run() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(meanwhile, engine)
            assert await coordinator.run() == interrupted
            nursery.cancel_scope.cancel()

    with closing(Ledger.create(folder, facts, read_targets(targets, "list"))) as ledger:
        address = f"127.0.0.1:{dask.port}"
        engine = DaskEngine(address, ledger.name(), asked, VANTAGE, lambda _: HANGS_S)
        coordinator = Coordinator(ledger, asked, Notes(), engine)
        trio.run(run)
        return list(ledger.answers())


async def orders(engine: DaskEngine, worker: str | None = None) -> int:
    """Wait until a worker, or any of them, has an order; the number of its target."""
    while True:
        for number, task in engine.tasks.items():
            if worker in {None, task.worker}:
                return number
        await trio.sleep(0.02)


def trials_in(work: Path) -> int:
    """How many trials a worker has written down where it works."""
    facts = [RecordedFacts(file) for file in work.glob(f"tlsprobe-*/run/{FACTS_FILE}")]
    return sum(isinstance(fact, TrialFact) for one in facts for fact in one.read())


def assert_one_answer_or_reason(found: list[Answer]) -> None:
    """Each target was measured once, or it is said why not and why again."""
    for one in found:
        if one.state is State.DONE:
            assert one.run is not None
            assert not one.run.interrupted
            assert one.run.capture.packets > 0
            assert {cell.verdict for cell in one.run.cells} <= {
                *(Verdict.PASS, Verdict.INFO, Verdict.INCONCLUSIVE)
            }
        else:
            assert one.state is State.FAILED
            assert one.reason
        *before, _ = one.attempts
        assert [attempt.because for attempt in one.attempts[:1]] == [""]
        assert all(attempt.because for attempt in one.attempts[1:]), "a repeat says why"
        assert all(attempt.state in {State.LOST, State.DONE} for attempt in before)


def test_a_killed_and_a_hanging_worker_cost_their_own_targets_alone(tmp_path: Path) -> None:
    with crowd(8) as targets, swarm(tmp_path, workers=3) as dask:
        killed, hanging, _ = dask.workers
        numbers: dict[str, int] = {}

        async def happens(engine: DaskEngine) -> None:
            numbers["hanging"] = await orders(engine, hanging)
            dask.workers[hanging].send_signal(signal.SIGSTOP)
            engine.tasks[numbers["hanging"]].until = trio.current_time()  # as if it had passed
            numbers["killed"] = await orders(engine, killed)
            dask.workers[killed].send_signal(signal.SIGKILL)

        found = fleet_of(targets, tmp_path, dask, happens)
    assert_one_answer_or_reason(found)
    by_number = dict(enumerate(found, 1))
    hung = by_number.pop(numbers["hanging"])
    assert (hung.state, len(hung.attempts)) == (State.FAILED, 1)
    assert "hangs" in hung.reason
    assert [one.reason for one in by_number.values() if one.state is not State.DONE] == []
    lost = by_number[numbers["killed"]].attempts[0]
    assert (lost.state, lost.reason) == (State.LOST, "the worker that measured it died")


def test_targets_of_a_worker_share_its_processes(tmp_path: Path) -> None:
    """One for each processor, however many targets are probed at once."""
    most: list[int] = []
    with crowd(6) as targets, swarm(tmp_path, workers=1, room=6) as dask:
        (worker,) = dask.workers.values()

        async def happens(_: DaskEngine) -> None:
            while True:
                most.append(sum(is_prober(one) for one in children(worker.pid)))
                await trio.sleep(0.1)

        found = fleet_of(targets, tmp_path, dask, happens)
    assert_one_answer_or_reason(found)
    assert [one.reason for one in found if one.state is not State.DONE] == []
    assert 1 <= max(most) <= len(os.sched_getaffinity(0))


def is_prober(pid: int) -> bool:
    """Whether this is a process that probes."""
    with suppress(OSError):
        return b"tlsprobe.fleet.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


def test_what_workers_had_measured_survives_an_interrupt(tmp_path: Path) -> None:
    with crowd(1) as targets, swarm(tmp_path, workers=1) as dask:
        waits = ("terminate", "request; drain 60s")

        async def happens(_: DaskEngine) -> None:
            while trials_in(dask.work) < 2:  # one of the first sequence in each version
                await trio.sleep(0.05)
            signal.raise_signal(signal.SIGINT)

        (found,) = fleet_of(targets, tmp_path, dask, happens, waits, interrupted=True)
    assert found.run is not None
    assert [one.state for one in found.attempts] == [State.INTERRUPTED]
    assert found.run.interrupted
    assert {cell.sequence for cell in found.run.cells if cell.signatures} == {"terminate"}


def test_a_scheduler_that_is_started_again_is_gone_on_with(tmp_path: Path) -> None:
    with crowd(4) as targets, swarm(tmp_path, workers=1) as dask:

        async def happens(engine: DaskEngine) -> None:
            await orders(engine)
            assert dask.scheduler is not None
            dask.scheduler.kill()
            dask.scheduler.wait()
            dask.start_scheduler()
            dask.start_worker()

        found = fleet_of(targets, tmp_path, dask, happens)
    assert_one_answer_or_reason(found)
    assert {one.state for one in found} == {State.DONE}
    lost = [one.attempts[0].reason for one in found if one.attempts[0].state is State.LOST]
    assert lost, "what the scheduler knew is lost"


def test_who_finds_no_token_leaves_the_server_alone(tmp_path: Path) -> None:
    """Dask hands what a dead worker had begun to the next one. That one may not connect."""
    (tmp_path / "task.py").write_text(
        "import sys\n"
        "from distributed import Client, Queue\n"
        "from tlsprobe.fleet.dask_task import is_first\n"
        "with Client(sys.argv[1]) as client:\n"
        "    Queue('one', client=client).put(b'')\n"
        "    ask = lambda: client.submit(is_first, 'one', pure=False).result()\n"
        "    print(ask(), ask())\n"
    )
    with swarm(tmp_path, workers=1) as dask:
        command = [sys.executable, str(tmp_path / "task.py"), f"tcp://127.0.0.1:{dask.port}"]
        ran = subprocess.run(command, check=False, capture_output=True, text=True, timeout=PATIENCE)
    assert ran.stdout.split() == ["True", "False"], ran.stderr


def test_the_command_over_a_scheduler(tmp_path: Path) -> None:
    with crowd(3) as targets, swarm(tmp_path, workers=2) as dask:
        (tmp_path / "list").write_text(targets)
        words = ("--sequence", "terminate", "--trials", "1", "--vantage", VANTAGE, "--out", "out")
        engine = ("--engine", f"dask://127.0.0.1:{dask.port}")
        ran = tlsprobe("fleet", "list", *words, *engine, cwd=tmp_path)
    assert ran.code == 0, ran.err
    assert "3 measured" in ran.out


def test_an_engine_that_there_is_not(tmp_path: Path) -> None:
    (tmp_path / "list").write_text("127.0.0.1:1 profile=reference\n")
    ran = tlsprobe("fleet", "list", "--engine", "slurm://here", cwd=tmp_path)
    assert (ran.code, "dask://HOST:PORT" in ran.err) == (2, True)
