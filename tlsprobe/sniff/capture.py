"""The parent's side of the sniffer: opens the best capture available, and files its frames.

    async with open_capture("auto", "127.0.0.1", 5432) as capture:
        capture.expect(client)          # right after connect() was started, before any await
        ...
        await capture.settle()          # whatever was on the wire is filed now
        segments, coverage = capture.take(client)
    capture.facts()                     # final: tail drained, drop counter read

Everything runs on one trio thread, which is why `Capture.expect` is never late: no frame is filed
while its caller has not awaited anything.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import trio

from tlsprobe.captures.pcapng_writer import Writer, put_secrets_first
from tlsprobe.errors import CannotMeasure, UsageError, cannot_write
from tlsprobe.flows.connection import NOTHING, Flow
from tlsprobe.model.run import CaptureFacts
from tlsprobe.model.target import Ports
from tlsprobe.netns import inside
from tlsprobe.packets.packet import Endpoint, host_text
from tlsprobe.sniff import route
from tlsprobe.sniff.backends import (
    BACKENDS,
    Backend,
    BackendFailed,
    Sink,
    Where,
)
from tlsprobe.sniff.demultiplexer import LATER_THAN_ANY_NS, Demultiplexer
from tlsprobe.sniff.route import Interface

CHOICES = ("auto", *BACKENDS, "none")

_HINTS = {
    "packet": "run tlsprobe with sudo; it gives root up as soon as the socket is open",
    "dumpcap": "install wireshark-common and let your user capture, or run tlsprobe with sudo",
    "tcpdump": "install tcpdump, and run tlsprobe with sudo",
    "auto": "run tlsprobe with sudo, or install dumpcap and let your user capture with it",
}


@dataclass(slots=True)
class Secrets:
    """The key log whose lines belong into the capture file, from byte ``begun`` on."""

    key_log: Path | None = None
    begun: int = 0

    def read(self) -> bytes:
        """What was appended since."""
        if self.key_log is None:
            return b""
        with self.key_log.open("rb") as file:
            file.seek(self.begun)
            return file.read()


class Capture:
    """The wire as seen from here. ``warning`` says why it is weaker than it could be.

    ``packets`` counts the frames kept (its numbers are those of the capture file), ``others``
    those of connections that nobody expected. ``dropped`` is the kernel's count so far, None if
    the backend cannot tell; ``dropped_before`` are those that it had dropped earlier. ``broken``
    says why the capture ended early, if it did; what was taken since may lack packets.
    """

    def __init__(
        self,
        where: Where | None,
        demultiplexer: Demultiplexer,
        backend: Backend | None,
        warning: str | None,
        secrets: Secrets | None = None,
        *,
        dropped_before: int = 0,
    ) -> None:
        self.interface = where.interface.name if where else ""
        self.warning = warning
        self._demultiplexer = demultiplexer
        self._backend = backend
        self._secrets = secrets or Secrets()
        self._dropped_before = dropped_before

    @property
    def backend(self) -> str:
        """``packet``, ``dumpcap``, ``tcpdump`` or ``none``."""
        return self._backend.name if self._backend else "none"

    @property
    def packets(self) -> int:
        """Frames of expected connections, so far."""
        return self._demultiplexer.kept

    @property
    def others(self) -> int:
        """Frames of other connections to the same server, so far."""
        return self._demultiplexer.others

    @property
    def dropped(self) -> int | None:
        """Frames that the kernel dropped, so far."""
        if self._backend is None or self._backend.dropped is None:
            return None
        return self._backend.dropped - self._dropped_before

    @property
    def broken(self) -> str | None:
        """Why nothing is captured any more."""
        return self._backend.broken if self._backend else None

    @property
    def servers_met(self) -> tuple[tuple[str, int], ...]:
        """Those that NAT on this machine took the connections to, so far."""
        met = sorted(self._demultiplexer.servers_met)
        return tuple((host_text(address), port) for address, port in met)

    def expect(self, client: tuple[str, int], port: int | None = None) -> None:
        """Keeps the packets of this client from now on. Call it before the next await.

        ``port`` is the server's, None: the one that the capture is of.
        """
        if self._backend:
            self._demultiplexer.expect(endpoint(client), port)

    def expect_everyone(self) -> None:
        """Keeps the packets of all clients of the server from now on."""
        if self._backend:
            self._demultiplexer.expect_everyone()

    async def settle(self) -> None:
        """Returns when every packet that was on the wire before the call has been filed.

        Never hangs: a capture that breaks releases everybody.
        """
        if self._backend:
            await self._backend.settle()
        else:
            await trio.lowlevel.checkpoint()

    def hold(self, seconds: float) -> None:
        """Keep the capture from running for so long, while something else must not be disturbed.

        Nothing is lost: packets wait in the kernel.
        """
        if self._backend:
            self._backend.hold(seconds)

    def take(
        self,
        client: tuple[str, int],
        since_ns: int = 0,
        until_ns: int = LATER_THAN_ANY_NS,
        port: int | None = None,
    ) -> Flow:
        """The connection whose SYN this client sent in this time (real time, nanoseconds).

        Each call answers one `expect`: what comes from the port now belongs to somebody else,
        unless that one was announced, too.
        """
        if self._backend is None:
            return NOTHING
        return self._demultiplexer.take(endpoint(client), since_ns, until_ns, port)

    def take_everyone(self) -> list[tuple[tuple[str, int], Flow]]:
        """Every connection that was kept since `expect_everyone`, with its client."""
        taken = self._demultiplexer.take_everyone()
        return [((host_text(address), port), flow) for (address, port), flow in taken]

    def open_with(self, key_log: Path | None) -> None:
        """Puts the TLS secrets that are appended to this key log from now on into the file."""
        if key_log is not None:
            with suppress(OSError):
                self._secrets.begun = key_log.stat().st_size
            self._secrets.key_log = key_log

    def facts(self) -> CaptureFacts:
        """What the run document says of the capture. Final once the context is closed."""
        unwritable = self._backend is not None and self._backend.unwritable
        return CaptureFacts(
            *(self.backend, self.interface, self.packets, self.dropped),
            ended=self.broken or "",
            unwritable=unwritable,
        )


def endpoint(name: tuple[str, int]) -> Endpoint:
    """A socket's address in the form that packets carry it."""
    return route.packed(name[0]), name[1]


