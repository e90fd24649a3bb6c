"""The engine over Dask, as far as it needs no scheduler; tests/e2e/test_fleet_dask.py has one."""

from __future__ import annotations

import errno
import importlib.util
import threading
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import trio

from tlsprobe.campaign.settings import Settings
from tlsprobe.errors import CannotMeasure, UsageError
from tlsprobe.facts.file import FACTS_FILE
from tlsprobe.fleet import dask_engine, dask_task
from tlsprobe.fleet.asked import FleetSettings, target_settings
from tlsprobe.fleet.crew import ALLOWED
from tlsprobe.fleet.dask_engine import (
    MORE_S,
    DaskEngine,
    _Task,
    deadline_of,
    must_have_dask,
    slots_of,
)
from tlsprobe.fleet.orders import Ended, Lost, Order, Said, Word, packed, unpacked
from tlsprobe.model.fleet import FleetTarget

ASKED = FleetSettings(Path("out"), Settings(), {"profile": "https"}, workers=1, most=10)
ORDER = Order(7, target_settings(FleetTarget("127.0.0.1:443"), ASKED), Path("out/7"), "typed")


def key(order: Order, fleet: str = "f", vantage: str = "v") -> str:
    return DaskEngine("dask://h:1", fleet, ASKED, vantage)._key(order)


def test_a_worker_has_room_by_its_resources_or_its_threads() -> None:
    worker = {"nthreads": 8, "resources": {"vantage_osaka": 2.0}, "status": "running"}
    calm = {**worker, "metrics": {ALLOWED: 99}}
    assert slots_of(calm, "osaka") == 2
    assert slots_of(calm, "paris") == 0
    assert slots_of(calm, "") == 8
    assert slots_of({**calm, "status": "closing"}, "") == 0


def test_a_worker_has_room_for_as_many_as_it_probes_in_time() -> None:
    worker = {"nthreads": 8, "status": "running", "metrics": {"cpu": 3.0}}
    assert slots_of(worker, "") == 1, "it has said nothing yet"
    assert slots_of({**worker, "metrics": {ALLOWED: 3}}, "") == 3


def test_no_two_attempts_share_a_token() -> None:
    settings = replace(ORDER.settings, how=replace(ORDER.settings.how, trials=9))
    others = [
        key(ORDER, fleet="g"),
        key(ORDER, vantage="w"),
        key(replace(ORDER, target=8)),
        key(replace(ORDER, attempt=2)),
        key(replace(ORDER, settings=settings)),
    ]
    assert len({key(ORDER), *others}) == 6
    assert key(ORDER) == key(ORDER)


def test_a_worker_hangs_only_when_it_returns_long_after_its_target_has_to_be_left() -> None:
    how = replace(ORDER.settings.how, within=300.0)
    order = replace(ORDER, settings=replace(ORDER.settings, how=how))
    assert deadline_of(order) == 300 + MORE_S


@dataclass
class Scheduler:
    """A client of Dask, and the scheduler; without ``workers`` it cannot be reached."""

    workers: dict[str, object] | None
    status: str = "running"
    cancelled: list[object] = field(default_factory=list)

    @property
    def scheduler(self) -> Scheduler:
        return self

    def sync(self, call: Callable[..., object], **how: object) -> object:
        return call(**how)

    def scheduler_info(self, n_workers: int) -> dict[str, object]:
        """What it has in store: its own look has just taken the workers away."""
        return {"workers": {}}

    def identity(self, n_workers: int) -> dict[str, object]:
        if self.workers is None:
            raise OSError("gone")
        return {"workers": self.workers}

    def cancel(self, futures: list[object], *, force: bool) -> None:
        self.cancelled += futures


WORKER: dict[str, object] = {"w": {"nthreads": 1, "status": "running"}}


def engine(scheduler: Scheduler, *tasks: _Task) -> DaskEngine:
    made = DaskEngine("dask://h:1", "f", ASKED)
    made._client = scheduler
    made.tasks = {task.order.target: task for task in tasks}
    return made


def task() -> _Task:
    return _Task(ORDER, SimpleNamespace(status="pending"), "w", "key", 1e9, 1e9)


@pytest.mark.parametrize(
    ("workers", "hung", "why"),
    [
        (WORKER, {"w": 1}, "every worker of h:1 hangs"),
        ({}, {}, "no worker of h:1 answers"),
        (None, {}, "no worker of h:1 answers"),
    ],
    ids=["hangs", "none", "no scheduler"],
)
def test_where_nobody_can_begin_the_wait_ends(
    workers: dict[str, object] | None,
    hung: dict[str, int],
    why: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dask_engine, "GONE_S", -1.0)
    made = engine(Scheduler(workers))
    made._hung = hung
    with pytest.raises(CannotMeasure) as caught:
        trio.run(made._look_at_workers)
    assert caught.value.message == why
    trio.run(engine(Scheduler(WORKER))._look_at_workers)  # who has room may begin


