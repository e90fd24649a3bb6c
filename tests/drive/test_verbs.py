"""What a drive reports of each verb, against the built-in servers in a process of their own."""

from __future__ import annotations

import errno
import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from tests.children import child
from tests.patient_servers import patient_servers
from tests.servers import GENEROUS_S, loopbacks
from tlsprobe.drive.script import Patience, Route, drive
from tlsprobe.drive.tcp import Announce, TcpTransport, unannounced
from tlsprobe.language import parse
from tlsprobe.model.sequence import Signal
from tlsprobe.model.target import TlsIdentity, TlsVersion
from tlsprobe.model.trace import Drive, EventKind, Mark, Record, RecordKind, Side, Stage
from tlsprobe.protocols.http1 import Http1Settings, http1
from tlsprobe.protocols.raw import RawSettings, raw
from tlsprobe.reference.server import running
from tlsprobe.tls import client_context

BOTH = pytest.mark.parametrize("version", TlsVersion)
PING = RawSettings(request=b"ping\n", response=re.compile(rb"pong.*\n"), goodbye=b"bye\n")
SHORT = Patience(server=0.25, idle=0.25, tail=0.01, answer=GENEROUS_S)
LONG = Patience(server=GENEROUS_S, idle=GENEROUS_S, tail=0.01)
N, G, D = RecordKind.CLOSE_NOTIFY, RecordKind.GOODBYE, RecordKind.DATA

Driver = Callable[..., Drive]


@pytest.fixture(scope="module")
def ports() -> Iterator[dict[str, int]]:
    """The built-in servers, by name."""
    with patient_servers() as found:
        yield found


@pytest.fixture
def driver(ports: dict[str, int]) -> Driver:
    """Drives one connection to a built-in server, and checks what holds of every drive."""

    def run(server: str, steps: str, **how: object) -> Drive:
        found = trio.run(drive, route(ports[server], **how), parse(steps))  # type: ignore[arg-type]
        check(found)
        return found

    return run


def route(
    port: int,
    *,
    version: TlsVersion = TlsVersion.TLS13,
    host: str = "127.0.0.1",
    patience: Patience = LONG,
    settings: RawSettings = PING,
    announce: Announce = unannounced,
) -> Route:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    tls = client_context(version, TlsIdentity(), None, ())
    converse = raw(settings)
    tickets = 2 if version is TlsVersion.TLS13 else 0
    return Route((family, (host, port)), (host, port), tls, converse, patience, announce, tickets)


def check(found: Drive) -> None:
    """Both streams are covered without gap or overlap, and time goes forward."""
    for side in Side:
        records = sent_by(found, side)
        assert [r.start for r in records] == [0, *(r.end for r in records)][: len(records)]
        assert all(record.start < record.end for record in records)
    for view in ([r.time_ns for r in found.records], [e.time_ns for e in found.events]):
        assert view == sorted(view)
    deeds = deeds_of(found)
    assert deeds[0] is EventKind.CONNECT
    assert deeds[-1] is EventKind.LEFT
    assert deeds.count(EventKind.LEFT) == 1


def sent_by(found: Drive, side: Side) -> list[Record]:
    return [record for record in found.records if record.side is side]


def kinds(found: Drive, side: Side) -> list[RecordKind]:
    """What a side sent behind the mark; tickets come when they like."""
    assert found.mark is not None
    start = found.mark.client if side is Side.CLIENT else found.mark.server
    behind = [record.kind for record in sent_by(found, side) if record.start >= start]
    return [kind for kind in behind if kind is not RecordKind.TICKET]


def deeds_of(found: Drive) -> list[EventKind]:
    return [event.kind for event in found.events]


def told(found: Drive) -> list[str]:
    """The events behind the opening, steps by their own name."""
    opening = deeds_of(found).index(EventKind.READY) + 1
    return [e.detail if e.kind is EventKind.STEP else str(e.kind) for e in found.events[opening:]]


# --- one whole connection -------------------------------------------------------------------------


@pytest.mark.slow
@BOTH
@pytest.mark.parametrize("host", loopbacks())
def test_an_orderly_close(version: TlsVersion, host: str, ports: dict[str, int]) -> None:
    announced: list[tuple[str, int]] = []
    where = route(
        ports["polite"],
        version=version,
        host=host,
        announce=lambda client, _: announced.append(client),
    )
    found = trio.run(drive, where, parse("request; close_notify; fin; drain"))
    check(found)
    assert announced == [found.client]
    assert found.client is not None
    assert found.client[0] == host
    assert found.server == (host, ports["polite"])
    assert found.stage is Stage.SEQUENCE
    assert (found.failure, found.hint, found.refused) == (None, None, False)
    assert found.worked
    assert found.tls == version
    assert found.cipher
    assert deeds_of(found)[:4] == [
        EventKind.CONNECT,
        EventKind.CONNECTED,
        EventKind.HANDSHAKEN,
        EventKind.READY,
    ]
    assert told(found) == ["close_notify", "fin-sent", "fin", "drain", "eof", "left"]
    assert kinds(found, Side.CLIENT) == kinds(found, Side.SERVER) == [N]
    assert [r.alert for r in found.records if r.kind is N] == [(1, 0), (1, 0)]


