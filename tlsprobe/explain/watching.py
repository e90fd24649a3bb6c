"""`explain --live`: the sniffer, the kernel's own reasons, and the judge beside them.

It goes on until SIGINT or SIGTERM, or until nothing can be captured any more.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import trio

from tlsprobe.errors import CannotMeasure
from tlsprobe.explain.live import LiveExplainer
from tlsprobe.explain.wanted import Filter
from tlsprobe.lab.kernel_reasons import ResetWatch, watch_resets
from tlsprobe.model.explanation import ExplainedFlow, Explanation
from tlsprobe.records.key_log import Secrets, read_key_log
from tlsprobe.sniff.live import Watch, watching
from tlsprobe.sniff.route import EVERY

SWEEP_S = 0.25
"""So often is looked for resets that can be understood."""

Tell = Callable[[ExplainedFlow], None]
"""Is given what is said of each connection that was reset, as soon as it is known."""

Say = Callable[[str], None]
"""Is given sentences about the capture itself."""


@dataclass(frozen=True, slots=True)
class Wire:
    """What to watch: an interface, and the TCP of an address and a port, None being any."""

    interface: str = EVERY
    address: bytes | None = None
    port: int | None = None


def explain_live(
    wire: Wire,
    wanted: Filter,
    key_logs: list[Path],
    tell: Tell,
    say: Say,
    *,
    choice: str = "auto",
) -> Explanation:
    """Watch until a signal ends it. Returns the overview of everything.

    ``choice`` is how to capture. Raises CannotMeasure where nothing can be captured, or no packet
    was; UsageError for an interface that does not exist.
    """
    return trio.run(_Live(wire, wanted, key_logs, tell, say).run, choice)


class _Live:
    """One run of it."""

    def __init__(
        self, wire: Wire, wanted: Filter, key_logs: list[Path], tell: Tell, say: Say
    ) -> None:
        self._wire, self._tell, self._say = wire, tell, say
        self._secrets: dict[bytes, Secrets] = {}
        self._key_logs = dict.fromkeys(key_logs, 0)
        self._explainer = LiveExplainer(wanted, self._secrets, keep_bodies=bool(key_logs))
        self._dropped = 0
        self._kernel: ResetWatch | None = None

    async def run(self, choice: str) -> Explanation:
        """Until a signal, or until the capture breaks."""
        wire, explainer = self._wire, self._explainer
        with self._asking_the_kernel() as without:
            async with watching(
                choice, wire.interface, wire.address, wire.port, explainer
            ) as watch:
                await self._until_stopped(watch, without)
            self._look(watch)
            for flow in explainer.finish(time.time_ns()):
                self._tell(flow)
        return self._concluded(watch, without)

    async def _until_stopped(self, watch: Watch, without: str | None) -> None:
        """Until the first signal: a second one ends us as it ends any program."""
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            self._announce(watch, without)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._sweeping, watch, nursery.cancel_scope)
                async for _ in signals:
                    break
                nursery.cancel_scope.cancel()

    async def _sweeping(self, watch: Watch, until: trio.CancelScope) -> None:
        while watch.broken is None:
            await trio.sleep(SWEEP_S)
            # A reset that is seen from now on was sent by a kernel that has given its reason.
            await watch.settle()
            self._look(watch)
            for flow in self._explainer.sweep(time.time_ns()):
                self._tell(flow)
        until.cancel()

    def _look(self, watch: Watch) -> None:
        """What else there is to know by now: the kernel's words, what it dropped, and keys."""
        if self._kernel is not None:
            self._explainer.hear(self._kernel.take())
        if watch.dropped is not None and watch.dropped > self._dropped:
            self._dropped = watch.dropped
            self._explainer.lost()
        for path, begun in self._key_logs.items():
            with suppress(OSError), path.open("rb") as file:
                file.seek(begun)
                new = file.read()
                # A line that is being written is read when it is whole.
                whole = new[: new.rfind(b"\n") + 1]
                self._key_logs[path] = begun + len(whole)
                for session, secrets in read_key_log([whole]).items():
                    self._secrets.setdefault(session, {}).update(secrets)

    @contextmanager
    def _asking_the_kernel(self) -> Iterator[str | None]:
        """Why it cannot be asked, if it cannot."""
        with ExitStack() as stack:
            why = None
            try:
                self._kernel = stack.enter_context(watch_resets())
            except CannotMeasure as error:
                why = error.hint or error.message
            yield why

    def _announce(self, watch: Watch, without: str | None) -> None:
        self._say(f"watching {self._name(watch)}; Ctrl-C ends it with the overview")
        if watch.warning:
            self._say(f"warning: {watch.warning}")
        if without:
            self._say(f"without the kernel's own reasons: {without}")

    def _name(self, watch: Watch) -> str:
        interface = watch.where.interface.name
        where = "all interfaces" if interface == EVERY else interface
        return f"{where} ({watch.where.expression})"

    def _concluded(self, watch: Watch, without: str | None) -> Explanation:
        explainer = self._explainer
        if not explainer.packets:
            broken = f": {watch.broken}" if watch.broken else ""
            raise CannotMeasure(
                f"no packet was seen on {self._name(watch)}{broken}",
                "-i any watches all interfaces; without 'port N' and 'host ADDRESS' all of TCP is"
                " watched",
            )
        return explainer.explanation(
            self._name(watch),
            self._notes(watch, without),
            f"the capture broke off: {watch.broken}" if watch.broken else None,
        )

    def _notes(self, watch: Watch, without: str | None) -> list[str]:
        notes = []
        if self._dropped:
            notes.append(
                f"the kernel dropped {self._dropped} packets: what is said of the connections that"
                " were open then is not sure"
            )
        elif watch.dropped is None:
            notes.append("nobody knows how many packets the kernel dropped")
        if without:
            notes.append(f"the kernel was not asked for its reasons: {without}")
        elif self._kernel is not None and self._kernel.lost:
            notes.append(f"the kernel's trace lost its reasons for {self._kernel.lost} resets")
        return notes
