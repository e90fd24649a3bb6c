"""What becomes of a folder when its target was measured, and when the load spoiled some of it."""

from __future__ import annotations

import errno
import shutil
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio

from tlsprobe.behaviours import behaviours_of
from tlsprobe.campaign.capturing import capturing
from tlsprobe.campaign.settings import RunSettings, Settings, TargetSettings
from tlsprobe.errors import CannotMeasure
from tlsprobe.facts.file import FACTS_FILE
from tlsprobe.fleet import worker
from tlsprobe.fleet.asked import FleetSettings, target_settings
from tlsprobe.fleet.coordinator import LOAD, Coordinator, _Turn
from tlsprobe.fleet.dask_engine import DaskEngine
from tlsprobe.fleet.ledger import Ledger
from tlsprobe.fleet.orders import Ended, Lost, Order, Word, unpacked
from tlsprobe.fleet.worker import ended_by
from tlsprobe.model.fleet import FleetFacts, FleetTarget, State
from tlsprobe.model.judgement import Doubt, Verdict
from tlsprobe.model.run import CutShort, Left, Run
from tlsprobe.model.waiver import Waiver
from tlsprobe.report.document import RUN_FILE, TRIALS_FILE, encode_run, read_run
from tlsprobe.waiving import standing

MEASURED = Path("tests/data/judged/rude")
LONG_S = 60
"""Longer than anything takes that does not wait for ever."""

FACTS = FleetFacts(1.5, "here", (), "tlsprobe fleet list", "0.1")


class Nobody:
    """Who does not watch."""

    def note(self, text: str) -> None:
        """Nothing is shown."""

    def running(self, done: int, failed: int, running: int, allowed: int) -> None:
        """Nothing is shown."""


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with closing(Ledger.create(tmp_path, FACTS, [FleetTarget("a.example:443")])) as made:
        yield made


def coordinator(
    ledger: Ledger, keep: str = "findings", waivers: tuple[Waiver, ...] = ()
) -> Coordinator:
    asked = FleetSettings(ledger.file.parent, Settings(), {}, 1, 1, keep=keep, waivers=waivers)
    return Coordinator(ledger, asked, Nobody())


def measured(one: Coordinator, *, spoiled: bool) -> tuple[Run, Path]:
    """A folder as a worker leaves it, and its run."""
    folder = one.folder_of(1)
    shutil.copytree(MEASURED, folder)
    run = read_run(folder)
    if spoiled:
        late = replace(run.cells[0], verdict=Verdict.INCONCLUSIVE, left_out={Doubt.LATE.value: 1})
        run = replace(run, cells=(late, *run.cells[1:]))
    (folder / RUN_FILE).write_bytes(encode_run(run))
    for name in (TRIALS_FILE, "capture.pcapng", "capture-2.pcapng", "matrix.md"):
        (folder / name).touch()
    return run, folder


def test_of_a_whole_run_what_there_is_to_see_is_kept(ledger: Ledger) -> None:
    one = coordinator(ledger)
    run, folder = measured(one, spoiled=False)
    one.keep(ledger.claim(1), run, folder)
    assert sorted(entry.name for entry in folder.iterdir()) == sorted(
        ["capture.pcapng", "capture-2.pcapng", FACTS_FILE, RUN_FILE]
    )
    assert one.again == []


def test_the_ledger_has_what_is_waived(ledger: Ledger) -> None:
    accepted = Waiver("known", rule="*", target="127.0.0.1:*")
    one = coordinator(ledger, waivers=(accepted, Waiver("another", rule="*", target="b.example:1")))
    run, folder = measured(one, spoiled=False)
    assert standing(behaviours_of(run))
    one.keep(ledger.claim(1), run, folder)
    kept = ledger.run(1)
    assert kept is not None
    assert [use.waiver for use in kept.waivers] == [accepted]
    assert {found.waived for found in behaviours_of(kept)} == {"known"}


def test_only_what_was_spoiled_is_driven_again(ledger: Ledger) -> None:
    one = coordinator(ledger, keep="none")
    run, folder = measured(one, spoiled=True)
    one.keep(ledger.claim(1), run, folder)
    assert (one.again, one.done) == ([1], 1)
    assert (folder / TRIALS_FILE).exists(), "the second attempt goes on with it"
    one.keep(ledger.claim(1, LOAD), run, folder)
    assert (one.again, one.done) == ([1], 1), "there is no third attempt"
    assert not folder.exists()


def test_a_target_whose_time_is_over_is_done_in_part_and_not_driven_again(ledger: Ledger) -> None:
    one = coordinator(ledger)
    run, folder = measured(one, spoiled=True)
    why = "this target's time was over: 99 s"
    over = replace(run, cut_short=CutShort(Left.TIME_OVER, why))
    one.keep(ledger.claim(1), over, folder)
    (answer,) = ledger.answers()
    assert (answer.state, answer.reason, answer.is_in_part) == (State.DONE, why, True)
    assert (one.again, one.done) == ([], 1)


def test_a_server_that_went_away_is_measured_in_part(ledger: Ledger) -> None:
    one = coordinator(ledger)
    run, folder = measured(one, spoiled=False)
    why = "the server refuses connections"
    gone = replace(run, cut_short=CutShort(Left.SERVER_GONE, why))
    one.keep(ledger.claim(1), gone, folder)
    (answer,) = ledger.answers()
    assert (answer.reason, answer.is_in_part) == (why, True)


UNWRITABLE = "the capture file cannot be written (No space left on device)"


