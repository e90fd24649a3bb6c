"""The kernel's own reasons: read right, and provoked one by one with plain sockets.

Each scene below is a row of the table of causes; the reason that this machine's kernel gives for
it is what `agrees` is held against.
"""

from __future__ import annotations

import ctypes
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import pytest

from tests.servers import GENEROUS_S, loopbacks
from tlsprobe.errors import CannotMeasure
from tlsprobe.lab import kernel_reasons
from tlsprobe.lab.kernel_reasons import (
    ResetWatch,
    agrees,
    available,
    parse_line,
    watch_resets,
)
from tlsprobe.model.causes import Cause
from tlsprobe.model.kernel import Endpoint, KernelReset
from tlsprobe.model.trace import Side

# --- Reading lines --------------------------------------------------------------------------------

HEAD = "         python3-5396    [001] .....   784.287131: tcp_send_reset: skbaddr=00 skaddr=00"


def line(ends: str, head: str = HEAD) -> str:
    return f"{head} {ends} state=TCP_CLOSE reason=TCP_ABORT_ON_CLOSE"


def test_ipv4_line() -> None:
    assert parse_line(line("src=127.0.0.1:54829 dest=10.0.0.2:35410")) == KernelReset(
        time_ns=784_287_131_000,
        src=("127.0.0.1", 54829),
        dst=("10.0.0.2", 35410),
        state="TCP_CLOSE",
        reason="TCP_ABORT_ON_CLOSE",
    )


@pytest.mark.parametrize(
    ("printed", "endpoint"),
    [
        ("[::1]:443", ("::1", 443)),
        ("[2001:db8::7]:65535", ("2001:db8::7", 65535)),
        ("[::ffff:127.0.0.1]:443", ("127.0.0.1", 443)),
        ("0.0.0.0:0", ("0.0.0.0", 0)),
        ("[::]:0", ("::", 0)),
    ],
)
def test_addresses_as_the_kernel_prints_them(printed: str, endpoint: Endpoint) -> None:
    reset = parse_line(line(f"src={printed} dest=127.0.0.1:1"))
    assert reset is not None
    assert reset.src == endpoint


def test_a_clock_that_runs_ahead_is_set_back_exactly() -> None:
    head = HEAD.replace("784.287131", "1795210107.659969")
    reset = parse_line(line("src=127.0.0.1:1 dest=127.0.0.1:2", head), 37_000_000_000)
    assert reset is not None
    assert reset.time_ns == 1795210070_659969000


@pytest.mark.parametrize("name", ["a b: src=1", "1.000000: x", "\ufffd\ufffd", "tcp_send_reset:"])
def test_a_hostile_task_name_does_no_harm(name: str) -> None:
    reset = parse_line(line("src=127.0.0.1:1 dest=127.0.0.1:2", HEAD.replace("python3", name)))
    assert reset is not None
    assert (reset.src, reset.time_ns) == (("127.0.0.1", 1), 784_287_131_000)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# tracer: nop",
        "CPU:1 [LOST 12 EVENTS]",
        HEAD.replace("tcp_send_reset", "tcp_receive_reset"),
        HEAD + " src=127.0.0.1:1 dest=127.0.0.1:2 state=TCP_CLOSE",  # a kernel before 6.10
        HEAD + " src=127.0.0.1:1 dest=127.0.0.1:",
    ],
)
def test_other_lines_are_no_resets(text: str) -> None:
    assert parse_line(text) is None


# --- Whose it is ----------------------------------------------------------------------------------

SERVER = ("127.0.0.1", 443)
CLIENT = ("127.0.0.1", 50000)


def reset_from(src: Endpoint, dst: Endpoint) -> KernelReset:
    return KernelReset(0, src, dst, "TCP_CLOSE", "TCP_STATE")


@pytest.mark.parametrize(
    ("src", "dst", "side"),
    [
        (SERVER, CLIENT, Side.SERVER),
        (CLIENT, SERVER, Side.CLIENT),
        (SERVER, ("0.0.0.0", 0), Side.SERVER),
        (("0.0.0.0", 443), ("0.0.0.0", 0), Side.SERVER),
        (("::", 443), ("::", 0), Side.SERVER),
        (("127.0.0.2", 443), CLIENT, None),
        (("127.0.0.1", 444), CLIENT, None),
    ],
)
def test_the_side_is_told_by_the_server_address(
    src: Endpoint, dst: Endpoint, side: Side | None
) -> None:
    assert reset_from(src, dst).side(SERVER) is side


