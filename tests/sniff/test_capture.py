"""Real connections over loopback, captured for real by every backend this machine has.

ARCHITECTURE.md, "Decisions": the sniffer is a process of its own, without privileges.
"""

import ctypes
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import trio

from tests import servers
from tests.servers import GENEROUS_S
from tlsprobe.captures.pcap import Reader
from tlsprobe.errors import CannotMeasure, TlsprobeError, UsageError
from tlsprobe.flows.connection import NOTHING
from tlsprobe.model.trace import Coverage, Segment, Side
from tlsprobe.sniff import backends
from tlsprobe.sniff.capture import Capture, open_capture
from tlsprobe.sniff.privileges import ordinary_user

pytestmark = pytest.mark.usefixtures("nothing_left")

FAMILIES = {"127.0.0.1": socket.AF_INET, "::1": socket.AF_INET6}
BOTH = pytest.mark.parametrize("host", FAMILIES)


class Pair:
    """A server socket, and connections to it whose every step is taken by hand."""

    def __init__(self, host: str) -> None:
        self.host = host
        self._listening = socket.create_server((host, 0), family=FAMILIES[host], backlog=512)
        self.port = self._listening.getsockname()[1]

    def connect(self, capture: Capture) -> tuple[socket.socket, socket.socket]:
        client = socket.create_connection((self.host, self.port))
        capture.expect(client.getsockname()[:2])
        server, _ = self._listening.accept()
        return client, server

    def exchange(self, capture: Capture) -> tuple[str, int]:
        """SYN to RST in nine packets at most: the server closes with our bytes unread."""
        client, server = self.connect(capture)
        name: tuple[str, int] = client.getsockname()[:2]
        client.sendall(b"unread")
        server.recv(6, socket.MSG_PEEK)  # it has arrived, however late the kernel came to it
        server.sendall(b"answer")
        client.recv(6, socket.MSG_PEEK)
        server.close()
        until_reset(client)
        client.close()
        return name

    def close(self) -> None:
        self._listening.close()


def until_reset(client: socket.socket) -> None:
    poll = select.poll()
    poll.register(client, 0)  # an error is always told
    assert poll.poll(GENEROUS_S * 1000)


@contextmanager
def pair(host: str = "127.0.0.1") -> Iterator[Pair]:
    with closing(Pair(host)) as made:
        yield made


def story(segments: tuple[Segment, ...]) -> str:
    letters = {0x02: "S", 0x12: "S.", 0x10: ".", 0x18: "P.", 0x14: "R.", 0x11: "F.", 0x04: "R"}
    return " ".join(letters[s.flags] for s in segments if s.side is Side.SERVER)


@pytest.mark.packet_socket
@BOTH
def test_every_packet_once_from_syn_to_reset(host: str, tmp_path: Path) -> None:
    path = tmp_path / "capture.pcapng"

    async def main(server: Pair) -> Capture:
        async with open_capture("auto", host, server.port, require=True, pcapng=path) as capture:
            assert (capture.backend, capture.interface, capture.warning) == ("packet", "lo", None)
            before = time.time_ns()
            client = server.exchange(capture)
            await capture.settle()
            segments, coverage = capture.take(client)
            assert coverage is Coverage.WHOLE
            assert story(segments) == "S. . P. R."
            assert len({(s.side, s.start, s.ack, s.flags) for s in segments}) == len(segments) == 8
            times = [s.time_ns for s in segments]
            assert times == sorted(times)
            assert before < times[0] < times[-1] < time.time_ns()
            assert any(t % 1000 for t in times)
            assert [s.length for s in segments if s.length] == [6, 6]
        return capture

    with pair(host) as server:
        facts = trio.run(main, server).facts()
    assert (facts.backend, facts.interface, facts.packets, facts.dropped) == ("packet", "lo", 8, 0)
    reader = Reader()
    assert len(reader.feed(path.read_bytes())) == 8
    assert reader.interfaces[0].dropped == 0


@pytest.mark.packet_socket
@BOTH
def test_settle_is_a_barrier(host: str) -> None:
    """Every one of hundreds of short connections is whole right after `settle`."""

    async def main(server: Pair) -> None:
        async with open_capture("packet", host, server.port, require=True) as capture:
            for _ in range(400):
                client = server.exchange(capture)
                await capture.settle()
                segments, coverage = capture.take(client)
                assert (story(segments), coverage) == ("S. . P. R.", Coverage.WHOLE)
        assert capture.facts().packets == 3200
        assert capture.facts().dropped == 0

    with pair(host) as server:
        trio.run(main, server)