@pytest.mark.parametrize("reason", ["the capturing process ended", UNWRITABLE, ""])
def test_a_run_that_was_not_captured_to_its_end_is_no_answer(
    reason: str, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = coordinator(ledger)
    run, folder = measured(one, spoiled=False)
    note = f"the capture ended early: {reason}"
    ended = replace(run.capture, ended=reason, unwritable=reason == UNWRITABLE)
    said: list[Word] = []

    async def recognised(asked: RunSettings, _: object) -> RunSettings:
        await trio.lowlevel.checkpoint()
        return asked

    async def probe(*_: object) -> Run:
        await trio.lowlevel.checkpoint()
        return replace(run, capture=ended)

    async def send_all(data: bytes) -> None:
        await trio.lowlevel.checkpoint()
        said.extend(unpacked(bytearray(data)))

    monkeypatch.setattr(worker, "recognised", recognised)
    monkeypatch.setattr(worker, "probe", probe)
    works: Any = worker._Worker(SimpleNamespace(send_all=send_all), None, capturing)  # type: ignore[arg-type]
    settings = target_settings(FleetTarget("127.0.0.1:443"), one.asked)
    trio.run(works.obey, Order(1, settings, folder, "typed"))
    expected: dict[str, Word] = {
        "the capturing process ended": Lost(1, note),
        UNWRITABLE: Ended(1, note, no_room=True),
        "": Ended(1),
    }
    assert said == [expected[reason]]
    assert folder.exists() is (not reason)


def test_what_was_lost_is_measured_once_more_and_says_why(ledger: Ledger) -> None:
    one = coordinator(ledger)
    lost = Lost(1, "the process that probed it died")
    one.turns[1] = _Turn(ledger.claim(1), one.folder_of(1), frozenset())
    one.hears(lost)
    because = f"measured again: {lost.reason}"
    assert list(one.waiting) == [(1, because)]
    one.turns[1] = _Turn(ledger.claim(1, because), one.folder_of(1), frozenset())
    one.hears(lost)
    states = [attempt.state for attempt in ledger.attempts()[1]]
    assert states == [State.LOST, State.FAILED]
    assert ledger.attempts()[1][-1].reason == f"{lost.reason}, twice"


def test_a_full_disk_is_not_what_becomes_of_a_target(ledger: Ledger) -> None:
    full = coordinator(ledger)
    full.turns[1] = _Turn(ledger.claim(1), full.folder_of(1), frozenset())
    full.ends(Ended(1, "cannot write it: No space left on device", no_room=True))
    assert full.stop.is_set()
    assert ledger.attempts()[1][-1].state is State.INTERRUPTED
    resumed = coordinator(ledger)
    because = "measured again: cannot write it: No space left on device"
    assert trio.run(resumed.take_up) == [(1, because)]


def test_a_worker_tells_a_full_disk_from_a_target_that_failed() -> None:
    disk = OSError(errno.ENOSPC, "No space left on device")
    assert ended_by(1, ExceptionGroup("", [disk])).no_room
    assert ended_by(1, CannotMeasure("refused")) == Ended(1, "refused")
    assert ended_by(1, ValueError("x")) == Ended(1, "tlsprobe failed: ValueError: x")


@pytest.mark.parametrize("spoiled", [True, False])
def test_a_kill_before_the_second_attempt_does_not_prevent_it(
    ledger: Ledger, spoiled: bool
) -> None:
    killed = coordinator(ledger, keep="none")
    run, folder = measured(killed, spoiled=spoiled)
    ledger.answer(ledger.claim(1), run, b"")
    resumed = coordinator(ledger, keep="none")
    assert trio.run(resumed.take_up) == []
    assert resumed.again == ([1] if spoiled else [])
    assert folder.exists() is spoiled
    assert ledger.attempts()[1][-1].state is State.DONE


def test_who_probes_is_told_the_addresses_that_were_looked_at(
    ledger: Ledger, tmp_path: Path
) -> None:
    asked = FleetSettings(tmp_path, Settings(), {}, workers=1, most=1)
    coordinator = Coordinator(ledger, asked, Nobody())
    coordinator.targets[1] = FleetTarget("[::ffff:127.0.0.1]:1")
    ready = trio.run(coordinator.ready, 1)
    assert ready.settings.how.only == ("127.0.0.1",)


def test_names_are_looked_up_side_by_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each may take as long as a resolver that does not answer."""
    targets = [FleetTarget(f"{name}.example:443") for name in "abc"]
    together = threading.Barrier(len(targets))

    def looked_up(settings: TargetSettings) -> tuple[str, ...]:
        together.wait(LONG_S)
        if settings.target.host == "b.example":
            raise CannotMeasure("nobody knows b.example")
        return ("192.0.2.1",)

    monkeypatch.setattr("tlsprobe.fleet.coordinator.addresses_of", looked_up)
    with closing(Ledger.create(tmp_path, FACTS, targets)) as ledger:
        one = coordinator(ledger)
        one.waiting.extend((number, "") for number in (2, 3))
        assert trio.run(one.ready, 1).addresses == {"192.0.2.1"}
        with pytest.raises(CannotMeasure, match=r"b\.example"):
            trio.run(one.ready, 2)
        assert trio.run(one.ready, 3).addresses == {"192.0.2.1"}


def test_a_fleet_that_is_measured_needs_no_engine(ledger: Ledger) -> None:
    ledger.answer(ledger.claim(1), read_run(MEASURED), b"")
    asked = FleetSettings(ledger.file.parent, Settings(), {}, 1, 1)
    engine = DaskEngine("127.0.0.1:1", ledger.name(), asked)  # where nobody listens
    one = Coordinator(ledger, asked, Nobody(), engine)
    assert trio.run(one.run) is False
    assert one.done == 1
