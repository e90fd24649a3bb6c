"""What the kernel says of TCP sockets is what these sockets are."""

from __future__ import annotations

import os
import socket

import pytest

from tlsprobe.drive.sockets import TcpSocket, is_own, read_sockets, tcp_sockets


@pytest.mark.parametrize(
    ("family", "address", "listens_at"),
    [
        (socket.AF_INET, "127.0.0.1", "127.0.0.1"),
        (socket.AF_INET6, "::1", "::1"),
        (socket.AF_INET, "127.0.0.1", "::"),
    ],
)
def test_both_ends_of_a_connection_are_found(
    family: socket.AddressFamily, address: str, listens_at: str
) -> None:
    """A client of IPv4 is one whichever family its server listens in."""
    listens = socket.AF_INET6 if ":" in listens_at else socket.AF_INET
    both = listens is not family
    with socket.create_server((listens_at, 0), family=listens, dualstack_ipv6=both) as listener:
        server = address, listener.getsockname()[1]
        with socket.create_connection(server) as client, listener.accept()[0] as accepted:
            client.sendall(b"x" * 1234)
            accepted.recv(1)
            found = {(one.local, one.remote): one for one in tcp_sockets()}
            us = client.getsockname()[:2]
            uid = os.getuid()
            inodes = [os.fstat(end.fileno()).st_ino for end in (client, accepted)]
            assert found[us, server] == TcpSocket(us, server, uid, inodes[0], 0)
            assert found[server, us] == TcpSocket(server, us, uid, inodes[1], 1234)
            client.shutdown(socket.SHUT_WR)
            assert not next(o for o in tcp_sockets() if (o.local, o.remote) == (us, server)).open


@pytest.mark.parametrize("junk", [b"", b"x" * 15, bytes(16), b"\x14\0\0\0\x02\0\0\0" + bytes(12)])
def test_what_is_no_message_holds_no_socket(junk: bytes) -> None:
    assert read_sockets(junk)[0] == []


@pytest.mark.parametrize(
    ("address", "own"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("192.0.2.1", False), ("2001:db8::1", False)],
)
def test_which_addresses_are_our_own(address: str, own: bool) -> None:
    assert is_own(address) is own
