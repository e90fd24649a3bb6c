"""Servers from profiles: started, ready, named, stopped; and whatever can go wrong with that."""

from __future__ import annotations

import re
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trio

from tests.children import child
from tests.lab.vendors import SERVER, server, vendor
from tests.servers import GENEROUS_S
from tlsprobe.errors import CannotMeasure, UsageError
from tlsprobe.lab import vendor as starting
from tlsprobe.lab.process import MARK
from tlsprobe.lab.vendor import Started, running, versions
from tlsprobe.lab.workspace import Workspace, new_workspace
from tlsprobe.model.profile import Profile
from tlsprobe.model.sequence import Signal
from tlsprobe.profiles import load_profile


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Workspace]:
    with new_workspace(tmp_path / "tools") as found:
        yield found
        assert [path.name for path in found.scratch.iterdir()] == ["pki"], "a folder was left"
    assert not found.scratch.exists()


def started(profile: Profile, here: Workspace, host: str = "127.0.0.1") -> tuple[Started, str]:
    """What was started, and its log, once it is over."""

    async def start() -> tuple[Started, str]:
        async with running(profile, here, host=host) as found:
            assert found.ended() is None
            assert pong(found, here) == b"pong"
            said = found.log.read_text(encoding="utf-8")  # it has written it before it answers
        assert found.ended() is not None
        return found, said

    found, said = trio.run(start)
    assert left_of(found.folder) == []
    return found, said


def pong(found: Started, here: Workspace) -> bytes:
    """What a client gets that trusts the lab's authority."""
    context = ssl.create_default_context(cafile=here.pki / "ca.crt")
    with (
        socket.create_connection((found.host, found.port), timeout=GENEROUS_S) as plain,
        context.wrap_socket(plain, server_hostname="tlsprobe.test") as secured,
    ):
        secured.sendall(b"ping")
        return secured.recv(100)


def reason(profile: Profile, here: Workspace) -> str:
    """Why it cannot be started."""

    async def start() -> None:
        async with running(profile, here):
            raise AssertionError("it was started")

    with pytest.raises(CannotMeasure) as error:
        trio.run(start)
    return error.value.message


def left_of(folder: Path) -> list[int]:
    """The processes that carry a server's mark."""
    mark = f"{MARK}={folder}".encode()
    pids = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return [pid for pid in pids if has(pid, mark)]


def has(pid: int, mark: bytes) -> bool:
    try:
        return mark in Path("/proc", str(pid), "environ").read_bytes().split(b"\0")
    except OSError:
        return False


# --- What goes well -------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_server_is_started_named_and_stopped(tmp_path: Path, here: Workspace) -> None:
    lab = r"""
    idle = 7
    idle_directive = "none"
    values = { extra = "on @port@" }
    version = ["@program@", "--version"]
    tls_version = ["@program@", "-c", "import ssl; print(ssl.OPENSSL_VERSION)"]
    """
    found, said = started(server(tmp_path, lab), here)
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", found.version or "")
    assert (found.tls_library or "").startswith("OpenSSL ")
    assert said == f"listening, and idle for 7 s on {found.port}\n"
    assert found.port != found.spare
    assert found.port < 32768 and found.spare < 32768


@pytest.mark.slow
def test_what_is_no_placeholder_stays_in_a_template(tmp_path: Path, here: Workspace) -> None:
    _, said = started(server(tmp_path), here)
    assert said.endswith(" @extra@\n")


def test_a_line_of_its_log_may_say_that_it_is_ready(tmp_path: Path, here: Workspace) -> None:
    started(server(tmp_path, "ready = 'log ^listening, and'\n"), here)


@pytest.mark.slow
def test_what_is_prepared_is_there_when_it_starts(tmp_path: Path, here: Workspace) -> None:
    lab = 'prepare = [["sh", "-c", "echo prepared > @folder@/note"]]\n'
    source = SERVER.replace('"@extra@"', 'open("note").read().strip()')
    _, said = started(server(tmp_path, lab, source=source), here)
    assert said.endswith(" prepared\n")


def test_it_sees_its_own_environment(tmp_path: Path, here: Workspace) -> None:
    source = SERVER.replace('"@extra@"', '__import__("os").environ["MINE"]')
    found, said = started(server(tmp_path, 'env = { MINE = "@spare@" }\n', source=source), here)
    assert said.endswith(f" {found.spare}\n")


@pytest.mark.slow
def test_the_server_behind_is_started_first(tmp_path: Path, here: Workspace) -> None:
    server(tmp_path, name="back")
    source = SERVER.replace("@extra@", "before @behind_host@:@behind_port@")
    front = server(tmp_path, 'behind = "back"\n', name="front", source=source)
    found, said = started(front, here)
    before = re.search(r"before 127\.0\.0\.1:(\d+)$", said)
    assert before is not None and int(before[1]) != found.port


@pytest.mark.root
def test_a_server_that_refuses_root_gets_a_folder_of_its_own(
    tmp_path: Path, here: Workspace
) -> None:
    source = SERVER.replace('"@extra@"', '__import__("os").getuid()')
    lab = 'as_user = true\nprepare = [["touch", "@folder@/mine"]]\n'
    found, said = started(server(tmp_path, lab, source=source), here)
    assert found.user == "nobody"
    assert not said.endswith(" 0\n")


@pytest.mark.slow
def test_a_prefix_comes_before_the_server(tmp_path: Path, here: Workspace) -> None:
    async def start() -> bytes:
        async with running(server(tmp_path), here, prefix=("env", "PREFIXED=1")) as found:
            return Path("/proc", str(found.pid), "environ").read_bytes()

    assert b"PREFIXED=1" in trio.run(start).split(b"\0")


