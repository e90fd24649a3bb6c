"""Namespaces that reach each other, and that are gone afterwards."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import servers
from tests.children import child
from tests.servers import GENEROUS_S
from tlsprobe.errors import CannotMeasure
from tlsprobe.lab import namespaces
from tlsprobe.lab.namespaces import PREFIX, Namespace, left_over, run, three, two
from tlsprobe.netns import inside

pytestmark = pytest.mark.root
PORT = 5000


@pytest.fixture(autouse=True)
def _needs_namespaces() -> None:
    reason = namespaces.available()
    if reason is not None:
        servers.cannot(reason)


@pytest.fixture
def a_dead_pid() -> Iterator[int]:
    with child(["true"]) as process:
        process.wait()
    yield process.pid


def ours() -> list[str]:
    return [path.name for path in Path("/run/netns").glob(f"{PREFIX}{os.getpid()}-*")]


def connects(client: Namespace, server: Namespace, address: str) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with inside(server.name):
        listener = socket.create_server((address, PORT), family=family)
    with inside(client.name):
        connection = socket.socket(family)
    with listener, connection:
        connection.settimeout(GENEROUS_S)
        connection.connect((address, PORT))
        return True


def test_the_client_reaches_the_server_through_the_router() -> None:
    with three() as net:
        assert connects(net.client, net.server, net.server.ipv4)
        assert connects(net.client, net.server, net.server.ipv6)
        assert len(ours()) == 3
    assert ours() == []


def test_two_namespaces_are_not_joined() -> None:
    with two() as net:
        with inside(net.client.name):
            nobody = socket.socket()
        with nobody, pytest.raises(OSError, match="unreachable"):
            nobody.connect((net.server.ipv4, PORT))


def test_sockets_of_other_threads_and_times_stay_outside() -> None:
    home = Path("/proc/thread-self/ns/net").readlink()
    with two() as net:
        with inside(net.client.name):
            assert Path("/proc/thread-self/ns/net").readlink() != home
        assert Path("/proc/thread-self/ns/net").readlink() == home


def test_they_go_whatever_ends_the_block() -> None:
    with pytest.raises(KeyboardInterrupt), three():
        raise KeyboardInterrupt
    assert ours() == []


def test_a_process_left_inside_goes_with_its_namespace() -> None:
    with two() as net:
        left = subprocess.Popen([*net.client.prefix, "sleep", "1000"])
        while str(left.pid) not in run("ip", "netns", "pids", net.client.name).split():
            assert left.poll() is None
    assert left.wait(GENEROUS_S) != 0
    assert ours() == []


def test_those_of_a_killed_process_go_when_the_next_are_made(a_dead_pid: int) -> None:
    name = f"{PREFIX}{a_dead_pid}-0"
    run("ip", "netns", "add", name)
    try:
        with two():  # unless a test beside this one has made some meanwhile
            assert name not in left_over()
    finally:
        run("ip", "netns", "delete", name, check=False)


def test_a_command_that_fails_says_why() -> None:
    with pytest.raises(CannotMeasure, match=r"ip link show nothing.*does not exist"):
        run("ip", "link", "show", "nothing")