@pytest.mark.parametrize(
    ("src", "dst", "belongs"),
    [
        (SERVER, CLIENT, True),
        (CLIENT, SERVER, True),
        (("0.0.0.0", 443), ("0.0.0.0", 0), True),
        (SERVER, ("127.0.0.1", 50001), False),
        (("127.0.0.1", 50001), SERVER, False),
        (("0.0.0.0", 444), ("0.0.0.0", 0), False),
    ],
)
def test_a_reset_belongs_to_its_connection(src: Endpoint, dst: Endpoint, belongs: bool) -> None:
    assert reset_from(src, dst).belongs_to(CLIENT, SERVER) is belongs


# --- Agreement ------------------------------------------------------------------------------------


@pytest.mark.parametrize("cause", list(Cause))
@pytest.mark.parametrize(
    ("reason", "state"),
    [
        ("NOT_SPECIFIED", "TCP_CLOSE"),
        ("MPTCP_RST_EMIDDLEBOX", "TCP_ESTABLISHED"),
        ("A_REASON_OF_LINUX_9", "TCP_CLOSE"),
        ("TCP_FLAGS", "TCP_SYN_SENT"),
        ("NO_SOCKET", "TCP_ESTABLISHED"),
    ],
)
def test_a_reason_that_says_nothing_supports_nothing(cause: Cause, reason: str, state: str) -> None:
    assert agrees(cause, reason, state) is (cause is Cause.UNKNOWN)


# --- Whether it can be watched --------------------------------------------------------------------


def tracefs_with(tmp_path: Path, description: str | None) -> tuple[Path, ...]:
    (tmp_path / "instances").mkdir()
    if description is not None:
        event = tmp_path / "events/tcp/tcp_send_reset"
        event.mkdir(parents=True)
        (event / "format").write_text(description)
    return (tmp_path,)


def test_no_tracepoint_is_said(tmp_path: Path) -> None:
    assert "no tracepoint" in (available(tracefs_with(tmp_path, None)) or "")


@pytest.mark.parametrize("description", ["field:int state;", "field:int reason; NO_SOCKET"])
def test_a_kernel_too_old_is_said(tmp_path: Path, description: str) -> None:
    assert "Linux 6.12" in (available(tracefs_with(tmp_path, description)) or "")


def test_the_second_place_is_looked_at_too(tmp_path: Path) -> None:
    good = tracefs_with(tmp_path, "TCP_ABORT_ON_CLOSE")
    assert available((tmp_path / "nothing", *good)) is None


def test_a_watch_that_cannot_be_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_reasons, "available", lambda: "run this as root")
    with pytest.raises(CannotMeasure) as caught, watch_resets():
        pass
    assert caught.value.hint == "run this as root"


# --- The running kernel ---------------------------------------------------------------------------


@pytest.fixture
def watch() -> Iterator[ResetWatch]:
    with watch_resets() as watched:
        yield watched
    assert watched.lost == 0


# Linux socket options that the standard library does not name (linux/tcp.h, asm-generic/socket.h).
TCP_REPAIR, TCP_REPAIR_QUEUE, TCP_QUEUE_SEQ = 19, 20, 21
TCP_REPAIR_OFF_NO_WP = -1  # without the window probe that leaving repair mode would send
RECEIVE_QUEUE, SEND_QUEUE = 1, 2
SO_ATTACH_FILTER = 26
DROP_ALL = struct.pack("=HBBI", 0x06, 0, 0, 0)  # one BPF instruction: return 0


class Connection:
    """An accepted connection over loopback, its listener still open."""

    def __init__(self, host: str) -> None:
        self.family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.host = host
        self._open = ExitStack()
        self.listener = self.new_socket()
        self.listener.bind((host, 0))
        self.listener.listen()
        self.client = self.new_socket()
        self.server_end = address(self.listener)
        self.client.connect(self.server_end)
        self.server = self._open.enter_context(self.listener.accept()[0])
        self.client_end = address(self.client)

    def new_socket(self) -> socket.socket:
        return self._open.enter_context(socket.socket(self.family))

    def client_sends(self) -> None:
        """Data that has arrived, and is not read, when this returns."""
        self.client.sendall(b"x")
        await_unread(self.server)

    def fill(self) -> None:
        """Sends until neither side's buffer takes more: the client's window is shut."""
        self.server.setblocking(False)
        try:
            while True:
                self.server.send(bytes(1 << 16))
        except BlockingIOError:
            self.server.setblocking(True)

    def deafen_client(self) -> None:
        """From here on the client's kernel drops what it receives, acknowledgements included."""
        instruction = ctypes.create_string_buffer(DROP_ALL)
        program = struct.pack("HP", 1, ctypes.addressof(instruction))
        self.client.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)

    def ghost(self) -> socket.socket:
        """A client of a connection that the server's side knows nothing about.

        It is made from sequence numbers, as for a migrated process: no handshake happens.
        """
        ghost = self.new_socket()
        ghost.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
        ghost.bind((self.host, 0))
        for queue in (RECEIVE_QUEUE, SEND_QUEUE):
            ghost.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR_QUEUE, queue)
            ghost.setsockopt(socket.IPPROTO_TCP, TCP_QUEUE_SEQ, 1000 * queue)
        ghost.connect(self.server_end)
        ghost.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, TCP_REPAIR_OFF_NO_WP)
        self.client_end = address(ghost)
        return ghost

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # A deaf client would otherwise go on retransmitting, and drawing resets, for minutes.
        if self.client.fileno() >= 0:
            linger_0(self.client)
        self._open.close()


