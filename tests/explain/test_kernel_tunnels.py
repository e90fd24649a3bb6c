"""A server reached through a tunnel of the kernel, captured where only the tunnel's packets go."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.children import child
from tlsprobe.captures.reader import open_capture_file
from tlsprobe.explain import Filter, explain
from tlsprobe.lab.namespaces import two
from tlsprobe.model.causes import Cause
from tlsprobe.model.trace import Side

pytestmark = [pytest.mark.root, pytest.mark.server("ip", "tcpdump")]

TUNNELS = {
    "VXLAN 42": "vxlan id 42 dstport 4789 local {near} remote {far}",
    "VXLAN 7": "vxlan id 7 dstport 8472 local {near} remote {far}",
}
"""What every kernel of the CI has; GRE, Geneve, IP-in-IP and 6in4 are made up in other tests."""

SERVER = """
import socket
listener = socket.create_server(("192.0.2.2", 8443))
print("ready", flush=True)
peer, _ = listener.accept()
while len(peer.recv(1, socket.MSG_PEEK)) < 1: pass
peer.close()
"""
"""Closes with a request unread."""

CLIENT = """
import socket
near = socket.create_connection(("192.0.2.2", 8443))
near.sendall(b"a request")
try:
    near.recv(1)
except ConnectionResetError:
    print("reset")
"""


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@pytest.fixture
def ends() -> Iterator[tuple[str, str]]:
    """Two network namespaces with a wire between them."""
    with two() as pair:
        names = pair.client.name, pair.server.name
        ip(
            "-n",
            names[0],
            *["link", "add", "wire", "type", "veth", "peer", "name", "wire", "netns"],
            names[1],
        )
        for number, name in enumerate(names, 1):
            ip("-n", name, "address", "add", f"10.9.0.{number}/24", "dev", "wire")
            ip("-n", name, "link", "set", "wire", "up")
        yield names


@pytest.mark.parametrize("name", TUNNELS)
def test_a_reset_in_a_tunnel_is_explained(ends: tuple[str, str], name: str, tmp_path: Path) -> None:
    for number, end in enumerate(ends, 1):
        near, far = f"10.9.0.{number}", f"10.9.0.{3 - number}"
        made = TUNNELS[name].format(near=near, far=far).split()
        ip("-n", end, "link", "add", "inner", "type", *made)
        ip("-n", end, "address", "add", f"192.0.2.{number}/24", "dev", "inner")
        ip("-n", end, "link", "set", "inner", "up")
    file = tmp_path / "wire.pcap"
    within = [["ip", "netns", "exec", end] for end in ends]
    capture = [*within[0], "tcpdump", "-U", "--immediate-mode", "-i", "wire", "-w", str(file)]
    with child(capture, stderr=subprocess.PIPE, text=True) as sniffer:
        assert sniffer.stderr
        assert any("listening on" in line for line in sniffer.stderr)
        python = sys.executable
        with child([*within[1], python, "-c", SERVER], stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout
            assert server.stdout.readline() == "ready\n"
            said = subprocess.run(
                [*within[0], python, "-c", CLIENT], check=True, capture_output=True, text=True
            )
        assert said.stdout == "reset\n"
        sniffer.terminate()
    with open_capture_file(file) as reading:
        (flow,) = explain(reading, Filter(quiet=True)).flows
    (told,) = flow.resets
    assert (flow.server, told.reset.side) == ("192.0.2.2:8443", Side.SERVER)
    assert told.reset.cause is Cause.UNREAD_AT_CLOSE
    assert flow.tunnels == (f"{name} between 10.9.0.1 and 10.9.0.2",)
