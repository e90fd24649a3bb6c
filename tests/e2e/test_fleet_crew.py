"""The processes that a worker of Dask shares among its targets, without Dask."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.e2e.probing import PATIENCE
from tests.fleet.crowd import crowd
from tlsprobe.campaign.reading import read_results
from tlsprobe.campaign.settings import Settings
from tlsprobe.drive.script import Patience
from tlsprobe.facts.file import FACTS_FILE, RecordedFacts
from tlsprobe.fleet import crew
from tlsprobe.fleet.asked import FleetSettings, target_settings
from tlsprobe.fleet.crew import Crew
from tlsprobe.fleet.orders import Ended, Lost, Order
from tlsprobe.fleet.targets import read_targets
from tlsprobe.model.facts import TrialFact
from tlsprobe.model.fleet import FleetTarget

pytestmark = [pytest.mark.packet_socket, pytest.mark.slow]

LONG = ("terminate", "request; drain 60s")


@dataclass
class Probed:
    """A target that is probed by a thread, until it is told that nobody wants it, or to stop."""

    folder: Path
    wanted: bool = True
    stopped: bool = False
    ended: list[Ended | Lost | None] = field(default_factory=list)
    thread: threading.Thread | None = None

    def begin(self, crew: Crew, target: FleetTarget, *sequences: str) -> Probed:
        how = Settings(trials=1, patience=Patience(2.0), require_capture=True)
        options = {"profile": "reference", "sequence": list(sequences)}
        asked = FleetSettings(self.folder, how, options, workers=1, most=9)
        # All have one number: those of several fleets may.
        order = Order(1, target_settings(target, asked), self.folder, "typed")

        def probe() -> None:
            _, ended = crew.probe(order, lambda: self.wanted, lambda: self.stopped)
            self.ended.append(ended)

        self.thread = threading.Thread(target=probe, daemon=True)
        self.thread.start()
        return self

    def is_under_way(self) -> bool:
        file = self.folder / FACTS_FILE
        if not file.exists():
            return False
        return any(isinstance(fact, TrialFact) for fact in RecordedFacts(file).read())

    def result(self) -> Ended | Lost | None:
        assert self.thread is not None
        self.thread.join(PATIENCE)
        (ended,) = self.ended
        return ended


def wait_for(these: list[Probed]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not all(one.is_under_way() for one in these):
        assert all(one.thread is not None and one.thread.is_alive() for one in these)
        assert time.monotonic() < deadline
        time.sleep(0.05)


def process_of(one: Crew) -> int:
    """The process of a crew that has one."""
    (process,) = one._engine._processes
    return process.process.pid


@pytest.fixture(scope="module")
def targets() -> Iterator[tuple[FleetTarget, ...]]:
    with crowd(2) as lines:
        yield read_targets(lines, "list")


@pytest.fixture
def two(targets: tuple[FleetTarget, ...], tmp_path: Path) -> tuple[Crew, Probed, Probed]:
    """A process that probes two targets at once."""
    made = Crew(workers=1, most=2)
    both = [
        Probed(tmp_path / name).begin(made, one, *LONG)
        for name, one in zip("ab", targets, strict=True)
    ]
    wait_for(both)
    return (made, both[0], both[1])


def test_one_that_is_stopped_keeps_what_it_has_and_leaves_the_other(
    two: tuple[Crew, Probed, Probed],
) -> None:
    _, one, other = two
    one.stopped = True
    assert one.result() is not None
    assert other.thread is not None and other.thread.is_alive()
    other.stopped = True
    assert other.result() is not None
    for probed in (one, other):
        run = read_results(probed.folder)
        assert run.interrupted
        assert {cell.sequence for cell in run.cells if cell.signatures} == {"terminate"}


def test_a_process_that_hangs_is_killed_and_another_takes_its_place(
    two: tuple[Crew, Probed, Probed],
    targets: tuple[FleetTarget, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made, one, other = two
    monkeypatch.setattr(crew, "ENDS_WITHIN_S", 0.1)
    os.kill(process_of(made), signal.SIGSTOP)
    one.wanted = False
    assert one.result() is None
    ended = other.result()
    assert isinstance(ended, Lost)
    assert ended.reason == "the process that probed it died"
    third = Probed(tmp_path / "c").begin(made, targets[0], "terminate")
    ended = third.result()
    assert isinstance(ended, Ended)
    assert ended.failure == ""