@pytest.mark.packet_socket
def test_many_who_settle_at_once_share_the_question() -> None:
    async def main(server: Pair) -> None:
        async with open_capture("packet", server.host, server.port, require=True) as capture:

            async def one() -> None:
                await trio.lowlevel.checkpoint()
                client = server.exchange(capture)
                await capture.settle()
                segments, _ = capture.take(client)
                assert story(segments) == "S. . P. R."

            async with trio.open_nursery() as nursery:
                for _ in range(200):
                    nursery.start_soon(one)
            backend = capture._backend
            assert backend is not None
            assert getattr(backend, "_asked") <= 100  # noqa: B009
            assert getattr(backend, "_waiting") == {}  # noqa: B009

    with pair() as server:
        trio.run(main, server)


@pytest.mark.packet_socket
def test_a_question_already_under_way_is_not_enough() -> None:
    """Its answer may be older than our last packet."""

    async def main(server: Pair) -> None:
        async with open_capture("packet", server.host, server.port, require=True) as capture:
            pid = sniffer_pid(capture)

            async def resume() -> None:
                await trio.sleep(0.05)
                os.kill(pid, signal.SIGCONT)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(capture.settle)
                await trio.lowlevel.checkpoint()
                time.sleep(0.05)
                os.kill(pid, signal.SIGSTOP)
                client = server.exchange(capture)
                nursery.start_soon(resume)
                await capture.settle()
            assert len(capture.take(client).segments) == 8

    with pair() as server:
        trio.run(main, server)


@pytest.mark.packet_socket
def test_a_settle_given_up_does_not_stop_the_others() -> None:
    async def main(server: Pair) -> None:
        async with open_capture("packet", server.host, server.port, require=True) as capture:
            for _ in range(20):
                with trio.move_on_after(0):
                    await capture.settle()
            client = server.exchange(capture)
            with trio.fail_after(GENEROUS_S):
                await capture.settle()
            assert len(capture.take(client).segments) == 8

    with pair() as server:
        trio.run(main, server)


@pytest.mark.packet_socket
@BOTH
def test_a_big_transfer_is_whole(host: str) -> None:
    size = 24 * 1024 * 1024

    def send(server: socket.socket) -> None:
        with server:
            server.sendall(bytes(size))

    def receive(client: socket.socket) -> None:
        while client.recv(1 << 20):
            pass

    async def main(server: Pair) -> None:
        async with open_capture("packet", host, server.port, require=True) as capture:
            ours, theirs = server.connect(capture)
            with ours:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(trio.to_thread.run_sync, send, theirs)
                    nursery.start_soon(trio.to_thread.run_sync, receive, ours)
                name = ours.getsockname()[:2]
            await capture.settle()
            segments, coverage = capture.take(name)
        assert (capture.dropped, coverage) == (0, Coverage.WHOLE)
        assert max(s.end for s in segments if s.side is Side.SERVER and s.length) == size

    with pair(host) as server:
        trio.run(main, server)


@pytest.mark.packet_socket
def test_strangers_are_counted_and_not_kept(tmp_path: Path) -> None:
    path = tmp_path / "capture.pcapng"

    async def main(server: Pair) -> Capture:
        async with open_capture(
            "packet", server.host, server.port, require=True, interface="lo", pcapng=path
        ) as capture:
            socket.create_connection((server.host, server.port)).close()
            await capture.settle()
        return capture

    with pair() as server:
        capture = trio.run(main, server)
    assert (capture.packets, capture.others > 3) == (0, True)
    assert Reader().feed(path.read_bytes()) == []


def sniffer_pid(capture: Capture) -> int:
    backend = capture._backend
    assert backend is not None
    assert backend._process is not None
    return backend._process.pid


def status(pid: int) -> dict[str, list[str]]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: rest.split() for name, _, rest in (line.partition(":") for line in lines)}


def borrowed_packet_socket(pid: int) -> socket.socket:
    """The sniffer's own packet socket, by pidfd_getfd(2)."""
    libc = ctypes.CDLL(None, use_errno=True)
    process = os.pidfd_open(pid)
    try:
        for fd in sorted(int(name.name) for name in Path(f"/proc/{pid}/fd").iterdir()):
            if str(Path(f"/proc/{pid}/fd/{fd}").readlink()).startswith("socket:"):
                copy = libc.syscall(438, process, fd, 0)
                assert copy >= 0, os.strerror(ctypes.get_errno())
                return socket.socket(fileno=copy)
    finally:
        os.close(process)
    raise AssertionError("the sniffer has no socket")


