"""Runs tlsprobe in processes that are forked from one that has imported it.

They are processes like any other: arguments, standard streams, environment, working directory,
network namespace and exit code are their own, and they end as Python ends. They only need not
import, which costs more processor time than most of the campaigns that tests ask for. What starting
costs and imports is tested with `python -m tlsprobe` itself, in `tests/cli/test_start.py`.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from tempfile import TemporaryFile
from typing import Any, BinaryIO

import tlsprobe
from tlsprobe.cli import main as run_command_line

ROOT = Path(__file__).resolve().parent.parent
NAMESPACE = Path("/proc/thread-self/ns/net")
HOME = os.open(NAMESPACE, os.O_RDONLY)
"""Where the process that forks is: a test may be in a namespace of its own that ends with it."""

CLONE_NEWNET = 0x4000_0000
MESSAGE = 1 << 17
"""More bytes than an environment takes."""


class Started:
    """A command that runs: its process, which is no child of ours."""

    def __init__(self, words: Sequence[str], told: BinaryIO) -> None:
        self._words = words
        self._told = told
        self.pid = int(told.readline())
        self._handle: int | None = None
        with suppress(ProcessLookupError):  # it has ended
            self._handle = os.pidfd_open(self.pid)

    def close(self) -> None:
        """Kill it if it still runs, and forget it."""
        self.kill(signal.SIGKILL)
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def wait(self, timeout: float) -> int:
        """The exit code, or less the signal that ended it.

        Raises subprocess.TimeoutExpired after so many seconds, and ends the process.
        """
        if not select.select([self._told], [], [], timeout)[0]:
            self.kill(signal.SIGKILL)
            raise subprocess.TimeoutExpired(list(self._words), timeout)
        return int(self._told.readline())

    @property
    def has_ended(self) -> bool:
        """Whether `wait` would wait for nothing."""
        return bool(select.select([self._told], [], [], 0)[0])

    def kill(self, how: signal.Signals) -> None:
        """Send a signal, if it is not too late for that."""
        with suppress(ProcessLookupError):
            if self._handle is not None:
                signal.pidfd_send_signal(self._handle, how)


@contextmanager
def started(
    words: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    streams: Sequence[BinaryIO] = (),
) -> Iterator[Started]:
    """``tlsprobe WORDS``, killed at the end of the block if it still runs.

    What it prints goes to ``streams``, standard output and error; without them nobody reads it.
    """
    order = json.dumps({"words": words, "cwd": str(cwd), "env": dict(env or os.environ)}).encode()
    with ExitStack() as opened:
        out, err = streams or (opened.enter_context(Path(os.devnull).open("wb")) for _ in range(2))
        namespace = opened.enter_context(NAMESPACE.open("rb"))
        reading, telling = os.pipe()
        told = opened.enter_context(os.fdopen(reading, "rb", buffering=0))
        handed = [out.fileno(), err.fileno(), telling, namespace.fileno()]
        socket.send_fds(_parent(), [order], handed)
        os.close(telling)
        with closing(Started(words, told)) as process:
            yield process


def run_tlsprobe(
    words: Sequence[str], *, cwd: Path, env: Mapping[str, str], timeout: float
) -> tuple[int, str, str]:
    """``tlsprobe WORDS``: the exit code, or less the signal that ended it, and both outputs.

    Raises subprocess.TimeoutExpired after so many seconds, and ends the process.
    """
    with TemporaryFile() as out, TemporaryFile() as err:
        with started(words, cwd=cwd, env=env, streams=(out, err)) as process:
            code = process.wait(timeout)
        return code, _read(out), _read(err)


def _read(file: BinaryIO) -> str:
    file.seek(0)
    return file.read().decode()


@cache
def _parent() -> socket.socket:
    """Where the process that has imported everything takes orders; it ends when we do."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    handed = (theirs.fileno(), HOME)
    command = [sys.executable, "-W", "error", "-m", "tests.prepared", *map(str, handed)]
    process = subprocess.Popen(command, cwd=ROOT, pass_fds=handed)
    theirs.close()

    def leave() -> None:
        ours.close()
        process.wait()

    atexit.register(leave)
    return ours


# --- The process that has imported everything -----------------------------------------------------


def main() -> None:
    """Fork a process for each order, until nobody is left to give one."""
    _enter(int(sys.argv[2]))
    for module in walk_packages(tlsprobe.__path__, "tlsprobe."):
        if not module.name.endswith(".__main__"):
            import_module(module.name)
    gc.freeze()
    with socket.socket(fileno=int(sys.argv[1])) as orders:
        while order := _next(orders):
            if os.fork() == 0:
                orders.close()
                _keep(*order)
                run_command_line()
            for descriptor in order[1:]:
                os.close(descriptor)


def _next(orders: socket.socket) -> tuple[Any, ...]:
    """What is ordered, with the descriptors that came along; nothing when nobody is left."""
    _reap()
    order, handed, *_ = socket.recv_fds(orders, MESSAGE, 4)
    return (json.loads(order), *handed) if order else ()


def _reap() -> None:
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _keep(order: dict[str, Any], out: int, err: int, telling: int, namespace: int) -> None:
    """Returns in a child that is all that was ordered; waits for it here, and tells its end."""
    child = os.fork()
    if child == 0:
        os.close(telling)
        _become(order, out, err, namespace)
        return
    os.write(telling, b"%d\n" % child)
    _, status = os.waitpid(child, 0)
    os.write(telling, b"%d\n" % os.waitstatus_to_exitcode(status))
    os._exit(0)


def _become(order: dict[str, Any], out: int, err: int, namespace: int) -> None:
    nothing = os.open(os.devnull, os.O_RDONLY)
    for descriptor, stream in ((nothing, 0), (out, 1), (err, 2)):
        os.dup2(descriptor, stream)
        os.close(descriptor)
    _enter(namespace)
    os.chdir(order["cwd"])
    os.environ.clear()
    os.environ.update(order["env"])
    sys.argv[:] = ["tlsprobe", *order["words"]]


def _enter(namespace: int) -> None:
    """Where whoever ordered it is; only root can be elsewhere than all others."""
    if not os.path.samestat(os.fstat(namespace), NAMESPACE.stat()):
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.setns(namespace, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")
    os.close(namespace)


if __name__ == "__main__":
    main()