def address(sock: socket.socket) -> Endpoint:
    host, port = sock.getsockname()[:2]
    return host, port


def await_unread(sock: socket.socket) -> None:
    sock.settimeout(GENEROUS_S)
    assert sock.recv(1, socket.MSG_PEEK) == b"x"


def await_fin(sock: socket.socket) -> None:
    sock.settimeout(GENEROUS_S)
    assert sock.recv(1) == b""


def linger_0(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def linger2_off(sock: socket.socket) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_LINGER2, -1)


# --- Scenes: what the server does, row by row -----------------------------------------------------


def unread_at_close(c: Connection) -> None:
    c.client_sends()
    c.server.close()


def unread_at_close_after_the_peers_fin(c: Connection) -> None:
    c.client_sends()
    c.client.shutdown(socket.SHUT_WR)
    c.server.close()


def unread_and_linger_0(c: Connection) -> None:
    c.client_sends()
    linger_0(c.server)
    c.server.close()


def unread_after_own_fin(c: Connection) -> None:
    c.client_sends()
    c.server.shutdown(socket.SHUT_WR)
    await_fin(c.client)
    c.server.close()


def linger_0_at_close(c: Connection) -> None:
    linger_0(c.server)
    c.server.close()


def linger_0_with_unsent_data(c: Connection) -> None:
    c.fill()
    linger_0(c.server)
    c.server.close()


def linger_0_in_close_wait(c: Connection) -> None:
    c.client.shutdown(socket.SHUT_WR)
    await_fin(c.server)
    linger_0(c.server)
    c.server.close()


def linger_0_in_last_ack_with_unsent_data(c: Connection) -> None:
    c.client.shutdown(socket.SHUT_WR)
    c.fill()
    c.server.shutdown(socket.SHUT_WR)
    linger_0(c.server)
    c.server.close()


def linger2_off_in_fin_wait2(c: Connection) -> None:
    c.server.shutdown(socket.SHUT_WR)
    await_fin(c.client)
    await_state(c.server, "FIN_WAIT2")
    linger2_off(c.server)
    c.server.close()


def linger2_off_at_close(c: Connection) -> None:
    linger2_off(c.server)
    c.server.close()


def keepalive_without_answer(c: Connection) -> None:
    c.deafen_client()
    c.server.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT):
        c.server.setsockopt(socket.IPPROTO_TCP, option, 1)


def listener_closed_before_accept(c: Connection) -> None:
    late = c.new_socket()
    late.connect(c.server_end)
    late.sendall(b"x")
    c.client_end = address(late)
    c.listener.close()


def data_after_close(c: Connection) -> None:
    c.server.close()
    await_fin(c.client)
    await_minisocket(c)
    c.client.sendall(b"x")


def data_after_close_with_the_fin_unsent(c: Connection) -> None:
    c.fill()
    c.server.close()
    c.client.sendall(b"x")


def data_after_close_with_the_fin_in_flight(c: Connection) -> None:
    c.deafen_client()
    c.server.close()
    c.client.sendall(b"x")


def stranger_at_a_listening_port(c: Connection) -> None:
    ghost = c.ghost()
    with pytest.raises(ConnectionResetError):
        ghost.sendall(b"x")
        ghost.recv(1)


def stranger_at_a_port_where_nothing_listens(c: Connection) -> None:
    ghost = c.ghost()
    c.listener.close()
    with pytest.raises(ConnectionResetError):
        ghost.sendall(b"x")
        ghost.recv(1)


def syn_to_a_port_where_nothing_listens(c: Connection) -> None:
    c.listener.close()
    late = c.new_socket()
    late.bind((c.host, 0))
    c.client_end = address(late)
    with pytest.raises(ConnectionRefusedError):
        late.connect(c.server_end)


