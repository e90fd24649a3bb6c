"""A program that passes our connections on is told from a server that answers them."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from tlsprobe.drive.forwarders import ENDED, Process, Seen, forwarder, sockets_at, tls_ender
from tlsprobe.drive.sockets import TcpSocket

CLIENT, SERVER = ("127.0.0.1", 50_000), ("127.0.0.1", 443)
NEXT, UPSTREAM = ("127.0.0.1", 50_001), ("10.0.0.1", 8443)
SOCAT, NGINX, SSH = Process(7, "socat"), Process(8, "nginx"), Process(9, "ssh")

OURS = TcpSocket(CLIENT, SERVER, 1000, 1, 2_900)
ACCEPTED = TcpSocket(SERVER, CLIENT, 33, 2, 700)
ON = TcpSocket(NEXT, UPSTREAM, 33, 3, 2_900)
LISTENER = TcpSocket(("0.0.0.0", 443), ("0.0.0.0", 0), 33, 4, 0)


def told(*sockets: TcpSocket, before: tuple[TcpSocket, ...] = (), **holders: Process) -> str:
    """What is said where these processes hold the sockets of that inode (``i2``)."""
    held = {int(inode[1:]): frozenset([process]) for inode, process in holders.items()}
    return forwarder(Seen(before, {}), Seen(sockets, held), CLIENT, SERVER)


def test_who_had_our_bytes_from_elsewhere_passes_them_on() -> None:
    said = told(OURS, ACCEPTED, ON, i2=SOCAT, i3=SOCAT)
    assert said == "socat (process 7) passes the connections on to 10.0.0.1:8443"


@pytest.mark.parametrize(
    "other",
    [
        replace(ON, received=900),  # a proxy that ends TLS: the response alone came from there
        replace(ON, remote=SERVER),  # another client of the same server
        replace(ON, local=SERVER, remote=("127.0.0.1", 50_002)),  # another that it serves
    ],
)
def test_a_server_with_connections_of_its_own_is_none(other: TcpSocket) -> None:
    assert not told(OURS, ACCEPTED, other, i2=NGINX, i3=NGINX)


def test_what_another_process_received_is_nothing_of_this_ones() -> None:
    assert not told(OURS, ACCEPTED, ON, i2=NGINX, i3=SOCAT)


def test_a_tunnel_that_stood_before_counts_by_what_came_meanwhile() -> None:
    tunnel = replace(ON, received=90_000)
    assert told(OURS, ACCEPTED, tunnel, before=(replace(ON, received=87_000),), i2=SSH, i3=SSH)
    earlier = replace(ON, received=88_000)
    assert not told(OURS, ACCEPTED, tunnel, before=(earlier,), i2=NGINX, i3=NGINX)


def test_whose_upstream_is_out_of_sight_is_known_by_its_name() -> None:
    said = told(OURS, ACCEPTED, i2=Process(5, "pasta"))
    assert said == "pasta (process 5) passes the connections on"


def test_of_processes_that_we_may_not_look_at_their_user_tells() -> None:
    assert "another user" in told(OURS, ACCEPTED, ON)
    assert not told(OURS, ACCEPTED, replace(ON, uid=34))


@pytest.mark.parametrize(
    "seen",
    [
        (OURS, LISTENER),
        (OURS, LISTENER, replace(ACCEPTED, inode=0)),
        (replace(OURS, open=False), LISTENER, ACCEPTED),
        (OURS, LISTENER, replace(ACCEPTED, open=False)),
    ],
)
def test_a_connection_that_had_ended_tells_nothing_and_says_so(seen: tuple[TcpSocket, ...]) -> None:
    assert told(*seen, i2=NGINX) == ENDED


def test_nobody_is_asked_about_a_server_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def tcp_sockets() -> tuple[TcpSocket, ...]:
        asked.append("asked")
        return ()

    monkeypatch.setattr("tlsprobe.drive.forwarders.tcp_sockets", tcp_sockets)
    assert sockets_at(("192.0.2.1", 443)) == Seen((), {})
    assert not asked
    assert sockets_at(("127.0.0.1", 443)) == Seen((), {})
    assert asked


@pytest.mark.parametrize("seen", [(), (OURS,), (LISTENER,)])
def test_a_server_elsewhere_is_not_taken_for_one_here(seen: tuple[TcpSocket, ...]) -> None:
    assert not told(*seen)


def test_a_server_in_our_own_process_passes_nothing_on() -> None:
    ourselves = Process(os.getpid(), "python")
    assert not told(OURS, ACCEPTED, ON, i2=ourselves, i3=ourselves)


@pytest.mark.parametrize(
    ("holder", "named"), [("haproxy", "haproxy"), ("stunnel4", "stunnel4"), ("nginx", "")]
)
def test_who_ends_tls_is_known_by_its_name(holder: str, named: str) -> None:
    seen = Seen((OURS, ACCEPTED), {2: frozenset([Process(5, holder)])})
    assert tls_ender(seen, CLIENT, SERVER) == named


def test_who_has_another_connection_does_not_end_ours() -> None:
    seen = Seen(
        (OURS, ACCEPTED, ON), {2: frozenset([NGINX]), 3: frozenset([Process(5, "haproxy")])}
    )
    assert not tls_ender(seen, CLIENT, SERVER)
    assert not tls_ender(Seen((OURS,), {}), CLIENT, SERVER)
