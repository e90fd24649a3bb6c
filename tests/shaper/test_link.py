"""The shaper itself: a socket in a network of its own, and a server on the host's."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import trio

from tests.children import child
from tests.servers import GENEROUS_S, cannot, loopbacks
from tlsprobe.errors import CannotMeasure
from tlsprobe.model.trace import PathDid
from tlsprobe.model.verbs import Treatment
from tlsprobe.shaper.link import Lane, open_shaper, why_not
from tlsprobe.shaper.protocol import Do, Order

pytestmark = pytest.mark.root

LARGE = os.urandom(3_000_000)


@contextmanager
def a_server(host: str, answer: bytes) -> Iterator[tuple[str, int]]:
    """Takes one connection, reads to its end, and answers; both in a thread."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as listener:
        listener.settimeout(GENEROUS_S)

        def serve() -> None:
            with ExitStack() as opened:
                one = opened.enter_context(listener.accept()[0])
                one.settimeout(GENEROUS_S)
                while one.recv(65536):
                    pass
                one.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield host, listener.getsockname()[1]
        thread.join()


async def connected(lane: Lane, port: int) -> trio.SocketStream:
    with trio.fail_after(GENEROUS_S):
        sock = trio.socket.from_stdlib_socket(lane.socket)
        await sock.connect((lane.server[0], port))
        return trio.SocketStream(sock)


async def everything(stream: trio.SocketStream) -> bytes:
    with trio.fail_after(GENEROUS_S):
        return b"".join([chunk async for chunk in stream])


@pytest.mark.parametrize("host", loopbacks())
def test_megabytes_pass_in_both_families(host: str) -> None:
    """Loopback passes segments of 64 KiB whose checksums were never finished."""

    async def main(where: tuple[str, int]) -> None:
        async with open_shaper(where) as shaper:
            lane = await shaper.open()
            assert lane.client[0] == host
            async with await connected(lane, where[1]) as stream:
                await stream.send_all(b"ask")
                await stream.send_eof()
                assert await everything(stream) == LARGE
            assert await lane.leave() == ()

    with a_server(host, LARGE) as where:
        trio.run(main, where)


def test_a_hold_keeps_bytes_until_they_are_released() -> None:
    async def main(where: tuple[str, int]) -> None:
        async with open_shaper(where) as shaper:
            lane = await shaper.open()
            async with await connected(lane, where[1]) as stream:
                await lane.treat(Treatment.HOLD, 0, 3, 1)
                await stream.send_all(b"ask")
                await stream.send_eof()
                with trio.move_on_after(0.05) as waiting:
                    await stream.receive_some(1)
                assert waiting.cancelled_caught
                await lane.order(Do.RELEASE)
                assert await everything(stream) == b"answer"
            did = [action.did for action in await lane.leave()]
            assert did[0] is PathDid.HELD
            assert did[-1] is PathDid.RELEASED

    with a_server("127.0.0.1", b"answer") as where:
        trio.run(main, where)


def test_each_connection_may_go_to_a_port_of_its_own() -> None:
    """A shaper of one port alone would wait for an answer to the SYN that it does not see."""

    async def main(where: tuple[str, int], elsewhere: tuple[str, int]) -> None:
        async with open_shaper(where, any_port=True) as shaper:
            for _, port in (elsewhere, where):
                lane = await shaper.open()
                async with await connected(lane, port) as stream:
                    await stream.send_eof()
                    assert await everything(stream) == b"answer"
                assert await lane.leave() == ()

    one, other = (a_server("127.0.0.1", b"answer") for _ in range(2))
    with one as where, other as elsewhere:
        trio.run(main, where, elsewhere)


def test_nothing_is_left_when_it_is_closed(nothing_left: None) -> None:
    async def main(where: tuple[str, int]) -> None:
        async with open_shaper(where) as shaper:
            (await shaper.open()).socket.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        where = listener.getsockname()
        trio.run(main, where)