@asynccontextmanager
async def open_capture(
    choice: str,
    host: str,
    port: int | None,
    *,
    require: bool = False,
    interface: str | None = None,
    pcapng: Path | None = None,
    namespace: str = "",
    led_to: Collection[str] = (),
    ours: Ports | None = None,
) -> AsyncIterator[Capture]:
    """Captures TCP between this machine and ``host`` (an address, as it will be connected to).

    ``port`` None: of all its ports, where `Capture.expect` is told which.

    ``namespace`` is the network namespace in which that happens, empty for our own.

    ``led_to`` are the addresses of the servers that this machine's NAT takes the connections to,
    if it does. They are followed there by our own ports, which are ``ours`` (None: any).

    ``choice`` is one of `CHOICES`; ``auto`` takes the first that works. With ``pcapng``, expected
    frames are also written there. Raises CannotMeasure when the chosen backend cannot be had,
    or none at all and ``require``; UsageError for an interface that does not exist.
    """
    candidates = candidates_for(choice)
    demultiplexer = Demultiplexer((route.packed(host), port or 0), translated=bool(led_to))
    where, trouble = where_to(interface, host, port, namespace) if candidates else (None, None)
    if where is not None and led_to:
        where, trouble = behind_nat(where, interface, led_to, ours)
    backend: Backend | None = None
    reasons = [trouble] if trouble else []
    if where is not None:
        backend, reasons = await first_that_works(candidates, where, demultiplexer)
    if where is None or backend is None:
        refuse(choice, require, reasons)
        yield Capture(None, demultiplexer, None, warning_of(None, choice, reasons))
        return
    try:
        secrets = Secrets()
        with written(demultiplexer, where, backend, pcapng, secrets):
            async with beside(backend, demultiplexer):
                yield Capture(
                    where, demultiplexer, backend, warning_of(backend, choice, reasons), secrets
                )
    finally:
        await backend.reap()


def where_to(
    interface: str | None, host: str, port: int | None, namespace: str
) -> tuple[Where | None, str | None]:
    """What to capture, or why that cannot be said."""
    address = str(ipaddress.ip_address(route.packed(host)))
    with inside(namespace):
        if interface is not None:
            return Where(described(interface), address, port, namespace), None
        try:
            found = route.describe(route.interface_to(host))
        except OSError as error:
            return None, f"no route to {host} ({error.strerror or error})"
    return Where(found, address, port, namespace), None


