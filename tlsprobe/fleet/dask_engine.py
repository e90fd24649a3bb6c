"""The engine of many machines: workers of Dask probe, each of them as many targets as it can.

The coordinator chooses the worker of each target itself, and gives no worker more than it has room
for. So a target is being probed from when it was handed in, and its deadline counts from there; and
when a worker is gone, it is known whose answers went with it. See `dask_task` for how an attempt is
kept from being made twice.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import Any, TypeVar

import trio

from tlsprobe.campaign.results import writing
from tlsprobe.errors import CannotMeasure, UsageError
from tlsprobe.facts.file import FACTS_FILE
from tlsprobe.fleet.asked import FleetSettings
from tlsprobe.fleet.crew import ALLOWED
from tlsprobe.fleet.orders import Ended, Lost, Order, Said, Word
from tlsprobe.report.document import RUN_FILE, TRIALS_FILE

_T = TypeVar("_T")

SCHEME = "dask://"

LOOKS_EVERY_S = 0.25
"""Seconds between two looks at what has become of the tasks."""

WORKERS_EVERY_S = 1.0
"""Seconds between two looks at which workers there are."""

ANSWERS_WITHIN_S = 10.0
"""Seconds that the scheduler is given to answer."""

RETURNS_WITHIN_S = 3 * ANSWERS_WITHIN_S
"""Seconds after which a call to Dask has failed, whatever it waits for."""

STOPS_WITHIN_S = 60.0
"""Seconds that a worker is given, when it is told to stop, to return what it has measured."""

GONE_S = 60.0
"""Seconds without the scheduler, or without a worker that could begin, after which we give up."""

MORE_S = 120.0
"""Seconds after the end of a target's time in which a worker that does not hang has returned it.

