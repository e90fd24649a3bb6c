"""Makes a race certain: holds a server back at its ``close()``, with a system-call tracer.

Between the server's close_notify and its close lies the moment in which an answer turns the FIN
into an RST. strace can delay the entry of a system call (``inject=close:delay_enter``, strace(1)),
which opens that moment as wide as one likes, on a server of this machine. It is a tool of the
laboratory: whatever is measured with it says that it was used.
"""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import PIPE

import trio

from tlsprobe.errors import CannotMeasure, UsageError

DELAY_MS = 10.0
"""Milliseconds that every close of the server is delayed by, unless told otherwise.

Three are enough on a quiet machine; a busy one keeps us off the processor for longer now and then.
"""

_ATTACH_PATIENCE = 30.0
_SHOWN = 200


_UNTIL_WE_ARE_GONE = """
exec 3<&0
"$@" &
tracer=$!
{ cat <&3 >/dev/null; kill "$tracer" 2>/dev/null; } &
wait "$tracer"
"""
"""Runs a tracer until our end of its standard input is closed, were it by SIGKILL.

Left alone, strace would hold the server back for ever; told to end, it lets go of it.
"""


@asynccontextmanager
async def delayed_close(pid: int, delay_ms: float = DELAY_MS) -> AsyncIterator[str]:
    """Delay every ``close()`` of a process and its children; a sentence for the report.

    Raises UsageError if there is no such process, CannotMeasure if it cannot be traced.
    """
    traced = family(pid)
    if not traced:
        raise UsageError(
            f"no process has the number {pid}", "give the server's pid, as ps shows it"
        )
    if shutil.which("strace") is None:
        raise CannotMeasure("there is no strace to delay the close with", "apt-get install strace")
    inject = f"inject=close:delay_enter={round(delay_ms * 1000)}"
    pids = [word for one in traced for word in ("-p", str(one))]
    tracer = ["strace", "-f", "-q", "-e", "trace=close", "-e", inject, "-o", "/dev/null", *pids]
    command = ["sh", "-c", _UNTIL_WE_ARE_GONE, "sh", *tracer]
    process = await trio.lowlevel.open_process(command, stdin=PIPE, stderr=PIPE)
    try:
        await _attached(process, traced)
        yield (
            f"every close() of process {pid} was delayed by {delay_ms:g} ms with a system-call"
            " tracer: what races it wins is no measure of how often they are won without"
        )
    finally:
        with trio.CancelScope(shield=True):
            if process.stdin is not None:
                await process.stdin.aclose()
            await process.wait()
            if process.stderr is not None:
                await process.stderr.aclose()


def family(pid: int) -> list[int]:
    """A process and all its descendants that are alive."""
    if not Path("/proc", str(pid)).exists():
        return []
    return [pid, *(below for child in _children(pid) for below in family(child))]


def _children(pid: int) -> Iterator[int]:
    for task in Path("/proc", str(pid), "task").glob("*/children"):
        try:
            yield from map(int, task.read_text(encoding="ascii").split())
        except OSError:
            continue  # the task ended in between


async def _attached(process: trio.Process, traced: list[int]) -> None:
    """Wait until every process is traced, which /proc tells; strace itself is silent with -q."""
    with trio.move_on_after(_ATTACH_PATIENCE):
        while process.poll() is None:
            alive = [pid for pid in traced if Path("/proc", str(pid)).exists()]
            tracers = set(family(process.pid))
            if traced[0] in alive and all(_tracer(pid) in tracers for pid in alive):
                return
            await trio.sleep(0.01)
    said = b""
    if process.poll() is not None and process.stderr is not None:
        said = bytes(await process.stderr.receive_some(_SHOWN))
    reason = ascii(said.decode("utf-8", "replace").strip())
    hint = "tracing another user's process needs root (sudo)"
    raise CannotMeasure(f"cannot trace process {traced[0]}: {reason}", hint)


def _tracer(pid: int) -> int:
    try:
        status = Path("/proc", str(pid), "status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0
    line = next((line for line in status.splitlines() if line.startswith("TracerPid:")), "x 0")
    return int(line.split()[1])