@pytest.mark.root
def test_privileges_are_gone_and_the_filter_is_locked() -> None:

    async def main(server: Pair) -> None:
        async with open_capture("packet", server.host, server.port, require=True) as capture:
            pid = sniffer_pid(capture)
            found = status(pid)
            user = os.environ.get("SUDO_UID", "65534")
            assert found["Uid"] == [user] * 4
            assert found["Groups"] == []
            assert {int(found[c][0], 16) for c in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {0}
            assert found["NoNewPrivs"] == ["1"]
            with borrowed_packet_socket(pid) as packets:
                assert packets.family == socket.AF_PACKET
                assert packets.getsockopt(socket.SOL_SOCKET, 44) == 1
                assert packets.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) >= 64 << 20
                with pytest.raises(PermissionError):
                    packets.setsockopt(socket.SOL_SOCKET, 27, 0)

    with pair() as server:
        trio.run(main, server)


@pytest.mark.root
def test_dropped_packets_are_counted_and_leave_holes() -> None:
    """A sniffer that is held up, with next to no receive buffer, must lose packets and say so."""

    async def main(server: Pair) -> None:
        async with open_capture("packet", server.host, server.port, require=True) as capture:
            pid = sniffer_pid(capture)
            with borrowed_packet_socket(pid) as packets:
                packets.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 0)
            os.kill(pid, signal.SIGSTOP)
            ours, theirs = server.connect(capture)
            with ours, theirs:
                name = ours.getsockname()[:2]
                for _ in range(50):
                    ours.sendall(bytes(1000))
                    theirs.recv(1000)
                os.kill(pid, signal.SIGCONT)
                await capture.settle()
            # What is acknowledged from here on shows that something was missed before.
            await capture.settle()
            dropped = capture.dropped
            assert dropped
            segments, coverage = capture.take(name)
            assert coverage is Coverage.HOLES
            assert len(segments) + dropped >= 100
            await capture.settle()
            assert capture.dropped == dropped
        assert capture.facts().dropped == dropped

    with pair() as server:
        trio.run(main, server)


@pytest.mark.packet_socket
def test_a_sniffer_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "ANSWER_S", 0.1)
    monkeypatch.setattr(backends, "FINISHING_S", 0.1)

    async def main(server: Pair) -> None:
        async with open_capture("packet", server.host, server.port, require=True) as capture:
            os.kill(sniffer_pid(capture), signal.SIGSTOP)
            await capture.settle()
            assert capture.broken == "the sniffer process does not answer"

    with pair() as server:
        trio.run(main, server)


@pytest.mark.packet_socket
@pytest.mark.parametrize("when", ["before settling", "while settling"])
def test_a_sniffer_that_dies_hangs_nobody(when: str) -> None:
    async def main(server: Pair) -> None:
        async with open_capture("packet", server.host, server.port, require=True) as capture:
            pid = sniffer_pid(capture)
            os.kill(pid, signal.SIGSTOP)
            client = server.exchange(capture)
            with trio.fail_after(GENEROUS_S):
                async with trio.open_nursery() as nursery:
                    if when == "while settling":
                        nursery.start_soon(capture.settle)
                        nursery.start_soon(capture.settle)
                        await trio.sleep(0.05)
                    os.kill(pid, signal.SIGKILL)
                    await trio.sleep(0.05)
                    await capture.settle()
            assert capture.broken
            assert capture.take(client) == NOTHING
        assert capture.facts().dropped is None

    with pair() as server:
        trio.run(main, server)


@pytest.mark.packet_socket
def test_what_the_body_raises_comes_out_as_it_is() -> None:
    async def main(server: Pair) -> None:
        async with open_capture("packet", server.host, server.port, require=True):
            raise CannotMeasure("the server is gone")

    with pair() as server, pytest.raises(CannotMeasure, match="gone"):
        trio.run(main, server)


@pytest.mark.packet_socket
def test_cancelled_from_outside_the_tail_is_still_drained(tmp_path: Path) -> None:
    path = tmp_path / "capture.pcapng"

    async def main(server: Pair) -> None:
        with trio.CancelScope() as scope:
            async with open_capture(
                "packet", server.host, server.port, require=True, pcapng=path
            ) as capture:
                server.exchange(capture)
                scope.cancel()
                await trio.sleep_forever()
        assert scope.cancelled_caught
        assert (capture.facts().packets, capture.facts().dropped) == (8, 0)

    with pair() as server:
        trio.run(main, server)
    assert len(Reader().feed(path.read_bytes())) == 8


