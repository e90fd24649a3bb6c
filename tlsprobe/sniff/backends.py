"""The programs that can watch the wire for us, each behind the same five verbs.

``arm`` starts one and returns when it captures; ``pump`` hands on its frames until it ends;
``settle`` waits for what is still on its way; ``finish`` asks for the rest and waits for it;
``reap`` leaves neither process nor pipe behind, whatever happened before.

- `PacketBackend`: our own sniffer process. Settling is exact: it answers when its socket is empty.
- `ToolBackend`: dumpcap or tcpdump. They take no questions, so settling means waiting for quiet.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import BinaryIO, Protocol

import trio

from tlsprobe.captures.pcap import Reader
from tlsprobe.errors import UsageError
from tlsprobe.model.target import Ports
from tlsprobe.netns import command_inside
from tlsprobe.sniff import protocol as sniffer_protocol
from tlsprobe.sniff.protocol import ANY, ARMED, ENDED, FAILED, FRAMES, SYNCED, TALLY, Arrival
from tlsprobe.sniff.route import Interface

ARMING_S = 60.0
"""A program that cannot capture says so at once: only a busy machine takes so long to start one."""
FINISHING_S = 5.0
ANSWER_S = 10.0
_CHUNK = 1024 * 1024
_TAIL = 8192
"""Of what a process wrote to stderr, this much of the end is looked at."""
_REASON = 160
"""Characters of it that a note quotes."""
_NOISE = re.compile(
    r"Capturing on |File: |Packets |tcpdump: listening on |\d+ packets? "
    r"|dumpcap: cap_set_proc\(\) fail"
)
"""How lines begin that give no reason: all is well, or root has few capabilities to give up."""
_QUIET_S = 0.02
"""A batch that came later than this ago may have a second half."""
_OLDER_NS = 5_000_000
"""Frames of different processors may overtake each other by less than this."""


class BackendFailed(Exception):  # noqa: N818
    """This program cannot capture here; the message says why."""


@dataclass(frozen=True, slots=True)
class Where:
    """What to capture: TCP of one server, as seen on one interface of a network namespace.

    None stands for any address, or any port. ``ours`` are the ports of our own that it is limited
    to, in place of a server.
    """

    interface: Interface
    address: str | None
    port: int | None
    namespace: str = ""
    ours: Ports | None = None

    @property
    def expression(self) -> str:
        """The same in the language of libpcap."""
        if self.ours is not None:
            return f"tcp and portrange {self.ours}"
        host = "" if self.address is None else f" and host {self.address}"
        return f"tcp{host}" + ("" if self.port is None else f" and port {self.port}")


class Sink(Protocol):
    """Where frames go; ``link`` is their link type, which the backend says when it knows."""

    link: int

    def file(self, arrivals: Iterable[Arrival]) -> None:
        """Take a batch of them."""
        ...


class Backend(ABC):
    """A capturing child process. ``broken`` says what went wrong once it captures no more.

    ``unwritable``: that was the file that it captures into.

    ``dropped`` is the number of frames the kernel dropped so far, None while not known.
    """

    name: str
    link: int

    def __init__(self, where: Where) -> None:
        self.where = where
        self.broken: str | None = None
        self.unwritable = False
        self.dropped: int | None = None
        self._process: trio.Process | None = None
        self._errors: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115
        self._finishing = False
        self._heard = 0
        self._ended = trio.Event()

    @abstractmethod
    def _command(self) -> Sequence[str | Path]:
        """What to start. Raises BackendFailed."""

    @abstractmethod
    def _received(self, data: bytes, sink: Sink) -> None:
        """Takes output of the process; frames go to the sink."""

    @abstractmethod
    def _is_armed(self) -> bool: ...

    def hold(self, seconds: float) -> None:  # noqa: B027 - most backends cannot, and need not
        """Leave packets in the kernel for so long, where the backend can."""

    @abstractmethod
    async def settle(self) -> None:
        """Returns when what was on the wire before the call has been filed, or never will be."""

    @abstractmethod
    async def _ask_to_end(self) -> None: ...

    async def arm(self, sink: Sink) -> None:
        """Starts the process; returns when it captures. Raises BackendFailed."""
        with trio.move_on_after(ARMING_S):
            await self._start(self._command())
            while not self._is_armed():
                if not await self._read_once(sink):
                    raise BackendFailed(self._last_words("it ended at once"))
            return
        raise BackendFailed(self._last_words(f"not ready after {ARMING_S:.0f} s"))

    async def watch(self) -> None:  # noqa: B027 - most backends are asked nothing
        """See that the process goes on answering, for as long as it is not cancelled."""

    @trio.lowlevel.enable_ki_protection
    async def pump(self, sink: Sink) -> None:
        """Files frames until the process ends. Ctrl-C is for the task that drives, not here."""
        try:
            while await self._read_once(sink):
                pass
        except BackendFailed as failure:
            self.breaks(str(failure))
        except OSError as error:
            self.cannot_write(error)
        finally:
            if not self._finishing:
                self.breaks(self._last_words("the capturing process ended"))
            self._ended.set()
            self._release()

    async def finish(self) -> None:
        """Gets the last frames and the final count.

        Never longer than a few seconds, but for what had arrived and we have not taken yet.
        """
        heard = -1
        while heard < self._heard:
            heard = self._heard
            with trio.move_on_after(FINISHING_S, shield=True):
                if not self._ended.is_set():
                    await self._ask_to_end()
                    await self._ended.wait()
                return
        self.breaks("the capturing process did not end when asked")

    async def reap(self) -> None:
        """Ends the process if it still runs, and closes every pipe."""
        with trio.CancelScope(shield=True):
            process, self._process = self._process, None
            if process is not None:
                process.kill()
                for pipe in (process.stdin, process.stdout):
                    if pipe is not None:
                        await pipe.aclose()
                await process.wait()
            self._errors.close()

    async def _start(self, command: Sequence[str | Path]) -> None:
        try:
            # A process group of its own: the terminal's Ctrl-C must not end the capture before
            # its tail is drained.
            self._process = await trio.lowlevel.open_process(
                [*command_inside(self.where.namespace), *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                process_group=0,
                env=_environment(),
            )
        except OSError as error:
            raise BackendFailed(f"{command[0]}: {error.strerror}") from None

    async def _read_once(self, sink: Sink) -> bool:
        assert self._process is not None
        assert self._process.stdout is not None
        data = await self._process.stdout.receive_some(_CHUNK)
        if data:
            self._heard += 1
            self._received(bytes(data), sink)
        return bool(data)

    def breaks(self, why: str) -> None:
        """From now on the capture is incomplete. The first reason counts."""
        if self.broken is None:
            self.broken = why
            self.dropped = None
            self._release()

    def cannot_write(self, error: OSError) -> None:
        """What is captured cannot be written down any more."""
        if self.broken is None:
            self.unwritable = True
            self.breaks(f"the capture file cannot be written ({error.strerror})")

    def _release(self) -> None:  # noqa: B027
        """Lets go of everybody who waits in `settle`."""

    def _last_words(self, otherwise: str) -> str:
        """What the process wrote to stderr of the reason, made harmless, or ``otherwise``."""
        text = self._error_text()
        return f"{otherwise} ({text})" if text else otherwise

    def _error_text(self) -> str:
        """The line that says why; what follows it, mostly advice, would bury it in a note."""
        return reason_of(self._error_lines())

    def _error_lines(self) -> list[str]:
        size = os.fstat(self._errors.fileno()).st_size
        tail = os.pread(self._errors.fileno(), _TAIL, max(0, size - _TAIL))
        lines = tail.decode("ascii", "backslashreplace").split("\n")
        if size > _TAIL:
            lines = lines[1:]  # it begins in the middle
        harmless = ("".join(c if c.isprintable() else " " for c in line) for line in lines)
        return [line.rstrip() for line in harmless if line.strip()]


def reason_of(lines: Sequence[str]) -> str:
    """Of a process's last words the line that gives the reason, cut between words if long.

    That is the first which is no noise, or the one behind a traceback.
    """
    told = [line for line in lines if line.strip() and not _NOISE.match(line)]
    crash = next((n for n, line in enumerate(told) if line.startswith("Traceback ")), None)
    if crash is not None:
        told = [line for line in told[crash + 1 :] if not line.startswith(" ")] or told[crash:]
    if not told:
        return ""
    first = " ".join(told[0].split())
    if len(first) <= _REASON:
        return first
    cut = first[: _REASON - len(" ...")]
    return f"{cut.rpartition(' ')[0] or cut} ..."


class PacketBackend(Backend):
    """Our own packet socket, in a process of its own."""

    name = "packet"

    def __init__(self, where: Where) -> None:
        super().__init__(where)
        self._messages = sniffer_protocol.Messages()
        self._armed = False
        self._asked = 0
        self._answered = 0
        self._waiting: dict[int, trio.Event] = {}

    def _command(self) -> Sequence[str | Path]:
        interface = self.where.interface
        if interface.link is None:
            raise BackendFailed(f"frames of {interface.name} are of a kind it does not read")
        self.link = interface.link
        module = "tlsprobe.sniff.process"
        # -P: whatever lies in the directory that we happen to run in is not imported as root.
        return [
            *(sys.executable, "-P", "-m", module),
            *(interface.name, self.where.address or ANY),
            ANY if self.where.port is None else str(self.where.port),
            str(self.where.ours or ANY),
        ]

    def _is_armed(self) -> bool:
        return self._armed

    def _received(self, data: bytes, sink: Sink) -> None:
        try:
            for kind, body in self._messages.feed(data):
                self._hear(kind, body, sink)
        except sniffer_protocol.Garbled as error:
            raise BackendFailed(f"the sniffer process is not understood: {error}") from None

    def _hear(self, kind: bytes, body: bytes, sink: Sink) -> None:
        if kind == FRAMES:
            sink.file(sniffer_protocol.frames_of(body))
        elif kind in (SYNCED, ENDED):
            self._answered, _sent, self.dropped = TALLY.unpack(body)
            if kind == SYNCED:
                self._wake()
        elif kind == ARMED:
            self._armed, self.dropped = True, 0
        elif kind == FAILED:
            raise BackendFailed(str(sniffer_protocol.facts_of(body).get("message")))

    async def settle(self) -> None:
        """One question serves everybody who came before it was asked; a second is kept ready."""
        if self.broken is None and not self._ended.is_set():
            # The sync under way, if any, may have been answered before our last packet came.
            number = self._asked + 1
            answered = self._waiting.setdefault(number, trio.Event())
            if self._asked == self._answered:
                self._ask()
            await answered.wait()
        else:
            await trio.lowlevel.checkpoint()

    @trio.lowlevel.enable_ki_protection
    async def watch(self) -> None:
        """One look now and then costs less than a timer for everybody who waits for an answer."""
        while True:
            asked, heard = self._asked, self._heard
            await trio.sleep(ANSWER_S)
            # On a busy wire an answer may stand behind many frames.
            if self._answered < asked and self._heard == heard and not self._finishing:
                self.breaks("the sniffer process does not answer")

    def hold(self, seconds: float) -> None:
        """Packets wait in the kernel for so long, and wake nobody who should be left alone."""
        if self.broken is None and not self._ended.is_set():
            self._tell(b"hold %d\n" % round(seconds * 1000))

    def _ask(self) -> None:
        self._asked += 1
        self._tell(b"sync %d\n" % self._asked)

    def _tell(self, line: bytes) -> None:
        assert self._process is not None
        assert isinstance(self._process.stdin, trio.lowlevel.FdStream)
        try:
            # A dozen bytes into an empty pipe: this never waits.
            os.write(self._process.stdin.fileno(), line)
        except OSError as error:
            self.breaks(f"the sniffer process does not listen ({error.strerror})")

    def _wake(self) -> None:
        for number in [n for n in self._waiting if n <= self._answered]:
            self._waiting.pop(number).set()
        if self._waiting:
            self._ask()

    def _release(self) -> None:
        for answered in self._waiting.values():
            answered.set()
        self._waiting.clear()

    async def _ask_to_end(self) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._finishing = True
        await self._process.stdin.aclose()


class ToolBackend(Backend):
    """A capture program that is already on the machine, writing to a pipe.

    Should we be killed, it ends with the next frame it writes: nobody reads the pipe any more.
    """

    delay_s: float
    """How long the program may hold a frame back before it writes it to us."""
    bound_s = 0.5
    program: str
    _drops: re.Pattern[str]

    def __init__(self, where: Where) -> None:
        super().__init__(where)
        self._reader = Reader(self.program)
        self._latest_ns = 0
        self._latest_s = -inf

    @abstractmethod
    def _arguments(self) -> list[str]: ...

    def _command(self) -> Sequence[str | Path]:
        found = shutil.which(self.program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
        if found is None:
            raise BackendFailed("not installed")
        return [found, *self._arguments()]

    def _is_armed(self) -> bool:
        """The program describes its interface once that is open and its filter set."""
        return bool(self._reader.interfaces)

    def _received(self, data: bytes, sink: Sink) -> None:
        try:
            frames = self._reader.feed(data)
        except UsageError as error:
            raise BackendFailed(error.message) from None
        if self._reader.interfaces:
            self.link = sink.link = self._reader.interfaces[0].link
        if frames:
            self._latest_ns, self._latest_s = frames[-1].time_ns, trio.current_time()
            sink.file((frame.time_ns, frame.length, frame.data) for frame in frames)

    async def settle(self) -> None:
        """A frame younger than the call, or the program's delay and then quiet; or the bound."""
        called_ns, called_s = time.time_ns(), trio.current_time()
        with trio.move_on_after(self.bound_s):
            while self.broken is None and not self._ended.is_set():
                if self._latest_ns > called_ns + _OLDER_NS:
                    break
                now = trio.current_time()
                rest = max(called_s + self.delay_s, self._latest_s + _QUIET_S) - now
                if rest <= 0:
                    break
                await trio.sleep(min(rest, _QUIET_S))
        await trio.lowlevel.checkpoint()

    async def _ask_to_end(self) -> None:
        assert self._process is not None
        await self.settle()
        if self._ended.is_set():
            return
        self._finishing = True
        self._process.send_signal(signal.SIGINT)
        await self._ended.wait()
        # The count is the last thing it writes, after it has closed its output.
        await self._process.wait()
        counted = self._drops.search("\n".join(self._error_lines()))
        if counted is not None and self.broken is None:
            self.dropped = int(counted.group(1))


