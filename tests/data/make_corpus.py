"""Makes the corpus: captures of every kind of RST, each with the kernel's own reason beside it.

    sudo .venv/bin/python -m tests.data.make_corpus [NAME...]

Plain sockets play every row of the table of causes over IPv4 and IPv6 (the scenes are those of
tests/lab/test_kernel_reasons.py and a few more), the reference servers and real ones are probed
with ``tlsprobe run``. Meanwhile the packets of the loopback interface and the tracepoint
tcp:tcp_send_reset are recorded. ``NAME.pcapng`` are the packets, cut off behind the headers of the
records; ``NAME.json`` what the kernel said. It works in a network namespace of its own, so needs
root, and Linux 6.12 or newer.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.children import child
from tests.lab.test_kernel_reasons import (
    RECEIVE_QUEUE,
    ROWS,
    SEND_QUEUE,
    TCP_QUEUE_SEQ,
    TCP_REPAIR,
    TCP_REPAIR_OFF_NO_WP,
    TCP_REPAIR_QUEUE,
    Connection,
    await_fin,
    await_unread,
    linger_0,
)
from tests.servers import loopbacks
from tlsprobe.captures import pcapng_writer as pcapng
from tlsprobe.lab.kernel_reasons import ResetWatch, watch_resets
from tlsprobe.lab.own_namespace import raise_loopback
from tlsprobe.model.kernel import KernelReset
from tlsprobe.packets.frames import ETHERNET

CORPUS = Path(__file__).parent / "corpus"
SNAP = 240
_INSIDE = "TLSPROBE_CORPUS"
_OUTGOING = 4
_SO_TIMESTAMPNS = 35
_SETTLE_S = 0.15

Scene = Callable[[Connection], None]


# --- scenes besides those of the table ------------------------------------------------------------


def shut_down_for_reading_then_data(c: Connection) -> None:
    """Linux takes the data and says nothing: no RST."""
    c.server.shutdown(socket.SHUT_RD)
    c.client.sendall(b"x")


def half_closed_then_data(c: Connection) -> None:
    """The server has shut down its write side alone: no RST."""
    c.server.shutdown(socket.SHUT_WR)
    await_fin(c.client)
    c.client_sends()


def answered_then_linger_0(c: Connection) -> None:
    """A request read and answered, then a deliberate abort."""
    c.client_sends()
    c.server.recv(1)
    c.server.sendall(b"x")
    await_unread(c.client)
    linger_0(c.server)
    c.server.close()


def read_after_fin_then_linger_0(c: Connection) -> None:
    """Looks like data left unread behind the FIN, and is none."""
    c.server.shutdown(socket.SHUT_WR)
    await_fin(c.client)
    c.client_sends()
    c.server.recv(1)
    linger_0(c.server)
    c.server.close()


def client_leaves_the_answer_unread(c: Connection) -> None:
    """The client's own RST."""
    c.client_sends()
    c.server.recv(1)
    c.server.sendall(b"x")
    await_unread(c.client)
    c.client.close()


def client_gone_before_the_last_word(c: Connection) -> None:
    """What psql does: the server's last word meets a closed socket."""
    c.client_sends()
    c.client.close()
    await_unread(c.server)
    c.server.recv(1)
    await_fin(c.server)
    c.server.sendall(b"x")
    time.sleep(0.05)


def late_data_twice(c: Connection) -> None:
    """The second RST echoes the first."""
    c.server.close()
    await_fin(c.client)
    time.sleep(0.05)
    c.deafen_client()
    c.client.sendall(b"x")
    time.sleep(0.5)


def fin_when_fin_wait2_is_over(c: Connection) -> None:
    """The server has closed and forgotten: the client's FIN meets nothing."""
    c.server.setsockopt(socket.IPPROTO_TCP, socket.TCP_LINGER2, 1)
    c.server.close()
    await_fin(c.client)
    time.sleep(2.5)
    c.client.close()


def client_renamed_on_the_way(c: Connection) -> None:
    """As when a NAT entry is lost: the connection goes on from another port."""
    c.client_sends()
    c.server.recv(1)
    c.server.sendall(b"x")
    await_unread(c.client)
    c.client.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
    numbers = {}
    for queue in (RECEIVE_QUEUE, SEND_QUEUE):
        c.client.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR_QUEUE, queue)
        said = c.client.getsockopt(socket.IPPROTO_TCP, TCP_QUEUE_SEQ, 4)
        numbers[queue] = struct.unpack("I", said)[0]
    c.client.close()  # in repair mode without a word
    ghost = c.new_socket()
    ghost.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
    ghost.bind((c.host, 0))
    for queue, number in numbers.items():
        ghost.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR_QUEUE, queue)
        ghost.setsockopt(socket.IPPROTO_TCP, TCP_QUEUE_SEQ, struct.pack("I", number))
    ghost.connect(c.server_end)
    ghost.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, TCP_REPAIR_OFF_NO_WP)
    try:
        ghost.sendall(b"x")
        ghost.settimeout(2)
        ghost.recv(1)
    except OSError:
        pass