# --- What goes wrong ------------------------------------------------------------------------------


def test_a_server_that_ends_at_once_says_why(tmp_path: Path, here: Workspace) -> None:
    said = reason(server(tmp_path, source='import sys\nsys.exit("no \\x1b[31mthank you")'), here)
    assert said == r"it ended with status 1: no \x1b[31mthank you"


@pytest.mark.slow
def test_a_server_that_is_never_ready_says_what_it_said(tmp_path: Path, here: Workspace) -> None:
    source = 'import time\nprint("thinking", flush=True)\ntime.sleep(600)'
    said = reason(server(tmp_path, "ready_within = 1\n", source=source), here)
    assert said == "it was not ready within 1 s: thinking"


def test_a_command_before_the_start_that_fails(tmp_path: Path, here: Workspace) -> None:
    said = reason(server(tmp_path, 'prepare = [["sh", "-c", "echo full; exit 3"]]\n'), here)
    assert said == "sh -c echo full; exit 3 ended with status 3: full"


def test_a_command_that_is_not_there(tmp_path: Path, here: Workspace) -> None:
    said = reason(vendor(tmp_path, 'start = ["/no/such/server"]\n'), here)
    assert "/no/such/server" in said


@pytest.mark.root
def test_an_account_that_is_not_there(tmp_path: Path, here: Workspace) -> None:
    said = reason(server(tmp_path, 'user = "nobody-of-this-name"\n'), here)
    assert said == "there is no account 'nobody-of-this-name' to run it as"


def test_a_profile_that_is_no_vendor(here: Workspace) -> None:
    async def start() -> None:
        async with running(load_profile("raw"), here):
            pass

    with pytest.raises(UsageError, match="'raw' is no vendor"):
        trio.run(start)


# --- Nothing is left ------------------------------------------------------------------------------

FORKING = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for _ in range(2):
    if os.fork() == 0:
        os.setsid()
        time.sleep(600)
"""
"""Servers within a server: in sessions of their own, and deaf to the signal."""


@pytest.mark.slow
def test_what_does_not_stop_is_killed_with_all_its_children(
    tmp_path: Path, here: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tlsprobe.lab.process.STOPS_WITHIN", 1.0)
    found, _ = started(server(tmp_path, source=FORKING + SERVER), here)
    assert not Path("/proc", str(found.pid)).exists()


def test_an_interrupt_while_it_starts_leaves_nothing(tmp_path: Path, here: Workspace) -> None:
    profile = server(tmp_path, source="import time\ntime.sleep(600)")
    folders: list[Path] = []

    async def start() -> None:
        async with trio.open_nursery() as nursery:

            async def interrupt() -> None:
                while not (marked := list(here.scratch.glob("mine-*/server.log"))):
                    await trio.sleep(0.01)
                folders.extend(path.parent for path in marked)
                nursery.cancel_scope.cancel()

            nursery.start_soon(interrupt)
            async with running(profile, here):
                raise AssertionError("it was ready")

    trio.run(start)
    assert folders and left_of(folders[0]) == []


@pytest.mark.slow
def test_an_error_in_the_block_leaves_nothing(tmp_path: Path, here: Workspace) -> None:
    folders: list[Path] = []

    async def start() -> None:
        async with running(server(tmp_path), here) as found:
            folders.append(found.folder)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        trio.run(start)
    assert left_of(folders[0]) == []


STARTER = """
import sys, trio
from pathlib import Path
from tlsprobe.lab.workspace import new_workspace
from tlsprobe.lab.vendor import running
from tlsprobe.profiles import load_profile

async def start():
    with new_workspace(Path(sys.argv[1], "tools")) as here:
        async with running(load_profile(sys.argv[1]), here) as found:
            print(found.pid, here.scratch, flush=True)
            await trio.sleep_forever()

trio.run(start)
"""


@pytest.mark.server("setpriv")
def test_the_server_goes_with_the_one_who_started_it(tmp_path: Path) -> None:
    """Killed outright, tlsprobe cannot stop it: the kernel does."""
    server(tmp_path)
    command = [sys.executable, "-c", STARTER, str(tmp_path / "mine")]
    with child(command, stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        pid, scratch = starter.stdout.readline().split()
        starter.kill()
    until(lambda: not Path("/proc", pid, "exe").exists())
    shutil.rmtree(scratch)


def until(condition: Callable[[], bool], seconds: float = GENEROUS_S) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.02)


@pytest.mark.slow
def test_a_server_that_was_told_to_stop_is_started_again(tmp_path: Path, here: Workspace) -> None:
    """At the same address, as often as is asked for; its words are those of the new one."""
    lab = 'ready = "log ^listening"\n'

    async def stop_and_go() -> None:
        async with running(server(tmp_path, lab), here) as found:
            assert pong(found, here) == b"pong"
            for _ in range(2):
                assert found.process.tell(Signal.USR1) == "USR1"
                while found.ended() is None:
                    await trio.sleep(0.01)
                with pytest.raises(ProcessLookupError):
                    found.process.tell(Signal.STOP)
                await found.process.renew()
                assert found.ended() is None
                assert found.log.read_text(encoding="utf-8").count("listening") == 1
                assert pong(found, here) == b"pong"

    trio.run(stop_and_go)


DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(1000)"


def test_a_server_that_names_no_version_and_will_not_stop_costs_its_own_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is warned of: whoever asks for JSON gets it."""
    monkeypatch.setattr(starting, "VERSION_WITHIN", 1.0)
    asked = f'version = ["@program@", "-c", "{DEAF}"]\nversion_pattern = "(.+)"\n'
    deaf = server(tmp_path, asked)
    assert trio.run(versions, deaf, sys.executable, tmp_path) == (None, None)