@pytest.mark.packet_socket
def test_cancelled_while_arming_leaves_nothing() -> None:
    async def main(server: Pair) -> None:
        for delay in (0, 0.01, 0.05, 0.1):
            with trio.move_on_after(delay):
                async with open_capture("packet", server.host, server.port, require=True):
                    await trio.sleep_forever()

    with pair() as server:
        trio.run(main, server)


@pytest.mark.packet_socket
@pytest.mark.parametrize("backend", ["dumpcap", "tcpdump"])
@BOTH
def test_the_other_programs_capture_too(backend: str, host: str, tmp_path: Path) -> None:
    servers.need_server(backend)
    path = tmp_path / "capture.pcapng"

    async def main(server: Pair) -> Capture:
        async with open_capture(backend, host, server.port, require=True, pcapng=path) as capture:
            for _ in range(3):
                client = server.exchange(capture)
                await capture.settle()
                segments, coverage = capture.take(client)
                assert (story(segments), coverage) == ("S. . P. R.", Coverage.WHOLE)
                assert len(segments) == 8
            server.exchange(capture)
        return capture

    with pair(host) as server:
        capture = trio.run(main, server)
    facts = capture.facts()
    assert (facts.backend, facts.packets, facts.dropped) == (backend, 32, 0)
    assert capture.broken is None
    assert len(Reader().feed(path.read_bytes())) == 32


@pytest.mark.packet_socket
@pytest.mark.server("dumpcap")
def test_a_fallback_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    """With no working sniffer process the next program is taken."""
    monkeypatch.setattr(sys, "executable", "/bin/false")

    async def main(server: Pair) -> None:
        async with open_capture("auto", server.host, server.port, require=True) as capture:
            assert capture.backend == "dumpcap"
            assert capture.warning is not None
            assert "packet: it ended at once" in capture.warning

    with pair() as server:
        trio.run(main, server)


def test_none_is_nothing_and_never_waits() -> None:
    async def main() -> None:
        async with open_capture("none", "127.0.0.1", 9) as capture:
            capture.expect(("127.0.0.1", 40000))
            await capture.settle()
            assert capture.take(("127.0.0.1", 40000)) == NOTHING
            assert capture.warning == "nothing was captured, as asked"
        facts = capture.facts()
        assert (facts.backend, facts.packets, facts.dropped) == ("none", 0, None)

    trio.run(main)


@pytest.mark.parametrize(
    ("choice", "require", "interface", "error", "says"),
    [
        ("none", True, None, CannotMeasure, "asks for no capture"),
        ("packet", False, "nowhere99", UsageError, "no interface nowhere99"),
        ("pcap", False, None, UsageError, "no such capture"),
    ],
)
def test_what_cannot_be_had_is_an_error(
    choice: str, require: bool, interface: str | None, error: type[TlsprobeError], says: str
) -> None:
    async def main() -> None:
        async with open_capture(choice, "127.0.0.1", 9, require=require, interface=interface):
            raise AssertionError("there is a capture")

    with pytest.raises(error, match=says):
        trio.run(main)


def test_a_program_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)

    async def main() -> None:
        async with open_capture("tcpdump", "127.0.0.1", 9):
            raise AssertionError("there is a capture")

    with pytest.raises(CannotMeasure, match="tcpdump: not installed") as caught:
        trio.run(main)
    assert caught.value.hint is not None


# What must be seen from outside: other privileges, signals, a parent that is gone.

PROBE = """
    import os, signal, socket, sys, trio
    from pathlib import Path
    from tlsprobe.errors import TlsprobeError
    from tlsprobe.sniff import privileges
    from tlsprobe.sniff.capture import open_capture

    def say(*words): print(*words, flush=True)

    async def main(choice, require, wait, path):
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            target = (choice, "127.0.0.1", port)
            async with open_capture(*target, require=require, pcapng=path) as capture:
                if capture._backend:
                    say("sniffer", capture._backend._process.pid)
                client = socket.create_connection(("127.0.0.1", port))
                capture.expect(client.getsockname())
                client.close()
                if wait:
                    await trio.sleep_forever()
                await capture.settle()
            say("broken:", capture.broken)
            say(capture.facts().backend, capture.facts().packets, capture.warning)

    def run(choice="auto", require=False, wait=False, path=None):
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a job may ignore it
        try:
            trio.run(main, choice, require, wait, path)
        except TlsprobeError as error:
            say("exit", error.exit_code, error.message)
        except KeyboardInterrupt:
            say("interrupted")
"""