# The socket states of include/net/tcp_states.h, first byte of `struct tcp_info`.
TCP_STATES = {"FIN_WAIT2": 5}


def await_state(sock: socket.socket, state: str) -> None:
    def reached() -> bool:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
        return info[0] == TCP_STATES[state]

    await_that(reached)


def await_minisocket(c: Connection) -> None:
    """Waits until the closed server side has had its FIN acknowledged: no socket is left of it."""
    table = Path("/proc/net/tcp6" if c.family == socket.AF_INET6 else "/proc/net/tcp")
    ends = f":{c.server_end[1]:04X} ", f":{c.client_end[1]:04X} 05 "  # 05 is FIN_WAIT2

    def gone() -> bool:
        # A minisocket has neither an inode nor, in this table, an owner's address.
        rows = [row for row in table.read_text().splitlines() if all(end in row for end in ends)]
        return bool(rows) and all(row.split()[9] == "0" for row in rows)

    await_that(gone)


def await_that(condition: Callable[[], bool], seconds: float = GENEROUS_S) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.001)


@dataclass(frozen=True)
class Row:
    """A scene, the kernel's reason and state for the RST in it, and the causes that fit."""

    scene: Callable[[Connection], None]
    reason: str
    state: str
    causes: frozenset[Cause]
    names_the_client: bool = True


UNREAD = frozenset({Cause.UNREAD_AT_CLOSE, Cause.UNREAD_AFTER_FIN})
ABORT = frozenset({Cause.DELIBERATE})
LATE = frozenset({Cause.DATA_AFTER_CLOSE})
VANISHED = frozenset({Cause.KEEPALIVE})
NOBODY = frozenset({Cause.NO_STATE, Cause.DATA_AFTER_CLOSE, Cause.CLOSED_ALREADY})

ROWS = [
    Row(unread_at_close, "TCP_ABORT_ON_CLOSE", "TCP_CLOSE", UNREAD),
    Row(unread_at_close_after_the_peers_fin, "TCP_ABORT_ON_CLOSE", "TCP_CLOSE", UNREAD),
    Row(unread_and_linger_0, "TCP_ABORT_ON_CLOSE", "TCP_CLOSE", UNREAD),
    Row(unread_after_own_fin, "TCP_ABORT_ON_CLOSE", "TCP_CLOSE", UNREAD),
    Row(linger_0_at_close, "TCP_STATE", "TCP_CLOSE", ABORT),
    Row(linger_0_with_unsent_data, "TCP_STATE", "TCP_CLOSE", ABORT),
    Row(linger_0_in_close_wait, "TCP_STATE", "TCP_CLOSE", ABORT),
    Row(linger_0_in_last_ack_with_unsent_data, "TCP_DISCONNECT_WITH_DATA", "TCP_CLOSE", ABORT),
    Row(linger2_off_in_fin_wait2, "TCP_ABORT_ON_LINGER", "TCP_CLOSE", ABORT),
    Row(linger2_off_at_close, "TCP_ABORT_ON_DATA", "TCP_CLOSE", ABORT | LATE),
    Row(keepalive_without_answer, "TCP_KEEPALIVE_TIMEOUT", "TCP_ESTABLISHED", VANISHED),
    Row(listener_closed_before_accept, "TCP_STATE", "TCP_CLOSE", ABORT),
    Row(data_after_close, "TCP_TIMEWAIT_SOCKET", "TCP_TIME_WAIT", LATE),
    Row(data_after_close_with_the_fin_unsent, "TCP_ABORT_ON_DATA", "TCP_CLOSE", ABORT | LATE),
    Row(data_after_close_with_the_fin_in_flight, "TCP_ABORT_ON_DATA", "TCP_CLOSE", ABORT | LATE),
    Row(stranger_at_a_listening_port, "TCP_FLAGS", "TCP_LISTEN", NOBODY, False),
    Row(
        stranger_at_a_port_where_nothing_listens,
        "NO_SOCKET",
        "UNKNOWN",
        NOBODY | {Cause.REFUSED},
    ),
    Row(syn_to_a_port_where_nothing_listens, "NO_SOCKET", "UNKNOWN", NOBODY | {Cause.REFUSED}),
]