@BOTH
def test_the_mark_is_where_the_first_response_was_whole(
    version: TlsVersion, driver: Driver
) -> None:
    found = driver("polite", "request; close_notify; fin; drain", version=version)
    request = next(r for r in sent_by(found, Side.CLIENT) if r.kind is D)
    response = next(r for r in sent_by(found, Side.SERVER) if r.kind is D)
    assert found.mark == Mark(response.time_ns, request.end, response.end)
    assert (found.owed, found.answered, found.answered_to) == (1, 1, request.end)
    assert not found.cut_short


@BOTH
def test_without_a_request_the_mark_is_behind_the_tickets(
    version: TlsVersion, driver: Driver
) -> None:
    found = driver("polite", "send + close_notify; drain", version=version)
    assert found.mark is not None
    opening = [r for r in sent_by(found, Side.SERVER) if r.end <= found.mark.server]
    tickets = 2 if version is TlsVersion.TLS13 else 0
    assert [r.kind for r in opening].count(RecordKind.TICKET) == tickets
    assert kinds(found, Side.CLIENT) == [D, N]
    assert kinds(found, Side.SERVER) == [D, N]
    request = next(r for r in sent_by(found, Side.CLIENT) if r.kind is D)
    assert (found.owed, found.answered, found.answered_to) == (1, 1, request.end)


# --- verb by verb -----------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize(
    ("steps", "sent", "events"),
    [
        ("terminate; drain", [G], "terminate drain eof"),
        ("terminate; close_notify; drain", [G, N], "terminate close_notify drain eof"),
        ("terminate + close_notify; drain", [G, N], "terminate + close_notify|drain|eof"),
        (
            "terminate; close_notify + fin; drain",
            [G, N],
            "terminate|fin-sent|close_notify + fin|drain|eof",
        ),
        ("fin; drain", [], "fin-sent fin drain eof"),
        ("fin; close; drain 5ms", [], "fin-sent fin closed close drain"),
        ("send; await response; fin; drain", [D], "send await fin-sent fin drain eof"),
        ('send "x"; fin; drain', [D], "send fin-sent fin drain eof"),
        ("request; fin; await end", [D], "request fin-sent fin await eof"),
        ("close_notify; close_notify; fin; await fin", [N, N], ""),
        ("close; drain 5ms", [], "closed close drain"),
        ("close_notify + close", [N], "closed|close_notify + close"),
        ("abort; drain 5ms", [], "aborted abort drain"),
        ("close; abort", [], "closed close abort"),
    ],
)
def test_a_verb(
    version: TlsVersion, steps: str, sent: list[RecordKind], events: str, driver: Driver
) -> None:
    found = driver("polite", f"request; {steps}", version=version)
    assert found.worked
    assert kinds(found, Side.CLIENT) == sent
    if events:
        separator = "|" if "|" in events else " "
        assert told(found) == [*events.split(separator), "left"]


