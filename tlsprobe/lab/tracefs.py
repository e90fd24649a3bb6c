"""Reaches the kernel's tracefs, mounted on this machine or not, and gives out instances of it.

A *tracing instance* is a ring buffer of its own with its own clock, options and events, so that
another tracer's stay as they are, and so do those of a second tlsprobe (Documentation/trace/
ftrace.rst, "Instances"). Ours are named ``tlsprobe-<pid>-<number>``. A process that is killed
outright cannot remove its own; whoever makes the next one does.

Where tracefs is not mounted, a mount of it is made that is attached nowhere: it lies in an
anonymous mount namespace, no other process sees it, and it goes with the descriptor that it is
reached through (fsopen(2), fsmount(2)). All mounts of tracefs share one superblock, its mode and
its owner, so none of these is asked for: the files stay as closed as they were.
"""

from __future__ import annotations

import ctypes
import errno
import itertools
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tlsprobe.errors import CannotMeasure

MOUNT_POINTS = (Path("/sys/kernel/tracing"), Path("/sys/kernel/debug/tracing"))
"""Where tracefs is found: its own mount point, and its old place below debugfs."""

PREFIX = "tlsprobe-"
"""What the name of every instance of ours begins with."""

_UNREADABLE = "the kernel's trace cannot be read"
FOR_ROOT = "only root may read the kernel's trace: run this as root"
"""What is wrong, and what to do about it, where permissions are in the way."""

# System call numbers, the same on every architecture of Linux but Alpha; linux/mount.h.
_FSOPEN, _FSCONFIG, _FSMOUNT = 430, 431, 432
_FSOPEN_CLOEXEC, _FSMOUNT_CLOEXEC = 1, 1
_FSCONFIG_CMD_CREATE = 6
_NOSUID_NODEV_NOEXEC = 0x2 | 0x4 | 0x8

_TRIES = 100

_instance_numbers = itertools.count()


@contextmanager
def reached(mount_points: Sequence[Path] = MOUNT_POINTS) -> Iterator[Path]:
    """The top of tracefs, good for the time of the block.

    Raises CannotMeasure, saying why, where tracefs is neither mounted nor to be mounted.
    """
    # Where it is mounted but closed to us, a mount of our own is refused too, for the same reason.
    mounted = next((top for top in mount_points if _is_seen(top / "instances")), None)
    if mounted is not None:
        yield mounted
        return
    mount = _mount_detached()
    try:
        yield Path(f"/proc/self/fd/{mount}")
    finally:
        os.close(mount)


@dataclass(frozen=True, slots=True)
class Instance:
    """An instance: its folder, and the open end of its ``trace_pipe``, which does not block.

    The open pipe keeps everybody from removing the instance.
    """

    folder: Path
    pipe: int

    def write(self, name: str, value: str) -> None:
        """Set one of its files."""
        (self.folder / name).write_text(value)


@contextmanager
def instance(top: Path) -> Iterator[Instance]:
    """A new instance below the top of tracefs, removed after the block with all its events.

    Raises CannotMeasure where it is refused.
    """
    _remove_left_over(top / "instances")
    with ExitStack() as until_the_end:
        try:
            folder, pipe = _new_instance(top / "instances")
        except OSError as error:  # a restricted container or a locked-down kernel
            problem = f"tracefs refused an instance: {error}"
            raise CannotMeasure(_UNREADABLE, problem) from error
        until_the_end.callback(folder.rmdir)
        until_the_end.callback(os.close, pipe)
        yield Instance(folder, pipe)


def left_over(instances: Path) -> list[Path]:
    """Instances of ours whose process is gone, as far as this process namespace can tell."""
    ours = instances.glob(f"{PREFIX}*")
    return [path for path in ours if not _is_alive(path.name.split("-")[1])]


def _new_instance(instances: Path) -> tuple[Path, int]:
    """Make an instance and open its pipe.

    A process of another process namespace may have our number, and so the name that we want; or
    take our instance for that of a dead process, until the pipe is open.
    """
    for _ in range(_TRIES):
        folder = instances / f"{PREFIX}{os.getpid()}-{next(_instance_numbers)}"
        with suppress(FileExistsError, FileNotFoundError):
            folder.mkdir()
            return folder, _open_pipe(folder)
    raise FileExistsError(errno.EEXIST, "each name is taken", str(instances))


def _open_pipe(folder: Path) -> int:
    try:
        return os.open(folder / "trace_pipe", os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        _remove(folder)
        raise


def _remove_left_over(instances: Path) -> None:
    for folder in left_over(instances):
        _remove(folder)  # or not: it is busy if it is of a process of another process namespace


def _remove(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()


def _is_alive(pid: str) -> bool:
    return Path("/proc", pid).exists()


def _is_seen(path: Path) -> bool:
    return os.access(path, os.F_OK, effective_ids=True)


def _mount_detached() -> int:
    """A mount of tracefs that is attached nowhere; the descriptor of its top."""
    try:
        context = _call(_FSOPEN, ctypes.c_char_p(b"tracefs"), _FSOPEN_CLOEXEC)
        try:
            _call(_FSCONFIG, context, _FSCONFIG_CMD_CREATE, None, None, 0)
            return _call(_FSMOUNT, context, _FSMOUNT_CLOEXEC, _NOSUID_NODEV_NOEXEC)
        finally:
            os.close(context)
    except OSError as error:
        raise CannotMeasure(_UNREADABLE, _why_no_mount(error)) from error


def _why_no_mount(error: OSError) -> str:
    if error.errno == errno.ENODEV:
        return "the kernel has no tracefs: use one built with CONFIG_FTRACE, Linux 6.12 or newer"
    if os.geteuid() != 0:
        return FOR_ROOT
    return (
        f"tracefs can be neither found nor mounted here ({error.strerror}):"
        " run outside a restricted container"
    )


def _call(number: int, *arguments: object) -> int:
    result: int = ctypes.CDLL(None, use_errno=True).syscall(ctypes.c_long(number), *arguments)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result
