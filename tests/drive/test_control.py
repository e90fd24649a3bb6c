"""Steps whose records are made by hand: what a drive reports, and how the server took them."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator

import pytest
import trio

from tests.patient_servers import patient_servers
from tests.servers import GENEROUS_S
from tlsprobe.drive.script import Patience, Route, drive
from tlsprobe.language import parse
from tlsprobe.model.target import TlsIdentity, TlsVersion
from tlsprobe.model.trace import Drive, EventKind, RecordKind, Side
from tlsprobe.protocols.raw import RawSettings, raw
from tlsprobe.tls import TlsContext, client_context

TLS12, TLS13 = TlsVersion.TLS12, TlsVersion.TLS13
BOTH = pytest.mark.parametrize("version", TlsVersion)
PING = RawSettings(request=b"ping\n", response=re.compile(rb"pong.*\n"), goodbye=b"bye\n")
WAITS = Patience(server=GENEROUS_S, idle=GENEROUS_S, tail=0.01)
A, D, K = RecordKind.ALERT, RecordKind.DATA, RecordKind.KEY_UPDATE
N, X = RecordKind.CLOSE_NOTIFY, RecordKind.MALFORMED
RECORD_OVERFLOW = (2, 22)
INTERNAL_ERROR, CLOSE_NOTIFY, UNEXPECTED_MESSAGE, BAD_RECORD_MAC = (2, 80), (1, 0), (2, 10), (2, 20)


@pytest.fixture(scope="module")
def ports() -> Iterator[dict[str, int]]:
    with patient_servers("polite", "insisting", "stiff") as found:
        yield found


def context(version: TlsVersion) -> TlsContext:
    return client_context(version, TlsIdentity(), None, ())


def driven(steps: str, port: int, tls: TlsContext) -> Drive:
    address = ("127.0.0.1", port)
    route = Route((socket.AF_INET, address), address, tls, raw(PING), WAITS)
    return trio.run(drive, route, parse(steps))


def said(found: Drive, side: Side) -> list[RecordKind]:
    """What a side sent behind the mark; tickets come when they like."""
    mark = found.mark
    assert mark is not None
    start = mark.client if side is Side.CLIENT else mark.server
    behind = [r.kind for r in found.records if r.side is side and r.start >= start]
    return [kind for kind in behind if kind is not RecordKind.TICKET]


def alerts(found: Drive, side: Side) -> list[tuple[int, int] | None]:
    return [record.alert for record in found.records if record.side is side and record.alert]


@pytest.mark.slow
@BOTH
@pytest.mark.parametrize(
    ("steps", "ours", "alert"),
    [
        ("alert fatal internal_error; drain", [A], INTERNAL_ERROR),
        ("alert fatal internal_error + fin; drain", [A], INTERNAL_ERROR),
        ("alert fatal internal_error; send; drain", [A, D], INTERNAL_ERROR),
        ("alert; drain", [N], CLOSE_NOTIFY),
        ("alert warning user_canceled; close_notify; fin; drain", [A, N], (1, 90)),
    ],
)
def test_an_alert(
    version: TlsVersion,
    steps: str,
    ours: list[RecordKind],
    alert: tuple[int, int],
    ports: dict[str, int],
) -> None:
    found = driven(f"request; {steps}", ports["polite"], context(version))
    assert found.worked
    assert (found.owed, found.answered) == (1, 1)
    assert said(found, Side.CLIENT) == ours
    assert alerts(found, Side.CLIENT)[0] == alert
    orderly = alert != INTERNAL_ERROR
    assert said(found, Side.SERVER) == ([N] if orderly else [])
    assert found.did(EventKind.EOF) is not None


@BOTH
@pytest.mark.parametrize(
    "steps",
    [
        "alert corrupt",
        "alert plain",
        "alert fragmented",
        "alert double",
        "send corrupt",
        "send plain",
        "send overfull",
    ],
)
def test_a_record_that_is_refused(version: TlsVersion, steps: str, ports: dict[str, int]) -> None:
    found = driven(f"request; {steps}; drain", ports["polite"], context(version))
    assert found.worked
    assert (found.owed, found.answered) == (1, 1)
    assert said(found, Side.CLIENT) == [X]
    (alert,) = alerts(found, Side.SERVER)
    assert alert in {UNEXPECTED_MESSAGE, BAD_RECORD_MAC, RECORD_OVERFLOW}
    assert found.did(EventKind.EOF) is not None


@BOTH
def test_an_empty_record(version: TlsVersion, ports: dict[str, int]) -> None:
    found = driven(
        "request; send empty; request; terminate; drain", ports["polite"], context(version)
    )
    assert said(found, Side.CLIENT)[0] is D
    assert (found.owed, found.answered) == (2, 2)


def test_a_full_record_is_a_request(ports: dict[str, int]) -> None:
    found = driven("request; send full; close_notify; fin; drain", ports["polite"], context(TLS13))
    assert said(found, Side.CLIENT) == [D, N]
    assert (found.owed, found.answered) == (2, 2)
    assert next(r.end - r.start for r in found.records[::-1] if r.kind is D) < 2**14
    assert max(r.end - r.start for r in found.records) == 5 + 2**14 + 1 + 16


def test_a_renegotiation(ports: dict[str, int]) -> None:
    steps = "request; renegotiate; sleep 20ms; close_notify; fin; drain"
    found = driven(steps, ports["polite"], context(TLS12))
    assert found.worked
    assert said(found, Side.CLIENT) == [RecordKind.HANDSHAKE, N]
    assert found.did(EventKind.EOF) is not None


@pytest.mark.parametrize(
    ("steps", "server", "answers"),
    [
        ("key_update; request; fin; drain", "polite", False),
        ("key_update request; request; fin; drain", "polite", True),
        ("key_update request; request; fin; drain", "stiff", False),
    ],
)
def test_a_key_update(steps: str, server: str, answers: bool, ports: dict[str, int]) -> None:
    found = driven(f"request; {steps}", ports[server], context(TLS13))
    assert said(found, Side.CLIENT) == [K, D]
    assert (found.owed, found.answered) == (2, 2)
    assert (K in said(found, Side.SERVER)) == answers


@pytest.mark.slow
@BOTH
def test_a_server_that_answers_a_fatal_alert(version: TlsVersion, ports: dict[str, int]) -> None:
    steps = "request; alert fatal internal_error; drain"
    found = driven(steps, ports["insisting"], context(version))
    assert said(found, Side.SERVER) == [D]


@pytest.mark.slow
def test_what_cannot_be_sealed_is_said(ports: dict[str, int]) -> None:
    tls = context(TLS12)
    tls.context.set_cipher_list(b"ECDHE-ECDSA-AES256-SHA384")
    found = driven("request; alert fatal internal_error; drain", ports["polite"], tls)
    assert found.failure is not None
    assert "cannot be made by hand" in found.failure
