"""Server processes of the lab: in the foreground, in a session of their own, gone afterwards.

Three things see to it that none is left. A server is asked to stop; whatever then is still in its
session, or carries the mark that it was started with in its environment, is killed. And should
tlsprobe itself be killed, the kernel stops the server (a parent-death signal).
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import trio

from tlsprobe.errors import CannotMeasure
from tlsprobe.lab.commands import SEARCHED
from tlsprobe.lab.workspace import Account

STOPS_WITHIN = 5.0
"""Seconds that a server has to stop in order, and what is left of it to be gone."""

COMMAND_WITHIN = 60.0
"""Seconds that a command before the start may take."""

MARK = "TLSPROBE_LAB"
"""The variable that marks a server's processes; its value is the server's folder."""

_SHOWN_LINES, _SHOWN_BYTES = 6, 4000
_POLL = 0.02


def environment(folder: Path, more: Mapping[str, str]) -> dict[str, str]:
    """What a server sees: ours without what would change it, places of its own, and its mark."""
    foreign = ("PG", "SSLKEYLOGFILE", "NOTIFY_SOCKET", "TLSPROBE")
    ours = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    path = os.pathsep.join([os.environ.get("PATH", ""), *SEARCHED])
    own = {"PATH": path, "LC_ALL": "C", "HOME": str(folder), "TMPDIR": str(folder)}
    return {**ours, **own, **more, MARK: str(folder)}


def as_account(account: Account | None, *more: str) -> list[str]:
    """The words before a command that is to run as an account (None: as ourselves)."""
    if account is None or os.geteuid() != 0:
        return ["setpriv", *more] if more and shutil.which("setpriv") else []
    ids = [f"--reuid={account.uid}", f"--regid={account.gid}", "--clear-groups"]
    return ["setpriv", *ids, *more]


async def ran(
    command: Sequence[str], folder: Path, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run a command to its end, with both outputs as one and nothing to read.

    ``env`` are the variables that it sees, None: ours. Raises CannotMeasure if it cannot be run.
    """
    try:
        return await trio.run_process(
            list(command),
            cwd=folder,
            env=env,
            check=False,
            stdin=b"",
            capture_stdout=True,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        raise CannotMeasure(f"cannot run {command[0]}: {error.strerror}") from error


async def at_once(process: trio.Process) -> None:
    """How trio is to end a command whose time is up: there is nothing that it could tidy up.

    By itself trio asks, and where a busy machine does not let it answer, warns on standard error.
    """
    process.kill()


async def prepare(command: Sequence[str], folder: Path, env: Mapping[str, str]) -> None:
    """Run a command to its end. Raises CannotMeasure with its last words if it fails."""
    shown = " ".join(command)
    try:
        with trio.fail_after(COMMAND_WITHIN):
            ended = await trio.run_process(
                command,
                cwd=folder,
                env=env,
                check=False,
                capture_stdout=True,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                deliver_cancel=at_once,
            )
    except OSError as error:
        raise CannotMeasure(f"cannot run {shown}: {error.strerror}") from error
    except trio.TooSlowError:
        raise CannotMeasure(f"{shown} did not end within {COMMAND_WITHIN:g} s") from None
    if ended.returncode:
        said = last_words(ended.stdout)
        raise CannotMeasure(f"{shown} ended with status {ended.returncode}: {said}")


class ServerProcess:
    """A server in the foreground; ``log`` takes both its outputs."""

    def __init__(
        self, command: Sequence[str], folder: Path, env: Mapping[str, str], log: Path
    ) -> None:
        self.folder = folder
        self.log = log
        # Not by trio: its threads come and go, and the parent-death signal is tied to the thread.
        with log.open("ab") as output:
            try:
                self._popen = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    cwd=folder,
                    env=env,
                    start_new_session=True,  # a Ctrl-C is for tlsprobe alone
                )
            except OSError as error:
                said = f"cannot run {command[0]}: {error.strerror}"
                raise CannotMeasure(said) from error

    @property
    def pid(self) -> int:
        """The number of the process that was started, which leads the session."""
        return self._popen.pid

    @property
    def status(self) -> int | None:
        """The exit status, None while it runs."""
        return self._popen.poll()

    def signal(self, name: str) -> None:
        """Send it a signal. Raises ProcessLookupError if it has ended."""
        if self.status is not None:
            raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
        self._popen.send_signal(signal.Signals[f"SIG{name}"])

    def said(self) -> str:
        """The end of its log."""
        return last_words(self.log.read_bytes())

    async def stop(self, name: str) -> None:
        """Ask it to end by a signal, then end whatever is left of it."""
        with trio.CancelScope(shield=True):
            if self.status is None:
                self._popen.send_signal(signal.Signals[f"SIG{name}"])
                await self._until(lambda: self.status is not None)
            await self._until(lambda: not self._kill_the_rest())
            self._popen.wait()

    async def _until(self, done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + STOPS_WITHIN
        while not done() and time.monotonic() < deadline:
            await trio.sleep(_POLL)

    def _kill_the_rest(self) -> list[int]:
        """Kill what is left; who it was. A process that is dead and not buried is nobody."""
        left = [pid for pid in _processes() if self._is_ours(pid) and _lives(pid)]
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return left

    def _is_ours(self, pid: int) -> bool:
        try:
            return os.getsid(pid) == self.pid or _is_marked(pid, self.folder)
        except OSError:
            return False  # it has gone, or is somebody else's


def last_words(output: bytes) -> str:
    """The last lines of some output, on one line and without control characters."""
    lines = output[-_SHOWN_BYTES:].decode("utf-8", "replace").splitlines()
    said = " | ".join(line.strip() for line in lines if line.strip()) if lines else ""
    said = " | ".join(said.split(" | ")[-_SHOWN_LINES:])
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in said) or "it said nothing"


def _processes() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _lives(pid: int) -> bool:
    try:
        stat = Path("/proc", str(pid), "stat").read_bytes()
    except OSError:
        return False
    return stat.rpartition(b")")[2].split()[0] not in {b"Z", b"X"}


def _is_marked(pid: int, folder: Path) -> bool:
    mark = f"{MARK}={folder}".encode()
    return mark in Path("/proc", str(pid), "environ").read_bytes().split(b"\0")