In them it also sees what the server speaks, judges, and sends what it has.
"""


@dataclass(slots=True)
class _Task:
    """An order that is being obeyed: by which worker, and until when (trio's clock) it may be.

    ``allowed_s`` is how long that is in all.
    """

    order: Order
    future: Any
    worker: str
    key: str
    until: float
    allowed_s: float


def deadline_of(order: Order) -> float:
    """Seconds within which a worker that does not hang has left a target, whatever that does."""
    within = order.settings.how.within
    return inf if within is None else within + MORE_S


class DaskEngine:
    """The workers behind a scheduler, those of a vantage point if one is named.

    ``fleet`` tells this fleet from all others that ever used the scheduler. ``deadline`` is how
    long an order may take, in seconds.
    """

    def __init__(
        self,
        address: str,
        fleet: str,
        asked: FleetSettings,
        vantage: str = "",
        deadline: Callable[[Order], float] = deadline_of,
    ) -> None:
        self.address = address.removeprefix(SCHEME)
        self.fleet = fleet
        self.asked = asked
        self.vantage = vantage
        self.deadline = deadline
        self.most = asked.most
        self._client: Any = None
        self.tasks: dict[int, _Task] = {}
        self._slots: dict[str, int] = {}
        self._hung: dict[str, int] = {}
        # Also workers that begin nothing new; None while the scheduler cannot be asked.
        self._known: frozenset[str] | None = None
        self._is_stopping = False
        self._seen = 0.0
        self._hears: Callable[[Word], None] = lambda _: None

    @property
    def allowed(self) -> int:
        """As many as the workers have room for."""
        return min(self.most, sum(max(0, self._room(one)) for one in self._slots) + self._ordered)

    @property
    def _ordered(self) -> int:
        return len(self.tasks)

    def _room(self, worker: str) -> int:
        busy = sum(task.worker == worker for task in self.tasks.values())
        return self._slots[worker] - busy - self._hung.get(worker, 0)

    @asynccontextmanager
    async def running(self, hears: Callable[[Word], None]) -> AsyncIterator[None]:
        """Be connected to the scheduler while the block runs. Raises CannotMeasure, UsageError."""
        self._hears = hears
        must_have_dask()
        try:
            self._client = await _called(self._connected)
        except TimeoutError as error:
            raise self._no_scheduler(error) from None
        self._seen = trio.current_time()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch)
                yield
                nursery.cancel_scope.cancel()
        finally:
            with trio.CancelScope(shield=True), suppress(OSError, TimeoutError):
                await _called(partial(self._client.close, timeout=ANSWERS_WITHIN_S))

    def has_room(self) -> bool:
        """Whether some worker is free."""
        return self._ordered < self.most and any(self._room(one) > 0 for one in self._slots)

    def one_at_a_time(self) -> None:
        """From now on, no two targets are to be probed at once."""
        self.most = 1

    async def order(self, order: Order) -> None:
        """Lay out the token of the attempt, and hand the task in, to the worker with most room."""
        from tlsprobe.fleet import dask_task  # noqa: PLC0415 - it imports Dask

        worker = max(self._slots, key=self._room, default=None)
        if worker is None:
            self._hears(Lost(order.target, "no worker was left to begin it"))
            return
        key = self._key(order)
        files = dask_task.packed_files(order.folder, "none")[0] if order.goes_on else {}
        parcel = dask_task.Parcel(key, order, self.asked, files)
        allowed_s = self.deadline(order)
        until = trio.current_time() + allowed_s
        try:
            future = await _called(partial(self._handed_in, parcel, worker))
        except (OSError, TimeoutError) as error:
            self._hears(Lost(order.target, f"the scheduler did not take it: {error}"))
            return
        task = _Task(order, future, worker, key, until, allowed_s)
        self.tasks[order.target] = task
        if self._is_stopping:
            await self._stop([task])

    def _key(self, order: Order) -> str:
        plan = hashlib.sha256(repr(order.settings).encode()).hexdigest()[:12]
        return f"tlsprobe-{self.fleet}-{order.target}-{self.vantage}-{plan}-{order.attempt}"

    async def stop(self) -> None:
        """Have the workers end what they do, and return what they have measured."""
        self._is_stopping = True
        await self._stop(list(self.tasks.values()))

    async def _stop(self, tasks: Sequence[_Task]) -> None:
        from tlsprobe.fleet import dask_task  # noqa: PLC0415

        for task in tasks:
            task.allowed_s = STOPS_WITHIN_S
            task.until = min(task.until, trio.current_time() + STOPS_WITHIN_S)
        told = partial(
            self._client.run,
            dask_task.stop,
            [task.key for task in tasks],
            workers=sorted({task.worker for task in tasks} & (self._known or set())),
            on_error="ignore",
        )
        with trio.move_on_after(ANSWERS_WITHIN_S), suppress(OSError, TimeoutError):
            await _called(told)

    # --- what becomes of the tasks ------------------------------------------------------------

    async def _watch(self) -> None:
        """Look at the workers and at the tasks, again and again. Raises CannotMeasure."""
        looks_at = trio.current_time()
        while True:
            if trio.current_time() >= looks_at:
                await self._look_at_workers()
                looks_at = trio.current_time() + WORKERS_EVERY_S
            for task in list(self.tasks.values()):
                await self._look_at(task)
            await trio.sleep(LOOKS_EVERY_S)

    async def _look_at_workers(self) -> None:
        """Learn which workers there are, and how much each may do at once. Raises CannotMeasure."""
        try:
            if self._client.status == "closed":
                self._client = await _called(self._connected)
            workers = await _called(self._workers)
            self._known = frozenset(workers)
        except (OSError, TimeoutError, CannotMeasure):
            workers, self._known = {}, None
        self._slots = {
            address: slots
            for address, worker in workers.items()
            if (slots := slots_of(worker, self.vantage))
        }
        if self._known is not None:
            self._hung = {one: count for one, count in self._hung.items() if one in self._known}
        if self.tasks or self.has_room():
            self._seen = trio.current_time()
        elif trio.current_time() - self._seen > GONE_S:
            hint = "start workers, and go on with: tlsprobe fleet resume DIR"
            raise CannotMeasure(self._why_nobody_begins(), hint)

    def _workers(self) -> dict[str, Any]:
        """What the scheduler says of its workers, by address. Raises OSError where it cannot say.

        Dask's own `scheduler_info` returns what a client has in store, from which each look of
        its own at the scheduler takes the workers away again, also between our question and it.
        """
        if self._client.status != "running":
            raise OSError("not connected")
        return dict(self._client.sync(self._client.scheduler.identity, n_workers=-1)["workers"])

    def _why_nobody_begins(self) -> str:
        if self._slots:
            return f"every worker of {self.address} hangs"
        what = f"no worker of {self.address} answers"
        if self.vantage:
            what += f" that was started with --resources {resource(self.vantage)}=1"
        return what

    async def _look_at(self, task: _Task) -> None:
        """Say what has become of a task, if anything has."""
        number, status = task.order.target, task.future.status
        if status == "finished":
            await self._take(task)
        elif status == "error":
            self._says(task, Lost(number, f"Dask gave it up: {_one_line(task.future.exception)}"))
        elif status != "pending":
            self._says(task, Lost(number, "the scheduler has lost it"))
        elif self._known is not None and task.worker not in self._known:
            await self._drop(task)
            self._says(task, Lost(number, "the worker that measured it died"))
        elif trio.current_time() > task.until:
            await self._drop(task)
            self._hung[task.worker] = self._hung.get(task.worker, 0) + 1
            within = f"no answer within {round(task.allowed_s)} s"
            self._says(task, Ended(number, f"{within}: its worker hangs"))

    async def _take(self, task: _Task) -> None:
        """Fetch what a task returned, and write its files down before anybody hears of it."""
        from tlsprobe.fleet import dask_task  # noqa: PLC0415

        order = task.order
        try:
            returned = await _called(partial(task.future.result, timeout=ANSWERS_WITHIN_S))
        except Exception as error:  # whatever a task, or Dask on its way, may raise
            await self._drop(task)
            self._says(task, Lost(order.target, f"its answer did not arrive: {_one_line(error)}"))
            return
        for note in returned.notes:
            self._hears(Said(order.target, note))
        if returned.repeated:
            word: Word = Lost(order.target, "a worker had begun it, and died")
        elif returned.lost:
            word = Lost(order.target, returned.failure)
        elif returned.failure:
            full = f"a worker at {task.worker}: " if returned.no_room else ""
            word = Ended(order.target, full + returned.failure, returned.no_room)
        else:
            with writing(order.folder):
                dask_task.unpack(returned.files, order.folder)
                (order.folder / TRIALS_FILE).touch()  # as a process here leaves it
            whole = {FACTS_FILE, RUN_FILE} <= set(returned.files)
            word = Ended(order.target, "" if whole else "its worker returned no run")
        self._says(task, word)

    def _says(self, task: _Task, word: Word) -> None:
        self.tasks.pop(task.order.target, None)
        self._hears(word)

    async def _drop(self, task: _Task) -> None:
        """Nobody waits for a task any more: neither Dask nor the worker are to go on with it."""
        with suppress(OSError, TimeoutError):
            await _called(partial(self._client.cancel, [task.future], force=True))

    # --- calls that wait, in threads ----------------------------------------------------------

    def _connected(self) -> Any:
        from distributed import Client  # noqa: PLC0415

        try:
            return Client(f"tcp://{self.address}", timeout=ANSWERS_WITHIN_S, set_as_default=False)
        except (OSError, TimeoutError, ValueError) as error:
            raise self._no_scheduler(error) from None

    def _no_scheduler(self, error: Exception) -> CannotMeasure:
        hint = "start one, 'dask scheduler', and name it: --engine dask://HOST:8786"
        return CannotMeasure(f"no scheduler at {self.address}: {error}", hint)

    def _handed_in(self, parcel: Any, worker: str) -> Any:
        from distributed import Queue  # noqa: PLC0415

        from tlsprobe.fleet import dask_task  # noqa: PLC0415

        Queue(parcel.key, client=self._client).put(b"", timeout=ANSWERS_WITHIN_S)
        return self._client.submit(
            dask_task.measure,
            parcel,
            key=parcel.key,
            workers=[worker],
            allow_other_workers=False,
            resources={resource(self.vantage): 1} if self.vantage else None,
            retries=0,
            pure=False,
        )


def resource(vantage: str) -> str:
    """What a worker that stands at a vantage point is started with."""
    return f"vantage_{vantage}"


def slots_of(worker: Any, vantage: str) -> int:
    """How many targets a worker, as the scheduler tells of it, probes at once.

    As many as it was started with at most, and as leave its steps on time: it says that once it has
    begun with one.
    """
    if worker.get("status", "running") != "running":
        return 0
    slots = worker.get("resources", {}).get(resource(vantage), 0) if vantage else worker["nthreads"]
    return min(int(slots), int(worker.get("metrics", {}).get(ALLOWED, 1)))


def must_have_dask() -> None:
    """Raise UsageError where Dask is not installed."""
    if importlib.util.find_spec("distributed") is None:
        raise UsageError("--engine dask:// needs Dask", "pip install 'tlsprobe[fleet]'")


async def _called(call: Callable[[], _T]) -> _T:
    """What a call that waits returns; when we are cancelled nobody waits for it.

    Raises TimeoutError for one that Dask itself sets no limit to, and that does not return.
    """
    with trio.move_on_after(RETURNS_WITHIN_S):
        return await trio.to_thread.run_sync(call, abandon_on_cancel=True)
    raise TimeoutError(f"no answer within {RETURNS_WITHIN_S:.0f} s")


def _one_line(error: object) -> str:
    text = str(error() if callable(error) else error)
    return text.strip().splitlines()[0][:200] if text.strip() else type(error).__name__