@pytest.mark.kernel_truth
@pytest.mark.parametrize("host", loopbacks())
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.scene.__name__)
def test_the_kernel_says_why(watch: ResetWatch, row: Row, host: str) -> None:
    before_ns = time.time_ns()
    with Connection(host) as connection:
        row.scene(connection)
        ends = connection.client_end, connection.server_end
        # On a busy machine an acknowledgement may come to a socket that is gone: one RST more.
        await_that(lambda: bool(told(row, resets_of(watch, *ends))))
        reset = told(row, resets_of(watch, *ends))[0]
    after_ns = time.time_ns()

    assert reset.side(connection.server_end) is Side.SERVER
    assert (reset.dst == connection.client_end) is row.names_the_client
    assert before_ns - 1_000 <= reset.time_ns <= after_ns + 1_000
    fitting = {cause for cause in Cause if agrees(cause, reset.reason, reset.state)}
    assert fitting == row.causes


def told(row: Row, resets: list[KernelReset]) -> list[KernelReset]:
    """Those of them for which the kernel has the reason that a scene is about."""
    return [reset for reset in resets if (reset.reason, reset.state) == (row.reason, row.state)]


def first_reset(watch: ResetWatch, client: Endpoint, server: Endpoint) -> KernelReset:
    await_that(lambda: bool(resets_of(watch, client, server)))
    return resets_of(watch, client, server)[0]


def resets_of(watch: ResetWatch, client: Endpoint, server: Endpoint) -> list[KernelReset]:
    """Those of one connection: the watch sees the whole machine."""
    return [reset for reset in watch.resets() if reset.belongs_to(client, server)]


@pytest.mark.kernel_truth
def test_the_second_answer_to_late_data_comes_from_no_socket(watch: ResetWatch) -> None:
    """The first RST removes the minisocket; a retransmission finds the listener, or nothing."""
    with Connection("127.0.0.1") as c:
        c.server.close()
        await_fin(c.client)
        await_minisocket(c)
        c.deafen_client()
        c.client.sendall(b"x")
        await_that(lambda: len(resets_of(watch, c.client_end, c.server_end)) > 1)
        answers = resets_of(watch, c.client_end, c.server_end)
    assert [answer.reason for answer in answers[:2]] == ["TCP_TIMEWAIT_SOCKET", "TCP_FLAGS"]
    assert all(agrees(Cause.DATA_AFTER_CLOSE, a.reason, a.state) for a in answers[:2])


@pytest.mark.kernel_truth
def test_a_reset_of_the_client_is_the_clients(watch: ResetWatch) -> None:
    with Connection("127.0.0.1") as c:
        c.server.sendall(b"x")
        await_unread(c.client)
        c.client.close()
        reset = first_reset(watch, c.client_end, c.server_end)
    assert reset.side(c.server_end) is Side.CLIENT
    assert (reset.src, reset.dst) == (c.client_end, c.server_end)


@pytest.mark.kernel_truth
def test_a_polite_close_is_no_reset(watch: ResetWatch) -> None:
    with Connection("127.0.0.1") as c:
        ends = c.client_end, c.server_end
        c.server.shutdown(socket.SHUT_WR)
        await_fin(c.client)
        c.client.close()
        await_fin(c.server)
        c.server.close()
    assert resets_of(watch, *ends) == []


@pytest.mark.kernel_truth
def test_a_dual_stack_socket_is_named_as_on_the_wire(watch: ResetWatch) -> None:
    if len(loopbacks()) < 2:
        pytest.skip("no IPv6 on this machine")
    with (
        socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as listener,
        socket.create_connection(("127.0.0.1", address(listener)[1])) as client,
    ):
        server_end = ("127.0.0.1", address(listener)[1])
        client_end = address(client)
        server, _ = listener.accept()
        linger_0(server)
        server.close()
        assert first_reset(watch, client_end, server_end).src == server_end


# --- Watches --------------------------------------------------------------------------------------


@pytest.mark.kernel_truth
def test_two_watches_at_once_see_the_same(watch: ResetWatch) -> None:
    with watch_resets() as other, Connection("127.0.0.1") as c:
        linger_0_at_close(c)
        reset = first_reset(watch, c.client_end, c.server_end)
        seen_by_other = first_reset(other, c.client_end, c.server_end)
    # Each instance stamps the event for itself.
    assert replace(seen_by_other, time_ns=reset.time_ns) == reset
    assert seen_by_other in other.resets(), "what was seen stays when the watch is over"


@pytest.mark.kernel_truth
def test_a_buffer_that_overflowed_says_so() -> None:
    with watch_resets(buffer_kib=4) as small:
        for _ in range(300):
            with Connection("127.0.0.1") as c:
                linger_0_at_close(c)
    assert small.lost > 0
    assert small.lost + len(small.resets()) >= 300