@pytest.mark.parametrize("verb", ["abort", "close"])
def test_our_own_end_is_written_down_as_of_before_it_left(
    verb: str, driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that takes the processor in between had our RST pass for a stranger's."""
    left: list[int] = []
    really_closes = TcpTransport.close

    def closes(self: TcpTransport) -> None:
        left.append(time.time_ns())
        really_closes(self)

    monkeypatch.setattr(TcpTransport, "close", closes)
    found = driver("polite", f"request; {verb}")
    ended = found.did(EventKind.ABORTED) or found.did(EventKind.CLOSED)
    assert ended is not None and ended.time_ns <= left[0]


def test_only_requests_are_owed_an_answer(driver: Driver) -> None:
    found = driver("polite", 'request; send "x\\n"; send; request; terminate; drain')
    assert (found.owed, found.answered) == (3, 3)
    assert found.answered_to == [r for r in sent_by(found, Side.CLIENT) if r.kind is D][-1].end
    found = driver("polite", "request; close_notify; send; drain")
    first = next(r for r in sent_by(found, Side.CLIENT) if r.kind is D)
    assert (found.owed, found.answered, found.answered_to) == (1, 1, first.end)
    assert found.worked  # it ended; it did not leave us waiting


@pytest.mark.parametrize(
    ("steps", "owed"),
    [
        ("request; terminate; drain", 2),
        ("request; terminate; terminate; drain", 2),
        ("request; close_notify; terminate; drain", 1),
    ],
)
def test_a_goodbye_that_asks_is_owed_an_answer_unless_an_end_was_announced(
    steps: str, owed: int, ports: dict[str, int]
) -> None:
    asking = http1(Http1Settings(), "localhost", None)
    found = trio.run(drive, replace(route(ports["polite"]), converse=asking), parse(steps))
    assert (found.owed, found.answered) == (owed, owed)


def test_awaiting_a_close_notify(driver: Driver) -> None:
    found = driver("lingering", "request; terminate; await close_notify; close_notify; fin; drain")
    theirs = next(r for r in sent_by(found, Side.SERVER) if r.kind is N)
    ours = next(r for r in sent_by(found, Side.CLIENT) if r.kind is N)
    eof = found.did(EventKind.EOF)
    assert eof is not None
    assert theirs.time_ns <= ours.time_ns <= eof.time_ns


def test_awaiting_data(driver: Driver) -> None:
    found = driver("mute", "request; send; await data; abort")
    assert kinds(found, Side.SERVER) == [D]
    assert told(found) == ["send", "await", "aborted", "abort", "left"]


@pytest.mark.parametrize(
    "steps", ["drain 20ms", "await end 20ms", "await close_notify idle", "drain"]
)
def test_a_wait_that_is_in_vain(steps: str, driver: Driver) -> None:
    found = driver("mute", f"request; {steps}", patience=SHORT)
    gave_up = found.did(EventKind.GAVE_UP)
    assert gave_up is not None
    assert gave_up.detail == " ".join(steps.split()[: 2 if "await" in steps else 1])
    assert told(found) == [steps.split(maxsplit=1)[0], "gave-up", "left"]
    assert found.worked  # nothing is owed


@pytest.mark.parametrize("server", ["polite", "mute"])
@pytest.mark.parametrize("wait", ["500us", "30ms"])
def test_sleeping(server: str, wait: str, driver: Driver) -> None:
    """As long as it says, whether the server ends meanwhile or not."""
    found = driver(server, f"request; terminate; sleep {wait}; close_notify; fin; drain 10ms")
    begun = next(e.time_ns for e in found.events if e.detail == "sleep")
    woken = next(r.time_ns for r in sent_by(found, Side.CLIENT) if r.kind is N)
    assert woken - begun >= {"500us": 500_000, "30ms": 30_000_000}[wait]


@pytest.mark.slow
def test_the_idle_limit() -> None:
    async def idled() -> Drive:
        async with running(("polite",)) as ports:
            steps = parse("request; await close_notify idle; close_notify; drain")
            return await drive(route(ports["polite"]), steps)

    found = trio.run(idled)
    check(found)
    assert kinds(found, Side.SERVER) == kinds(found, Side.CLIENT) == [N]
    assert told(found) == ["await", "close_notify", "drain", "eof", "left"]


# --- how servers end ------------------------------------------------------------------------------


@BOTH
def test_a_reset_is_no_end_of_file(version: TlsVersion, driver: Driver) -> None:
    for server, steps in [
        ("aborting", "terminate; drain"),
        ("rude", "terminate + close_notify; drain"),
    ]:
        found = driver(server, f"request; {steps}", version=version)
        reset = found.did(EventKind.RESET)
        assert reset is not None
        assert reset.detail == "Connection reset by peer"
        assert found.did(EventKind.EOF) is None
        assert found.worked
        assert kinds(found, Side.SERVER) == ([N] if server == "rude" else [])


@BOTH
def test_a_response_that_is_cut_short(version: TlsVersion, driver: Driver) -> None:
    found = driver("truncating", "request; close_notify; fin; drain", version=version)
    assert (found.owed, found.answered, found.answered_to, found.cut_short) == (1, 0, 0, True)
    assert found.mark is not None
    assert kinds(found, Side.SERVER) == [D, N]  # an unfinished response is judged
    assert found.did(EventKind.EOF) is not None


def test_a_server_that_does_not_end_its_tls(driver: Driver) -> None:
    found = driver("silent", "request; close_notify; fin; drain")
    assert kinds(found, Side.SERVER) == []
    assert found.did(EventKind.EOF) is not None


@pytest.mark.slow
def test_a_request_that_is_never_answered(driver: Driver) -> None:
    deaf = RawSettings(request=b"no end of line", response=re.compile(b"."))
    patience = replace(SHORT, server=1.0, answer=0.0)
    found = driver("mute", "request; fin; drain", settings=deaf, patience=patience)
    if found.tls is not None:  # a busy machine may not come so far in the time that is waited
        assert (found.owed, found.answered, found.mark) == (1, 0, None)
        assert found.did(EventKind.GAVE_UP) is not None
    assert not found.worked
    assert found.did(EventKind.FIN_SENT) is None


@BOTH
def test_a_large_response(version: TlsVersion, driver: Driver) -> None:
    large = RawSettings(request=b"get 3000000\n", response=re.compile(b"\n"), goodbye=b"bye\n")
    found = driver("polite", "request; terminate; drain", version=version, settings=large)
    assert (found.owed, found.answered) == (1, 1)
    data = [r for r in sent_by(found, Side.SERVER) if r.kind is D]
    assert sum(r.end - r.start for r in data) > 3_000_000


@pytest.mark.slow
def test_no_descriptor_is_left_open(ports: dict[str, int]) -> None:
    endings = ["close_notify; fin; drain", "abort", "close", "terminate; drain", "drain 1ms"]

    async def many(count: int) -> None:
        where = route(ports["polite"], patience=SHORT)
        async with trio.open_nursery() as nursery:
            for index in range(count):
                steps = parse(f"request; {endings[index % len(endings)]}")
                nursery.start_soon(drive, where, steps)

    def after(count: int) -> int:
        trio.run(many, count)
        return len(list(Path("/proc/self/fd").iterdir()))

    assert after(5) == after(50)


def test_a_server_that_takes_any_number_of_requests(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is judged begins with the last of them."""
    monkeypatch.setattr("tlsprobe.drive.script.MOST_ASKED", 3)
    found = driver("polite", "request; exhaust; drain")
    assert (found.owed, found.answered) == (4, 4)
    gave_up = found.did(EventKind.GAVE_UP)
    assert gave_up is not None and gave_up.verb == "exhaust"
    assert kinds(found, Side.CLIENT) == [D]
    assert kinds(found, Side.SERVER) == [D]
    assert found.failure is None


@pytest.mark.slow
def test_a_connection_that_is_used_up() -> None:
    """By age, or here by an idle timer that is shorter than the time between two requests."""
    with own_server("polite") as (port, _):
        steps = parse(f"request; exhaust {GENEROUS_S:g}s; send; drain")
        found = trio.run(drive, route(port), steps)
    check(found)
    assert (found.owed, found.answered) == (2, 2)
    assert found.did(EventKind.GAVE_UP) is None
    assert kinds(found, Side.SERVER) == [D, N]
    assert kinds(found, Side.CLIENT) == [D, D]


def test_a_server_that_ends_in_the_middle_of_a_response(driver: Driver) -> None:
    found = driver("truncating", "exhaust; drain")
    assert (found.owed, found.answered, found.cut_short) == (1, 0, True)
    assert found.did(EventKind.GAVE_UP) is None


def test_what_is_not_read_fills_the_connection(driver: Driver) -> None:
    """With little room the server waits for us; without, all of it is on our side by then."""
    large = RawSettings(request=b"get 3000000\n", response=re.compile(b"\n"), goodbye=b"bye\n")
    found = driver("polite", "send; stall 50ms; terminate; drain", settings=large)
    assert (found.owed, found.answered) == (1, 1)
    due = found.did(EventKind.DUE)
    assert due is not None
    data = [r for r in sent_by(found, Side.SERVER) if r.kind is D]
    assert sum(r.end - r.start for r in data) > 3_000_000
    assert data[0].time_ns >= due.time_ns


@contextmanager
def own_server(name: str) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """A built-in server that nobody else uses: its port, and its process."""
    command = [sys.executable, "-m", "tlsprobe.reference", name]
    with child(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())[name], process
        finally:
            process.kill()


@pytest.mark.slow
def test_a_signal_that_stops_the_server() -> None:
    with own_server("polite") as (port, process):
        sent: list[Signal] = []

        def tell(what: Signal) -> str:
            sent.append(what)
            process.terminate()
            return "TERM"

        where = replace(route(port), signal=tell)
        found = trio.run(drive, where, parse("request; signal stop; drain"))
        assert process.wait(GENEROUS_S) == -signal.SIGTERM
    check(found)
    assert sent == [Signal.STOP]
    told_it = found.did(EventKind.SIGNALLED)
    assert told_it is not None and told_it.detail == "stop SIGTERM"
    eof = found.did(EventKind.EOF)
    assert eof is not None and eof.time_ns > told_it.time_ns  # the kernel closed for it
    assert kinds(found, Side.SERVER) == []


@pytest.mark.slow
def test_nobody_to_signal(driver: Driver) -> None:
    found = driver("polite", "request; signal stop; drain")
    assert found.failure == "this sequence needs the server's process"
    assert found.did(EventKind.SIGNALLED) is None


@pytest.mark.slow
def test_a_process_that_has_ended_cannot_be_signalled(ports: dict[str, int]) -> None:
    def tell(_: Signal) -> str:
        raise ProcessLookupError(errno.ESRCH, "No such process")

    where = replace(route(ports["polite"]), signal=tell)
    found = trio.run(drive, where, parse("request; signal stop; drain"))
    assert found.failure == "the server cannot be signalled: No such process"
