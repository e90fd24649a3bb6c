"""The engine of one machine for those who are no event loop: threads that each wait for a target.

It runs in a thread of its own, and its processes and their sniffers are shared by all targets.
"""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from dataclasses import replace
from itertools import count
from queue import Empty, SimpleQueue

import trio

from tlsprobe.errors import CannotMeasure
from tlsprobe.fleet.embedded import Embedded
from tlsprobe.fleet.orders import Ended, Lost, Order, Said, Word

ALLOWED = "tlsprobe_allowed"
"""The metric of a worker of Dask that says how many targets it may probe at once."""

LOOKS_EVERY_S = 0.5
"""Seconds between two looks at whether anybody still wants the answer."""

ENDS_WITHIN_S = 60.0
"""Seconds that a target nobody wants any more is given to end; then its process is killed."""


class Crew:
    """So many processes, ``workers`` of them, for ``most`` targets at once, as a guard allows.

    Targets are told apart by numbers of our own: those of several fleets may be the same.
    """

    def __init__(self, workers: int, most: int) -> None:
        self._engine = Embedded(workers, most)
        self._numbers = count(1)
        self._heard: dict[int, SimpleQueue[Ended | Lost | Said]] = {}
        self._token: trio.lowlevel.TrioToken | None = None
        self._nursery: trio.Nursery | None = None
        self._failure = "the processes that probe have ended"
        self.is_over = False
        begun = threading.Event()
        threading.Thread(target=self._run, args=(begun,), name="tlsprobe", daemon=True).start()
        begun.wait()

    @property
    def allowed(self) -> int:
        """How many targets leave each other's verdicts as they are alone."""
        return self._engine.allowed

    def probe(
        self, order: Order, is_wanted: Callable[[], bool], is_stopped: Callable[[], bool]
    ) -> tuple[tuple[str, ...], Ended | Lost | None]:
        """Probe a target: the notes, and what came of it; None if nobody wants it any more.

        Once it ``is_stopped`` it ends by itself, with what it has measured. Waits; to be called
        from any thread.
        """
        number, heard = next(self._numbers), SimpleQueue[Ended | Lost | Said]()
        self._heard[number] = heard
        try:
            self._call(self._engine.order, replace(order, target=number))
            return self._listen(number, heard, is_wanted, is_stopped)
        except trio.RunFinishedError:
            return (), Ended(number, self._failure)
        finally:
            del self._heard[number]

    def _listen(
        self,
        number: int,
        heard: SimpleQueue[Ended | Lost | Said],
        is_wanted: Callable[[], bool],
        is_stopped: Callable[[], bool],
    ) -> tuple[tuple[str, ...], Ended | Lost | None]:
        notes: list[str] = []
        was_stopped = False
        while is_wanted():
            if is_stopped() and not was_stopped:
                was_stopped = True
                self._call(self._engine.end, number)
            try:
                word = heard.get(timeout=LOOKS_EVERY_S)
            except Empty:
                if self.is_over:
                    raise trio.RunFinishedError from None
                continue
            if isinstance(word, Ended | Lost):
                return tuple(notes), word
            notes.append(word.note)
        self._call(self._give_up, number)
        return tuple(notes), None

    def _call(self, call: Callable[..., Awaitable[None]], *arguments: object) -> None:
        """Run something in the event loop. Raises trio.RunFinishedError when there is none."""
        if self._token is None:
            raise trio.RunFinishedError
        trio.from_thread.run(call, *arguments, trio_token=self._token)

    async def _give_up(self, number: int) -> None:
        assert self._nursery is not None
        self._nursery.start_soon(self._end, number)

    async def _end(self, number: int) -> None:
        """End a target, and whatever shares its process if that does not listen."""
        await self._engine.end(number)
        await trio.sleep(ENDS_WITHIN_S)
        self._engine.kill(number)

    def _hear(self, word: Word) -> None:
        if isinstance(word, Ended | Lost | Said):
            heard = self._heard.get(word.target)  # once: its thread may take it away meanwhile
            if heard is not None:
                heard.put(word)

    def _run(self, begun: threading.Event) -> None:
        async def serve() -> None:
            async with self._engine.running(self._hear), trio.open_nursery() as nursery:
                self._nursery, self._token = nursery, trio.lowlevel.current_trio_token()
                begun.set()
                await trio.sleep_forever()

        try:
            trio.run(serve)
        except* CannotMeasure as errors:
            self._failure = str(errors.exceptions[0])
        finally:
            self.is_over = True
            begun.set()
