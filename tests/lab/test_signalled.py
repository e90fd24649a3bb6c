"""A process that somebody else runs: told to stop, and waited for until another follows."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
import trio.testing

from tests.children import child
from tlsprobe.errors import CannotMeasure, UsageError
from tlsprobe.lab.signalled import by_number, known, name_of
from tlsprobe.model.sequence import Signal

HOST = "127.0.0.1"
NAMES = {Signal.GRACEFUL: "USR1", Signal.RELOAD: "HUP"}
HEEDS_NOTHING = (
    "import signal, sys; signal.pthread_sigmask(0, range(1, 30)); print(flush=True); signal.pause()"
)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """Somebody who accepts, whoever lives or dies."""
    with socket.create_server((HOST, 0)) as found:
        yield found


class Sleeping(subprocess.Popen[bytes]):
    """A process that ends with the block, whatever becomes of the test."""

    def __exit__(self, *about: object) -> None:
        self.kill()
        super().__exit__(None, None, None)


def sleeping() -> Sleeping:
    return Sleeping(["sleep", "600"])


def test_a_meaning_has_the_signal_of_the_profile_and_a_name_is_itself() -> None:
    assert name_of(Signal.GRACEFUL, NAMES) == "USR1"
    assert name_of(Signal.STOP, NAMES) == "TERM"
    assert name_of(Signal.USR1, NAMES) == "USR1"


def test_what_is_known_is_to_stop_and_all_names_and_the_meanings_that_have_one() -> None:
    assert {Signal.GRACEFUL, Signal.RELOAD, Signal.TERM, Signal.WINCH} <= known(NAMES)
    assert Signal.STOP in known({})
    assert Signal.STOP not in known({Signal.GRACEFUL: "TERM"}), "nothing tells it to stop at once"
    assert not {Signal.GRACEFUL, Signal.RELOAD} & known({})


def test_a_number_is_good_for_one_stop(listener: socket.socket) -> None:
    with sleeping() as process:
        held = by_number(str(process.pid), NAMES, HOST, listener.getsockname()[1])
        assert Signal.STOP in held.knows
        assert held.tell(Signal.GRACEFUL) == "USR1"
        with pytest.raises(CannotMeasure, match="has ended as it was told"):
            trio.run(held.renew)
        assert process.wait() == -signal.SIGUSR1


def test_a_stop_never_meets_another_process_of_that_number(listener: socket.socket) -> None:
    process = sleeping()
    held = by_number(str(process.pid), NAMES, HOST, listener.getsockname()[1])
    process.kill()
    process.wait()
    with pytest.raises(ProcessLookupError):
        held.tell(Signal.STOP)


def test_a_reload_is_followed_by_the_same_process(listener: socket.socket) -> None:
    with child([sys.executable, "-c", HEEDS_NOTHING], stdout=-1) as process:
        assert process.stdout is not None
        process.stdout.readline()
        held = by_number(str(process.pid), NAMES, HOST, listener.getsockname()[1])
        assert [held.tell(Signal.RELOAD), held.tell(Signal.HUP)] == ["HUP", "HUP"]
        trio.run(held.renew)
        assert process.poll() is None
        process.kill()


def test_a_file_names_whoever_follows(tmp_path: Path, listener: socket.socket) -> None:
    first, second = sleeping(), sleeping()
    file = tmp_path / "server.pid"
    file.write_text(f"{first.pid}\n/var/lib/server\n")
    try:
        held = by_number(str(file), NAMES, HOST, listener.getsockname()[1])
        assert held.tell(Signal.STOP) == "TERM"
        first.wait()
        file.unlink()  # as a server does when it ends

        async def followed() -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(held.renew)
                await trio.testing.wait_all_tasks_blocked()
                file.write_text(str(second.pid))

        trio.run(followed)
        assert held.tell(Signal.STOP) == "TERM"
        assert second.wait() == -signal.SIGTERM
    finally:
        for process in (first, second):
            process.kill()
            process.wait()


def test_nobody_follows(
    tmp_path: Path, listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tlsprobe.lab.signalled.COMES_BACK_WITHIN", 0.2)
    file = tmp_path / "server.pid"
    with sleeping() as process:
        file.write_text(str(process.pid))
        held = by_number(str(file), NAMES, HOST, listener.getsockname()[1])
        held.tell(Signal.STOP)
        process.wait()
        with pytest.raises(CannotMeasure, match=r"no server came back within 0\.2 s"):
            trio.run(held.renew)


def test_who_does_not_end_is_not_waited_for_without_end(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tlsprobe.lab.signalled.COMES_BACK_WITHIN", 0.2)
    with child([sys.executable, "-c", HEEDS_NOTHING], stdout=-1) as process:
        assert process.stdout is not None
        process.stdout.readline()
        held = by_number(str(process.pid), NAMES, HOST, listener.getsockname()[1])
        held.tell(Signal.STOP)
        with pytest.raises(CannotMeasure, match=r"was told to stop .* and runs on"):
            trio.run(held.renew)
        process.kill()


def test_who_is_no_server() -> None:
    for process in ("1", "0", str(os.getpid())):
        with pytest.raises(UsageError, match="is no server"):
            by_number(process, NAMES, HOST, 1)


def test_no_such_process_and_no_such_file(tmp_path: Path) -> None:
    with sleeping() as process:
        process.kill()
    with pytest.raises(UsageError, match=f"there is no process {process.pid}"):
        by_number(str(process.pid), NAMES, HOST, 1)
    with pytest.raises(UsageError, match="no process number in"):
        by_number(str(tmp_path / "none"), NAMES, HOST, 1)
    (tmp_path / "empty").write_text("")
    with pytest.raises(UsageError, match="no process number in"):
        by_number(str(tmp_path / "empty"), NAMES, HOST, 1)