@pytest.mark.parametrize(
    ("workers", "lost"),
    [
        ({}, True),
        (None, False),
        (WORKER, False),
        ({"w": {"nthreads": 1, "status": "paused"}}, False),
    ],
    ids=["gone", "no scheduler", "there", "begins nothing new"],
)
def test_a_worker_has_died_when_the_scheduler_knows_it_no_more(
    workers: dict[str, object] | None, lost: bool
) -> None:
    """Also the last one. A scheduler that cannot be reached says nothing of workers."""
    heard: list[Word] = []
    scheduler = Scheduler(workers)
    made = engine(scheduler, task())
    made._hears = heard.append

    async def look() -> None:
        await made._look_at_workers()
        await made._look_at(made.tasks[ORDER.target])

    trio.run(look)
    died = [Lost(ORDER.target, "the worker that measured it died")]
    assert (heard, len(scheduler.cancelled)) == (died if lost else [], int(lost))


def parcel() -> dask_task.Parcel:
    return dask_task.Parcel("key", ORDER, ASKED, {FACTS_FILE: zlib.compress(b"facts")})


def taken(returned: dask_task.Returned, folder: Path) -> Word:
    """What is said of an order for which a worker returned this."""
    heard: list[Word] = []
    future = SimpleNamespace(status="finished", result=lambda timeout: returned)
    one = _Task(replace(ORDER, folder=folder), future, "tcp://w:1", "key", 1e9, 1e9)
    made = engine(Scheduler(WORKER), one)
    made._hears = heard.append
    trio.run(made._look_at, one)
    (word,) = heard
    return word


@pytest.mark.parametrize("where", ["unpack", "TemporaryDirectory", "_crew"])
def test_a_worker_whose_disk_is_full_says_so_wherever_it_finds_out(
    where: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The coordinator hears which worker it is, and that it is not the target's failure."""
    worker = SimpleNamespace(state=SimpleNamespace(tasks={}))
    said = Ended(1, "cannot write results", no_room=True)
    crew = SimpleNamespace(probe=lambda *_, **__: ((), said))

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "facts.jsonl.gz")

    monkeypatch.setattr(dask_task, "is_first", lambda _: True)
    monkeypatch.setattr(dask_task, "get_worker", lambda: worker)
    monkeypatch.setattr(dask_task, "_crew", lambda: crew)
    if where != "_crew":
        monkeypatch.setattr(dask_task, where, full)
    returned = dask_task.measure(parcel())
    word = taken(returned, tmp_path / "run")
    assert isinstance(word, Ended)
    assert word.no_room
    assert word.failure.startswith("a worker at tcp://w:1: cannot write ")
    assert not (tmp_path / "run").exists()


def test_what_a_worker_lost_is_not_the_targets_failure(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    worker = SimpleNamespace(state=SimpleNamespace(tasks={}))
    lost = Lost(1, "the capture ended early: the capturing process ended")
    crew = SimpleNamespace(probe=lambda *_, **__: ((), lost))
    monkeypatch.setattr(dask_task, "is_first", lambda _: True)
    monkeypatch.setattr(dask_task, "get_worker", lambda: worker)
    monkeypatch.setattr(dask_task, "_crew", lambda: crew)
    word = taken(dask_task.measure(parcel()), tmp_path / "run")
    assert word == Lost(ORDER.target, lost.reason)


def test_another_error_of_a_workers_disk_is_not_a_full_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object, **__: object) -> None:
        raise OSError(errno.EACCES, "Permission denied", "run")

    monkeypatch.setattr(dask_task, "is_first", lambda _: True)
    monkeypatch.setattr(dask_task, "unpack", denied)
    with pytest.raises(PermissionError):
        dask_task.measure(parcel())


@pytest.mark.slow
def test_who_finds_no_worker_any_more_is_lost() -> None:
    """They may go between the look at whether there is room, and the order."""
    heard: list[Word] = []
    made = engine(Scheduler({}))
    made._hears = heard.append
    trio.run(made.order, ORDER)
    assert heard == [Lost(ORDER.target, "no worker was left to begin it")]


def test_a_call_that_does_not_return_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask_engine, "RETURNS_WITHIN_S", 0.01)
    returns = threading.Event()
    with pytest.raises(TimeoutError):
        trio.run(dask_engine._called, returns.wait)
    returns.set()


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UsageError) as caught:
        must_have_dask()
    assert caught.value.hint == "pip install 'tlsprobe[fleet]'"


def test_words_come_out_of_a_pipe_whole() -> None:
    said = [Said(1, "a" * 300), Said(2, "b")]
    data = bytearray()
    found: list[object] = []
    for byte in b"".join(map(packed, said)):
        data.append(byte)
        found += unpacked(data)
    assert (found, data) == (said, bytearray())