def test_a_killed_process_takes_its_network_along() -> None:
    """The namespace has no name, and the device and the ports live as long as their sockets."""
    before = set(os.listdir("/sys/class/net"))  # noqa: PTH208

    async def main(where: tuple[str, int]) -> None:
        async with open_shaper(where) as shaper:
            lane = await shaper.open()
            os.kill(shaper.pid, signal.SIGKILL)
            with pytest.raises(OSError, match="shaper in the path has ended"):
                await lane.order(Do.MUTE)
            with pytest.raises(OSError, match="shaper in the path has ended"):
                await lane.leave()
            lane.socket.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        trio.run(main, listener.getsockname())
    assert set(os.listdir("/sys/class/net")) == before  # noqa: PTH208


_PROGRAM = """
import trio
from tlsprobe.shaper.link import open_shaper

async def main():
    async with open_shaper(("127.0.0.1", 1)) as shaper:
        print(shaper.pid, flush=True)
        await trio.sleep_forever()

trio.run(main)
"""


def test_it_has_no_rights_and_ends_with_a_parent_that_is_killed() -> None:
    with child([sys.executable, "-c", _PROGRAM], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
        assert "CapEff:\t0000000000000000\n" in status
        assert "\nUid:\t0\t" not in status
        ended = os.pidfd_open(pid)
        parent.kill()
    assert select.select([ended], [], [], GENEROUS_S)[0]
    os.close(ended)


_TRIES = "from tlsprobe.shaper.link import why_not; print(why_not())"
_READS = "+dac_read_search"
"""Whoever runs the tests may have an interpreter that others cannot read."""


@pytest.mark.parametrize(
    ("rights", "said"),
    [
        ((), "CAP_NET_RAW and CAP_NET_ADMIN"),
        (("+net_raw",), "CAP_NET_RAW and CAP_NET_ADMIN"),
        (("+net_raw", "+net_admin"), "None"),
    ],
)
def test_it_works_with_the_rights_that_it_names(rights: tuple[str, ...], said: str) -> None:
    """The namespace of its own is one of users, too, where it may make no other."""
    words = ",".join(("-all", _READS, *rights))
    only = [f"--{name}={words}" for name in ("inh-caps", "ambient-caps", "bounding-set")]
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *only]
    if subprocess.run([*nobody, "unshare", "--user", "--net", "true"], check=False).returncode:
        cannot("users may not make namespaces here")
    tried = subprocess.run(
        [*nobody, sys.executable, "-c", _TRIES], capture_output=True, text=True, check=True
    )
    if rights == ("+net_raw",) and tried.stdout == "None\n":
        return  # a kernel that lets everybody filter a TCP socket
    assert said in tried.stdout


def test_an_order_for_nobody_is_refused() -> None:
    async def main(where: tuple[str, int]) -> None:
        async with open_shaper(where) as shaper:
            with pytest.raises(OSError, match="no such connection"):
                await shaper.ask(Order(Do.MUTE, 1))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        trio.run(main, listener.getsockname())


def test_the_hosts_kernel_does_not_answer_on_a_held_port() -> None:
    """Whoever connects there is met by silence: no RST, and no SYN-ACK."""

    async def main(where: tuple[str, int]) -> None:
        async with open_shaper(where) as shaper:
            lane = await shaper.open()
            with socket.socket() as stranger, lane.socket:
                stranger.settimeout(0.05)
                with pytest.raises(TimeoutError):
                    stranger.connect(lane.client)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        trio.run(main, listener.getsockname())


def test_this_machine_can_shape() -> None:
    assert why_not() is None


def test_why_it_cannot(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("sys.executable", "/bin/false")
    assert why_not() == "it did not start"

    async def main() -> None:
        async with open_shaper(("127.0.0.1", 1)):
            pass

    with pytest.raises(CannotMeasure, match="cannot be shaped on this machine: it did not start"):
        trio.run(main)