def forged_in_between(c: Connection) -> None:
    """Something in between makes up an RST of the server, which goes on sending."""
    c.client_sends()
    c.server.recv(1)
    c.server.sendall(b"x")
    await_unread(c.client)
    c.client.recv(1)
    c.deafen_client()  # or it would be believed, and what the server sends be answered
    seq = _send_sequence(c.server)
    _forge_rst(c.server_end, c.client_end, seq)
    time.sleep(0.05)
    c.server.sendall(b"x")
    time.sleep(0.05)


def _send_sequence(sock: socket.socket) -> int:
    sock.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
    sock.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR_QUEUE, SEND_QUEUE)
    said = sock.getsockopt(socket.IPPROTO_TCP, TCP_QUEUE_SEQ, 4)
    sock.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, TCP_REPAIR_OFF_NO_WP)
    return int(struct.unpack("I", said)[0])


def _forge_rst(source: tuple[str, int], destination: tuple[str, int], seq: int) -> None:
    ends = [socket.inet_aton(host) for host, _ in (source, destination)]
    ports = source[1], destination[1]
    tcp = struct.pack("!HHIIBBHHH", *ports, seq, 1, 5 << 4, 0x14, 0, 0, 0)
    pseudo = ends[0] + ends[1] + struct.pack("!BBH", 0, 6, len(tcp)) + tcp
    total = sum(struct.unpack(f"!{len(pseudo) // 2}H", pseudo))
    total = (total & 0xFFFF) + (total >> 16)
    checksum = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
    tcp = tcp[:16] + struct.pack("!H", checksum) + tcp[18:]
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(tcp), 7, 0, 9, 6, 0) + ends[0] + ends[1]
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        raw.sendto(head + tcp, (destination[0], 0))


MORE: tuple[Scene, ...] = (
    shut_down_for_reading_then_data,
    half_closed_then_data,
    answered_then_linger_0,
    read_after_fin_then_linger_0,
    client_leaves_the_answer_unread,
    client_gone_before_the_last_word,
    late_data_twice,
    fin_when_fin_wait2_is_over,
    client_renamed_on_the_way,
)


# --- recording ------------------------------------------------------------------------------------


class Recorder:
    """The frames of the loopback interface, each once, with the kernel's time.

    ``snap`` bytes of each are kept. ``is_going``: it has not been stopped.
    """

    def __init__(self, snap: int = SNAP) -> None:
        self._snap = snap
        self.frames: list[tuple[int, bytes, int]] = []
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 24)
        self._socket.bind(("lo", 0))
        self._socket.settimeout(0.05)
        self.is_going = True
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while self.is_going:
            try:
                data, extra, flags, sender = self._socket.recvmsg(self._snap, 64, socket.MSG_TRUNC)
            except TimeoutError:
                continue
            if sender[2] == _OUTGOING:  # on loopback every frame passes twice
                continue
            seconds, nanoseconds = struct.unpack("qq", extra[0][2][:16])
            length = max(len(data), _frame_length(data)) if flags else len(data)
            self.frames.append((seconds * 10**9 + nanoseconds, data, length))

    def stop(self) -> None:
        time.sleep(_SETTLE_S)
        self.is_going = False
        self._thread.join()
        self._socket.close()

    def write(self, path: Path) -> None:
        with path.open("wb") as out:
            writer = pcapng.Writer(out, ETHERNET, "lo")
            for time_ns, data, length in self.frames:
                writer.packet(time_ns, data, length)
            writer.finish(0)


def _frame_length(data: bytes) -> int:
    if data[12:14] == b"\x08\x00":
        return 14 + int.from_bytes(data[16:18], "big")
    return 54 + int.from_bytes(data[18:20], "big")


def write_truth(path: Path, resets: tuple[KernelReset, ...]) -> None:
    told = [
        {"time_ns": r.time_ns, "src": r.src, "dst": r.dst, "state": r.state, "reason": r.reason}
        for r in resets
    ]
    path.write_text(json.dumps({"resets": told}, indent=1) + "\n", encoding="utf-8")


@contextmanager
def recorded(name: str) -> Iterator[tuple[Recorder, ResetWatch]]:
    """Writes both files of this name when the block ends."""
    with watch_resets() as watch:
        recorder = Recorder()
        began = time.time_ns()
        try:
            yield recorder, watch
        finally:
            recorder.stop()
        ports = {int.from_bytes(p, "big") for f in recorder.frames for p in _ports(f[1])}
        resets = [
            reset
            for reset in watch.resets()
            if began <= reset.time_ns + 10_000
            and reset.src[1] in ports
            and (reset.dst[1] in ports or not reset.dst[1])
        ]
        assert watch.lost == 0
    recorder.write(CORPUS / f"{name}.pcapng")
    write_truth(CORPUS / f"{name}.json", tuple(resets))