def behind_nat(
    where: Where, interface: str | None, led_to: Collection[str], ours: Ports | None
) -> tuple[Where | None, str | None]:
    """The same where NAT takes the connections to these addresses: on the way to them."""
    with inside(where.namespace):
        found, ports = where.interface, ours or route.local_ports()
        if interface is None:
            try:
                names = {route.interface_to(address) for address in led_to}
                found = route.describe(names.pop() if len(names) == 1 else route.EVERY)
            except OSError as error:
                return None, f"no route to {', '.join(led_to)} ({error.strerror or error})"
    return Where(found, None, None, where.namespace, ports), None


def described(interface: str) -> Interface:
    """The interface of this name. Raises UsageError when there is none."""
    try:
        return route.describe(interface)
    except OSError:
        names = ", ".join(name for _, name in socket.if_nameindex())
        hint = f"there are: {names}"
        raise UsageError(f"there is no interface {interface}", hint) from None


def candidates_for(choice: str) -> tuple[str, ...]:
    """The backends to try, in this order. Raises UsageError."""
    if choice not in CHOICES:
        raise UsageError(f"no such capture: {choice}", f"choose one of {', '.join(CHOICES)}")
    if choice == "none":
        return ()
    return tuple(BACKENDS) if choice == "auto" else (choice,)


async def first_that_works(
    names: tuple[str, ...], where: Where, sink: Sink
) -> tuple[Backend | None, list[str]]:
    """An armed backend, and why each one tried before it was not available."""
    reasons: list[str] = []
    for name in names:
        backend = BACKENDS[name](where)
        try:
            await backend.arm(sink)
        except BackendFailed as failure:
            await backend.reap()
            reasons.append(f"{name}: {failure}")
        except BaseException:
            await backend.reap()
            raise
        else:
            sink.link = backend.link
            return backend, reasons
    return None, reasons


def refuse(choice: str, require: bool, reasons: list[str]) -> None:
    """Raises CannotMeasure unless going on without a capture is what was asked for."""
    if choice == "none" and require:
        raise CannotMeasure("a capture is required, but --capture none asks for no capture")
    if choice not in {"auto", "none"} or require:
        raise unavailable(choice, reasons)


def unavailable(choice: str, reasons: list[str]) -> CannotMeasure:
    """What to raise when the capture that is needed cannot be had, for these reasons."""
    why = "; ".join(reasons)
    if choice == "auto":
        return CannotMeasure(f"a capture is required but not available: {why}", _HINTS["auto"])
    return CannotMeasure(f"--capture {choice} is not available: {why}", _HINTS[choice])


def warning_of(backend: Backend | None, choice: str, reasons: list[str]) -> str | None:
    """Why the capture is weaker than it could be, or None."""
    why = "; ".join(reasons)
    if backend is None:
        return "nothing was captured, as asked" if choice == "none" else f"no capture: {why}"
    return f"captured with {backend.name} instead of a packet socket ({why})" if why else None


@asynccontextmanager
async def beside(backend: Backend, sink: Sink) -> AsyncIterator[None]:
    """Pumps frames beside the body, and drains the tail after it.

    Also when the body was cancelled: what was measured until then keeps its packets. The body's
    exception leaves as it is, not wrapped in the group that a nursery would make of it.
    """
    stop = trio.CancelScope(shield=True)

    @trio.lowlevel.enable_ki_protection
    async def pump() -> None:
        with stop:
            await backend.pump(sink)

    failure: BaseException | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pump)
        nursery.start_soon(backend.watch)
        try:
            yield
        except BaseException as error:
            failure = error
        try:
            await backend.finish()
        except BaseException as error:
            failure = error
        stop.cancel()
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


@contextmanager
def written(
    demultiplexer: Demultiplexer,
    where: Where,
    backend: Backend,
    path: Path | None,
    secrets: Secrets,
) -> Iterator[None]:
    """Keeps the capture file open for the body, ends it with the statistics, adds secrets."""
    if path is None:
        yield
        return
    try:
        out = path.open("wb")
        expression = where.expression
        writer = Writer(out, demultiplexer.link, where.interface.name, capture_filter=expression)
    except OSError as error:
        raise cannot_write(error, f"cannot write {path}: {error.strerror}") from None
    demultiplexer.writer = writer
    try:
        yield
    finally:
        demultiplexer.writer = None
        try:
            with out:
                writer.finish(backend.dropped)
            if key_log := secrets.read():
                put_secrets_first(path, key_log)
        except OSError as error:
            backend.cannot_write(error)