@contextmanager
def probing(body: str, *before: str) -> Iterator[subprocess.Popen[str]]:
    """A probe in a session of its own; whatever happens in the test, it does not outlive it."""
    code = textwrap.dedent(PROBE) + textwrap.dedent(body)
    process = subprocess.Popen(
        [*before, sys.executable, "-W", "error", "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONWARNINGS": "error"},
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def said(body: str, *before: str) -> str:
    with probing(body, *before) as process:
        return process.communicate(timeout=GENEROUS_S)[0]


def gone(pid: int) -> bool:
    deadline = time.monotonic() + GENEROUS_S
    while time.monotonic() < deadline:
        if not Path(f"/proc/{pid}").exists() or status(pid)["State"][0] == "Z":
            return True
        time.sleep(0.02)
    return False


@pytest.mark.slow
def test_without_privileges_auto_goes_on_with_none_and_says_why() -> None:
    output = said("privileges.clear_capabilities(); run()")
    assert "none 0 no capture: packet: opening a packet socket needs root" in output
    assert "dumpcap: " in output
    assert "tcpdump: " in output
    assert "Traceback" not in output


@pytest.mark.slow
@pytest.mark.parametrize("arguments", ["'packet'", "'auto', require=True"])
def test_without_privileges_a_capture_that_is_demanded_ends_with_3(arguments: str) -> None:
    output = said(f"privileges.clear_capabilities(); run({arguments})")
    assert output.startswith("exit 3 ")
    assert "CAP_NET_RAW" in output


@pytest.mark.packet_socket
def test_a_full_disk_breaks_the_capture_not_the_probe(tmp_path: Path) -> None:
    limited = f"""
        import resource
        resource.setrlimit(resource.RLIMIT_FSIZE, (300, 300))
        run("packet", path=Path({str(tmp_path / "capture.pcapng")!r}))
    """
    output = said(limited)
    assert "broken: the capture file cannot be written (File too large)" in output
    assert "Traceback" not in output


@pytest.mark.slow
def test_a_capture_file_that_cannot_be_made_is_a_usage_error() -> None:
    output = said("run(path=Path('/proc/none/capture.pcapng'))")
    assert "exit 2 cannot write" in output or "no capture" in output


@pytest.mark.packet_socket
def test_in_a_user_namespace_there_is_nobody_to_become() -> None:
    if subprocess.run(["unshare", "-Urn", "true"], check=False, capture_output=True).returncode:
        servers.cannot("user namespaces are not permitted here")
    up = """
        import fcntl, struct
        with socket.socket() as s:
            fcntl.ioctl(s, 0x8914, struct.pack("16sH14x", b"lo", 1))
        run("packet")
    """
    output = said(up, "unshare", "-Urn")
    assert output.splitlines()[-1].startswith("packet ")
    assert not output.splitlines()[-1].startswith("packet 0")


@pytest.mark.packet_socket
def test_ctrl_c_reaps_the_sniffer() -> None:
    with probing("run(wait=True)") as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline().split()[1])
        # As from a terminal, to the whole foreground group; and to the sniffer, which ignores it.
        os.kill(pid, signal.SIGINT)
        time.sleep(0.1)
        assert status(pid)["State"][0] != "Z"
        os.killpg(process.pid, signal.SIGINT)
        rest = process.stdout.read()
        assert process.wait(GENEROUS_S) == 0
    assert rest == "interrupted\n"
    assert gone(pid)


@pytest.mark.packet_socket
def test_a_parent_that_is_killed_takes_the_sniffer_along() -> None:
    with probing("run(wait=True)") as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline().split()[1])
        process.kill()
    assert gone(pid)


@pytest.mark.root
def test_under_sudo_it_becomes_the_caller_without_our_groups() -> None:
    body = """
        os.setgroups([12345, 12346])
        os.environ.update(SUDO_UID="4321", SUDO_GID="4322")
        run("packet", wait=True)
    """
    with probing(body) as process:
        assert process.stdout is not None
        found = status(int(process.stdout.readline().split()[1]))
    assert (found["Uid"], found["Gid"]) == (["4321"] * 4, ["4322"] * 4)
    assert found["Groups"] == []


def test_sudo_names_the_user_to_become() -> None:
    assert ordinary_user({"SUDO_UID": "1000", "SUDO_GID": "1001"}) == (1000, 1001)
    for environment in ({}, {"SUDO_UID": "0", "SUDO_GID": "0"}, {"SUDO_UID": "x", "SUDO_GID": "1"}):
        assert min(ordinary_user(environment)) > 0
