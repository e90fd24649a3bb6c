"""The kernel's tracefs, mounted or not, and instances that do not outlive their use."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path

import pytest

from tests.children import child
from tlsprobe.errors import CannotMeasure
from tlsprobe.lab import tracefs

NOWHERE = (Path("/no/such/place"),)
"""As on a machine where tracefs is not mounted."""


@pytest.mark.kernel_truth
def test_where_it_is_not_mounted_it_is_reached_all_the_same() -> None:
    with tracefs.reached(NOWHERE) as top:
        assert (top / "events/tcp/tcp_send_reset/format").exists()


@pytest.mark.kernel_truth
def test_nobody_else_sees_the_mount_and_it_goes_with_the_block() -> None:
    mounts = Path("/proc/self/mountinfo")
    before = mounts.read_text()
    with tracefs.reached(NOWHERE) as top:
        assert mounts.read_text() == before
    assert not (top / "instances").exists()


@pytest.mark.kernel_truth
def test_mode_and_owner_stay_as_they_were() -> None:
    """They are of the file system, not of a mount: who changes them changes them for everybody."""

    def rights() -> list[tuple[int, int, int]]:
        with tracefs.reached() as top:
            stats = [path.stat() for path in (top, top / "instances", top / "trace")]
        return [(stat.st_mode, stat.st_uid, stat.st_gid) for stat in stats]

    before = rights()
    with tracefs.reached(NOWHERE):
        assert rights() == before


def test_mounted_it_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "instances").mkdir()
    with tracefs.reached((*NOWHERE, tmp_path)) as top:
        assert top == tmp_path


def test_no_permission_is_said_to_others_than_root(tmp_path: Path) -> None:
    closed = tmp_path / "tracing"
    closed.mkdir(mode=0o000)
    for mount_points in ((closed,), NOWHERE):
        with as_nobody(), pytest.raises(CannotMeasure) as caught, tracefs.reached(mount_points):
            pass
        assert caught.value.hint is not None
        assert "run this as root" in caught.value.hint


@contextmanager
def as_nobody() -> Iterator[None]:
    """Drops root for a while; another user has nothing to drop."""
    mine = os.geteuid()
    if mine != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(mine)


# --- Instances ------------------------------------------------------------------------------------


@pytest.fixture
def top() -> Iterator[Path]:
    with tracefs.reached() as found:
        yield found


def instances_of(pid: int, top: Path) -> list[Path]:
    return list((top / "instances").glob(f"{tracefs.PREFIX}{pid}-*"))


@pytest.mark.kernel_truth
def test_an_instance_is_removed_even_on_error(top: Path) -> None:
    with pytest.raises(ZeroDivisionError), tracefs.instance(top) as made:
        assert instances_of(os.getpid(), top) == [made.folder]
        raise ZeroDivisionError
    assert instances_of(os.getpid(), top) == []


@pytest.mark.kernel_truth
def test_the_main_trace_is_left_alone(top: Path) -> None:
    files = [top / name for name in ("events/tcp/tcp_send_reset/enable", "trace_clock")]
    before = [file.read_text() for file in files]
    with tracefs.instance(top) as made:
        made.write("trace_clock", "tai")
        made.write("events/tcp/tcp_send_reset/enable", "1")
        assert [file.read_text() for file in files] == before


KILLED = """
from tlsprobe.lab import tracefs
with tracefs.reached() as top, tracefs.instance(top):
    print("made", flush=True)
    input()
"""


@pytest.mark.kernel_truth
def test_what_a_killed_process_left_goes_with_the_next_one(top: Path) -> None:
    with child(
        [sys.executable, "-c", KILLED], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"made\n"
        with tracefs.instance(top):
            (alive,) = instances_of(process.pid, top)
        process.send_signal(signal.SIGKILL)
    assert alive in tracefs.left_over(top / "instances") or not alive.exists()
    with tracefs.instance(top):
        assert not alive.exists()


@pytest.mark.kernel_truth
def test_what_a_process_of_another_process_namespace_uses_is_left_alone(top: Path) -> None:
    """Its number says nothing here: it may look dead, or be our own."""
    strangers = top / "instances" / f"{tracefs.PREFIX}{2**22 + 1}-0"
    try:
        with opened(strangers), tracefs.instance(top):
            assert strangers.exists()
        with tracefs.instance(top):
            assert not strangers.exists()
    finally:
        with suppress(OSError):
            strangers.rmdir()


def opened(instance: Path) -> FileIO:
    """An instance in use. Tests beside this one take away what nobody uses yet."""
    for _ in range(100):
        with suppress(OSError):
            instance.mkdir(exist_ok=True)
            return FileIO(instance / "trace_pipe")
    pytest.fail(f"{instance} cannot be made and opened")


@pytest.mark.kernel_truth
def test_a_name_that_is_taken_is_passed_over(top: Path) -> None:
    with tracefs.instance(top) as one:
        number = int(one.folder.name.rpartition("-")[2])
        taken = one.folder.with_name(f"{tracefs.PREFIX}{os.getpid()}-{number + 1}")
        taken.mkdir()
        try:
            with tracefs.instance(top) as two:
                assert two.folder not in (one.folder, taken)
        finally:
            taken.rmdir()


def test_a_refusal_is_told(tmp_path: Path) -> None:
    """A read-only tracefs of a container, here an ordinary file in its place."""
    (tmp_path / "instances").touch()
    with pytest.raises(CannotMeasure) as caught, tracefs.instance(tmp_path):
        pass
    assert "tracefs refused an instance" in (caught.value.hint or "")
