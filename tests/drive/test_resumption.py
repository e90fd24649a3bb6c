"""A second connection that resumes the first: what the first reports of it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from OpenSSL import SSL

from tests.drive.test_control import PING, TLS12, TLS13, WAITS, context
from tests.drive.test_failures import certificate, pong_then, serve, server, tls_server, until_left
from tests.patient_servers import patient_servers
from tests.servers import GENEROUS_S, Pki
from tlsprobe.catalogue import catalogue
from tlsprobe.drive.script import Route, drive
from tlsprobe.language import parse
from tlsprobe.model.sequence import Sequence
from tlsprobe.model.target import TlsVersion
from tlsprobe.model.trace import By, Drive, EventKind
from tlsprobe.protocols.raw import raw
from tlsprobe.tls import server_context

BOTH = pytest.mark.parametrize("version", TlsVersion)


@pytest.fixture(scope="module")
def ports() -> Iterator[dict[str, int]]:
    with patient_servers("polite", "remembering") as found:
        yield found


def driven(sequence: Sequence, port: int, version: TlsVersion) -> tuple[Drive, int]:
    """What the drive reports, and how many connections were announced."""
    announced: list[tuple[str, int]] = []
    address = ("127.0.0.1", port)
    route = Route((socket.AF_INET, address), address, context(version), raw(PING), WAITS)
    route = replace(route, announce=lambda client, _: announced.append(client))
    return trio.run(drive, route, sequence), len(announced)


def outcome(found: Drive) -> tuple[EventKind, str]:
    asked = {EventKind.RESUMED, EventKind.NOT_RESUMED, EventKind.UNRESUMABLE}
    (event,) = (event for event in found.events if event.kind in asked)
    return event.kind, event.detail


@pytest.mark.slow
@BOTH
@pytest.mark.parametrize("close", ["close-notify", "fin", "abort", "goodbye", "fatal-alert"])
def test_a_ticket_resumes_whatever_the_end_was(
    version: TlsVersion, close: str, ports: dict[str, int]
) -> None:
    sequence = catalogue()[f"resume-after-{close}"].sequence
    found, announced = driven(sequence, ports["polite"], version)
    assert found.worked
    assert outcome(found) == (EventKind.RESUMED, By.TICKET)
    assert announced == 1  # the second one's packets are nobody's


@pytest.mark.parametrize(
    ("steps", "server", "kind"),
    [
        ("request; close_notify; fin; drain; resume id", "polite", EventKind.RESUMED),
        ("request; alert fatal internal_error; drain; resume id", "polite", EventKind.NOT_RESUMED),
        ("request; alert fatal internal_error; drain; resume id", "remembering", EventKind.RESUMED),
    ],
)
def test_an_id(steps: str, server: str, kind: EventKind, ports: dict[str, int]) -> None:
    found, _ = driven(parse(steps), ports[server], TLS12)
    assert outcome(found) == (kind, By.ID)


def test_a_session_is_resumed_while_its_connection_lives(ports: dict[str, int]) -> None:
    found, _ = driven(parse("request; ticket; resume"), ports["polite"], TLS13)
    assert outcome(found) == (EventKind.RESUMED, By.TICKET)


@pytest.mark.slow
def test_a_server_that_gives_nothing_is_not_asked(pki: Pki, tmp_path: Path) -> None:
    tls = server_context(certificate(pki, tmp_path))
    tls.context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    with server(tls_server(tls, pong_then(lambda sock, _: until_left(sock)))) as (_, port):
        found, _ = driven(parse("request; fin; drain; resume id"), port, TLS12)
    kind, why = outcome(found)
    assert kind is EventKind.UNRESUMABLE
    assert "nothing" in why


@pytest.mark.slow
def test_a_second_connection_that_fails_is_said(pki: Pki, tmp_path: Path) -> None:
    tls = server_context(certificate(pki, tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = int(listening.getsockname()[1])

        def act(sock: socket.socket) -> None:
            listening.close()  # whoever comes next is refused
            tls_server(tls, pong_then(lambda *_: until_left(sock)))(sock)

        thread = threading.Thread(target=serve, args=(listening, act))
        thread.start()
        found, _ = driven(parse("request; ticket; resume"), port, TLS13)
        thread.join(GENEROUS_S)
    assert outcome(found) == (EventKind.UNRESUMABLE, "connection refused")


@BOTH
def test_a_connection_comes_back_with_the_session_of_an_earlier_one(
    version: TlsVersion, ports: dict[str, int]
) -> None:
    found, announced = driven(parse("resumed; request; fin; drain"), ports["polite"], version)
    assert found.worked
    assert outcome(found) == (EventKind.RESUMED, "")
    assert (found.owed, found.answered) == (1, 1)
    assert announced == 1  # the one that fetched the session is nobody's


def test_where_there_is_no_session_the_handshake_is_a_whole_one(pki: Pki, tmp_path: Path) -> None:
    tls = server_context(certificate(pki, tmp_path))
    tls.context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    tls.context.set_options(SSL.OP_NO_TICKET)

    act = tls_server(tls, pong_then(lambda sock, _: until_left(sock)))
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def twice() -> None:
            for _ in range(2):
                serve(listening, act)

        thread = threading.Thread(target=twice)
        thread.start()
        port = int(listening.getsockname()[1])
        found, _ = driven(parse("resumed; request; fin; drain"), port, TLS12)
        thread.join(GENEROUS_S)
    assert outcome(found)[0] is EventKind.UNRESUMABLE
    assert (found.owed, found.answered) == (1, 1)