def _ports(frame: bytes) -> tuple[bytes, bytes]:
    at = 34 if frame[12:14] == b"\x08\x00" else 54
    return frame[at : at + 2], frame[at + 2 : at + 4]


def record_scene(scene: Scene, host: str) -> None:
    name = f"{scene.__name__.replace('_', '-')}-{6 if ':' in host else 4}"
    with recorded(name) as (_, watch), Connection(host) as connection:
        scene(connection)
        deadline = time.monotonic() + (4 if "keepalive" in name else 0.3)
        while time.monotonic() < deadline and not _has_come(watch, connection):
            time.sleep(0.01)


def _has_come(watch: ResetWatch, c: Connection) -> bool:
    return any(reset.belongs_to(c.client_end, c.server_end) for reset in watch.resets())


# --- whole servers --------------------------------------------------------------------------------

SEQUENCES = {
    "postgres": ("terminate-close-notify", "terminate", "close-notify-fin", "close-unread"),
    "nginx": ("idle-expiry-reply", "close-notify-fin", "half-close", "abort"),
    "reference": ("close-notify-fin", "data-after-close-notify", "half-close"),
}
MANNERS = ("polite", "silent", "hasty", "rude", "aborting", "half-closing")


def record_servers(wanted: Callable[[str], bool]) -> None:
    """PostgreSQL, nginx and some of the reference servers, probed once with each sequence."""
    from tests import servers  # noqa: PLC0415 - they need more than the scenes do

    with tempfile.TemporaryDirectory() as folder, ExitStack() as running:
        place = Path(folder)
        place.chmod(0o755)
        (place / "pki").mkdir()
        pki = servers.make_pki(place / "pki")
        if wanted("postgres"):
            postgres = running.enter_context(servers.running_postgres(pki))
            words = ["--profile", "postgres", "--ca", str(postgres.ca)]
            words += ["--user", postgres.cert_user, "--database", postgres.database]
            words += ["--cert", str(postgres.cert), "--key", str(postgres.key)]
            probed("postgres", "postgres", postgres.port, words, place)
        if wanted("nginx"):
            (place / "nginx").mkdir()
            (place / "nginx").chmod(0o755)
            directives = {"keepalive_timeout": "1s", "lingering_close": "off"}
            server = servers.running_nginx(place / "nginx", pki, directives)
            nginx = running.enter_context(server)
            probed("nginx", "nginx", nginx.port, ["--profile", "nginx", "--idle-limit", "3"], place)
        if wanted("reference"):
            for manner, port in running.enter_context(_reference_servers()).items():
                words = ["--profile", "reference", "--patience", "1"]
                probed(manner, "reference", port, words, place)


@contextmanager
def _reference_servers() -> Iterator[dict[str, int]]:
    command = [sys.executable, "-m", "tlsprobe.reference", *MANNERS]
    with child(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())
        process.stdin.close()


def probed(name: str, kind: str, port: int, words: list[str], place: Path) -> None:
    """Runs each sequence once, without a capture of its own; hosts and versions take turns."""
    command = [sys.executable, "-m", "tlsprobe", "run", *words, "--trials", "1", "--quiet"]
    command += ["--capture", "none", "--fail-on", "never", "--out", str(place / "out")]
    for turn, sequence in enumerate(SEQUENCES[kind]):
        family, target = (4, f"127.0.0.1:{port}") if turn % 2 == 0 else (6, f"[::1]:{port}")
        shutil.rmtree(place / "out", ignore_errors=True)
        asked = ["--target", target, "--sequence", sequence, "--tls", TURNS[turn // 2 % 2]]
        with recorded(f"{name}-{sequence}-{family}"):
            subprocess.run([*command, *asked], check=True, timeout=90, stdout=subprocess.DEVNULL)


TURNS = ("1.3", "1.2")


def main(names: list[str]) -> None:
    if _INSIDE not in os.environ:
        os.environ[_INSIDE] = "1"
        command = ["unshare", "--net", "--", sys.executable, "-m", "tests.data.make_corpus"]
        os.execvp(command[0], [*command, *names])
    raise_loopback()
    loopbacks.cache_clear()  # asked before there was any
    CORPUS.mkdir(exist_ok=True)

    def wanted(name: str) -> bool:
        return not names or name in names

    for scene in [*(row.scene for row in ROWS), *MORE]:
        for host in ("127.0.0.1", "::1"):
            if wanted(scene.__name__):
                record_scene(scene, host)
    if wanted(forged_in_between.__name__):
        record_scene(forged_in_between, "127.0.0.1")
    record_servers(wanted)


if __name__ == "__main__":
    main(sys.argv[1:])