class DumpcapBackend(ToolBackend):
    """Wireshark's capture program, which many systems let ordinary users run."""

    name = program = "dumpcap"
    delay_s = 0.3
    _drops = re.compile(r"received/dropped on interface .*: \d+/(\d+)")

    def _arguments(self) -> list[str]:
        return [
            *("-i", self.where.interface.name, "-f", self.where.expression, "-p", "-q"),
            *("-B", "64", "-s", "262144", "-w", "-"),
        ]


class TcpdumpBackend(ToolBackend):
    """tcpdump, which hands on each packet as it comes."""

    name = program = "tcpdump"
    delay_s = 0.05
    _drops = re.compile(r"(\d+) packets? dropped by kernel")

    def _arguments(self) -> list[str]:
        return [
            *("-i", self.where.interface.name, "-n", "-p", "-U", "--immediate-mode"),
            *("-B", "65536", "-s", "262144", "--time-stamp-precision=nano", "-w", "-"),
            self.where.expression,
        ]


BACKENDS: dict[str, Callable[[Where], Backend]] = {
    "packet": PacketBackend,
    "dumpcap": DumpcapBackend,
    "tcpdump": TcpdumpBackend,
}


_PASSED = (
    *("PATH", "HOME", "TMPDIR", "SUDO_UID", "SUDO_GID", "LD_LIBRARY_PATH"),
    *("PYTHONHOME", "PYTHONWARNINGS", "PYTHONDONTWRITEBYTECODE"),
)
"""Variables that the sniffer process sees: ``SUDO_UID`` names the user to whom it drops."""


def _environment() -> dict[str, str]:
    """What the sniffer process needs of ours, so that it finds this very package.

    Nothing else: a variable may hold a password of the user's.
    The packet library is kept from the user's cache and configuration folders, where it would
    leave files of root's and read what others may have put there.
    """
    package = Path(__file__).parents[2]
    search = [str(package), *filter(None, [os.environ.get("PYTHONPATH")])]
    nowhere = dict.fromkeys(("XDG_CACHE_HOME", "XDG_CONFIG_HOME"), os.devnull)
    passed = {name: os.environ[name] for name in _PASSED if name in os.environ}
    return {**passed, **nowhere, "PYTHONPATH": os.pathsep.join(search), "LC_ALL": "C"}
