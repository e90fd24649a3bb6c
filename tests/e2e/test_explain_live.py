"""`tlsprobe explain --live` beside real servers, as people call it: what it prints, how it ends."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import jsonschema
import pytest

from tests.children import child
from tests.e2e.probing import tlsprobe
from tests.e2e.test_postgres import identity
from tests.servers import GENEROUS_S, Postgres, cannot, free_port
from tlsprobe.lab import namespaces
from tlsprobe.report.schema import closed, explain_flow_schema, explain_schema

pytestmark = pytest.mark.packet_socket

LINGER_0 = struct.pack("ii", 1, 0)


@dataclass
class Live:
    """A watch that goes on; what it has printed, line by line."""

    process: subprocess.Popen[bytes]
    err: Path
    lines: list[str] = field(default_factory=list)
    _rest: bytes = b""

    def line(self, wanted: str) -> str:
        """The next line that matches; those before it are kept too."""
        assert self.process.stdout is not None
        handle = self.process.stdout.fileno()
        while True:
            *whole, self._rest = self._rest.split(b"\n")
            for number, line in enumerate(text.decode() for text in whole):
                self.lines.append(line)
                if re.search(wanted, line):
                    left = b"".join(text + b"\n" for text in whole[number + 1 :])
                    self._rest = left + self._rest
                    return line
            assert select.select([handle], [], [], GENEROUS_S)[0], (self.lines, self.said())
            data = os.read(handle, 1 << 16)
            assert data, (self.lines, self.said())
            self._rest += data

    def said(self) -> str:
        return self.err.read_text()

    def end(self, how: signal.Signals = signal.SIGINT) -> tuple[int, str]:
        """The exit code, and what was printed from now on."""
        self.process.send_signal(how)
        out, _ = self.process.communicate(timeout=GENEROUS_S)
        return self.process.returncode, (self._rest + out).decode()


@contextmanager
def live(folder: Path, *words: str, prefix: tuple[str, ...] = ()) -> Iterator[Live]:
    """A watch that has begun to see packets."""
    err = folder / "err"
    command = [*prefix, sys.executable, "-W", "error", "-m", "tlsprobe", "explain", "--live"]
    with (
        err.open("wb") as errors,
        subprocess.Popen(
            [*command, *words],
            stdout=subprocess.PIPE,
            stderr=errors,
            cwd=folder,
            env={**os.environ, "NO_COLOR": "1", "COLUMNS": "200"},
        ) as process,
    ):
        watch = Live(process, err)
        try:
            until_said(watch, "watching ")
            yield watch
        finally:
            process.kill()
            process.communicate()


def until_said(watch: Live, words: str) -> None:
    deadline = GENEROUS_S
    while words not in watch.said():
        assert watch.process.poll() is None, watch.said()
        assert deadline > 0, watch.said()
        select.select([], [], [], 0.05)
        deadline -= 0.05


@contextmanager
def listening(host: str = "127.0.0.1") -> Iterator[tuple[socket.socket, int]]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with closing(socket.create_server((host, 0), family=family, backlog=512)) as server:
        yield server, server.getsockname()[1]


def pair(server: socket.socket) -> tuple[socket.socket, socket.socket]:
    client = socket.create_connection(server.getsockname()[:2])
    accepted, _ = server.accept()
    return client, accepted


def unread(server: socket.socket) -> int:
    """A server closes with a request unread: its kernel resets. The client's port."""
    client, accepted = pair(server)
    with client:
        client.sendall(b"a request")
        accepted.recv(1, socket.MSG_PEEK)
        accepted.close()
        until_reset(client)
        return int(client.getsockname()[1])


def until_reset(client: socket.socket) -> None:
    poll = select.poll()
    poll.register(client, 0)
    assert poll.poll(GENEROUS_S * 1000)


def quietly(server: socket.socket) -> None:
    client, accepted = pair(server)
    client.close()
    assert accepted.recv(1) == b""
    accepted.close()


# --- what it says ---------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_reset_is_a_line_and_the_overview_comes_at_the_end(tmp_path: Path, host: str) -> None:
    with (
        listening(host) as (server, port),
        live(tmp_path, "-i", "lo", "port", str(port)) as watch,
    ):
        client = unread(server)
        line = watch.line(f"{client} to ")
        assert "the server resets before any FIN of its own: unread-data-at-close" in line
        assert "data is lost" in line
        quietly(server)
        code, out = watch.end()
    assert code == 1
    assert "1 connection with a reset, 1 connection without one" in out
    assert f"lo (tcp and port {port}): live" in out
    assert "provokes #" in out


@pytest.mark.kernel_truth
def test_the_kernel_that_sent_it_says_why(tmp_path: Path) -> None:
    """Unread data and an abort on purpose are one packet: what tells them apart is the kernel."""
    with (
        listening() as (server, port),
        live(tmp_path, "-i", "lo", "--json", f"port {port}") as watch,
    ):
        unread(server)
        client, accepted = pair(server)
        client.sendall(b"a request")
        accepted.recv(100)
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_0)
        accepted.close()
        until_reset(client)
        client.close()
        told = [json.loads(watch.line("explain-flow/1"))["flow"] for _ in range(2)]
        watch.end()
    resets = sorted((r["cause"], r["kernel"], r["confidence"]) for f in told for r in f["resets"])
    assert resets == [
        ("deliberate-abort", "TCP_STATE", "high"),
        ("unread-data-at-close", "TCP_ABORT_ON_CLOSE", "high"),
    ]


def test_documents_are_alone_on_standard_output(tmp_path: Path) -> None:
    with (
        listening() as (server, port),
        live(tmp_path, "-i", "any", "--json", "port", str(port)) as watch,
    ):
        unread(server)
        jsonschema.validate(json.loads(watch.line("{")), closed(explain_flow_schema()))
        _, out = watch.end(signal.SIGTERM)
    document = json.loads(out)
    jsonschema.validate(document, closed(explain_schema()))
    assert document["input"]["kind"] == "live"
    assert [flow["resets"][0]["cause"] for flow in document["flows"]] == ["unread-data-at-close"]


def test_loopback_is_seen_once_among_all_interfaces(tmp_path: Path) -> None:
    with (
        listening() as (server, port),
        live(tmp_path, "--json", "host", "127.0.0.1", "port", str(port)) as watch,
    ):
        quietly(server)
        unread(server)
        watch.line("explain-flow")
        _, out = watch.end()
    assert json.loads(out)["input"]["packets"] < 20


def test_the_page_comes_at_the_end_and_the_lines_beside_it(tmp_path: Path) -> None:
    with (
        listening() as (server, port),
        live(tmp_path, "-i", "lo", "--format", "html", "port", str(port)) as watch,
    ):
        client = unread(server)
        until_said(watch, f"{client} to ")
        code, out = watch.end()
    assert code == 1
    assert out.startswith("<!doctype html>")
    assert "unread-data-at-close" in out


# --- how it ends ----------------------------------------------------------------------------------


def test_quiet_connections_are_exit_0(tmp_path: Path) -> None:
    with (
        listening() as (server, port),
        live(tmp_path, "-i", "lo", "port", str(port)) as watch,
    ):
        quietly(server)
        code, out = watch.end()
    assert code == 0
    assert "no reset" in out


def test_no_packet_is_no_answer(tmp_path: Path) -> None:
    with live(tmp_path, "-i", "lo", "port", str(free_port())) as watch:
        code, out = watch.end()
        assert (code, out) == (3, "")
        assert "error: no packet was seen on lo" in watch.said()


def test_a_sniffer_that_dies_ends_it_with_what_was_found(tmp_path: Path) -> None:
    with (
        listening() as (server, port),
        live(tmp_path, "-i", "lo", "port", str(port)) as watch,
    ):
        quietly(server)
        unread(server)
        watch.line("unread-data-at-close")
        os.kill(sniffer_of(watch), signal.SIGKILL)
        watch.line("the capture broke off")
        watch.line("1 connection with a reset")
        watch.process.communicate(timeout=GENEROUS_S)
        assert watch.process.returncode == 1


def sniffer_of(watch: Live) -> int:
    tasks = Path(f"/proc/{watch.process.pid}/task").glob("*/children")
    (child,) = (child for task in tasks for child in task.read_text().split())
    return int(child)


def test_the_sniffer_ends_with_whoever_started_it(tmp_path: Path) -> None:
    with live(tmp_path, "-i", "lo", "port", str(free_port())) as watch:
        handle = os.pidfd_open(sniffer_of(watch))
        watch.process.kill()
        assert select.select([handle], [], [], GENEROUS_S)[0]
        os.close(handle)


def test_without_rights_it_says_what_to_do(tmp_path: Path) -> None:
    code = textwrap.dedent("""
        import ctypes, sys
        from tlsprobe.cli import main
        from tlsprobe.sniff.privileges import clear_capabilities

        clear_capabilities()
        sys.argv = ["tlsprobe", "explain", "--live", "-i", "lo"]
        main()
    """)
    ran = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=GENEROUS_S,
        check=False,
        cwd=tmp_path,
    )
    assert (ran.returncode, ran.stdout) == (3, "")
    assert "opening a packet socket needs root or the capability CAP_NET_RAW" in ran.stderr
    assert "hint: run tlsprobe with sudo" in ran.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--live", "prot", "5432"), "'prot 5432' is not understood"),
        (("--live", "port", "70000"), "'port 70000' is not understood"),
        (("--live", "port"), "'port' is not understood"),
        (("--live", "host", "localhost"), "give its address"),
        (("--live", "-i", "no-such-0"), "there is no interface no-such-0"),
        (("--live", "--packet", "1"), "are for files"),
        (("-i", "lo", "file"), "--interface goes with --live"),
        ((), "a file is missing"),
        (("one", "two"), "is not one file"),
    ],
)
def test_what_cannot_be_meant_is_exit_2(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    ran = tlsprobe("explain", *words, cwd=tmp_path)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err


# --- real servers ---------------------------------------------------------------------------------


@pytest.mark.server("postgres")
def test_postgres_resets_a_client_that_says_goodbye_and_more(
    postgres: Postgres, tmp_path: Path
) -> None:
    """Its backend ends upon Terminate, with the close_notify behind it unread.

    If we are stopped between the two, the close_notify finds it gone: data-after-close.
    """
    with live(tmp_path, "-i", "lo", "--json", "port", str(postgres.port)) as watch:
        ran = tlsprobe(
            *("run", "--target", f"127.0.0.1:{postgres.port}", *identity(postgres)),
            *("--sequence", "terminate-close-notify", "--tls", "1.3", "--trials", "5"),
            *("--fail-on", "never", "--out", "out"),
            cwd=tmp_path,
        )
        wanted = sum(cell.resets.server.before_fin for cell in ran.run.cells)
        causes = Counter[str]()
        while causes["unread-data-at-close"] < wanted:
            flow = json.loads(watch.line("explain-flow/1"))["flow"]
            causes.update({one["cause"] for one in flow["resets"] if one["side"] == "server"})
        watch.end()
    assert causes.keys() <= {"unread-data-at-close", "data-after-close"}


RESETTER = """
    import socket, sys
    server = socket.create_server(("", int(sys.argv[1])))
    print("ready", flush=True)
    accepted, _ = server.accept()
    accepted.recv(1, socket.MSG_PEEK)
    server.close()
    accepted.close()
"""


@pytest.mark.root
def test_another_host_resets(tmp_path: Path) -> None:
    """As seen on the client's interface; nobody listens there afterwards."""
    if why_not := namespaces.available():
        cannot(why_not)
    with namespaces.three() as net:
        python = [*net.server.prefix, sys.executable, "-c", textwrap.dedent(RESETTER), "5432"]
        words = ("-i", "eth0", "--json", "port", "5432")
        with (
            child(python, stdout=subprocess.PIPE) as server,
            live(tmp_path, *words, prefix=net.client.prefix) as watch,
        ):
            assert server.stdout is not None
            assert server.stdout.readline() == b"ready\n"
            ask = f"""
                import socket
                address = ("{net.server.ipv4}", 5432)
                for _ in range(2):
                    try:
                        client = socket.create_connection(address)
                        client.sendall(b"a request")
                        client.recv(1)
                    except OSError:
                        pass
            """
            net.client.run(sys.executable, "-c", textwrap.dedent(ask))
            causes = [
                json.loads(watch.line("explain-flow/1"))["flow"]["resets"][0]["cause"]
                for _ in range(2)
            ]
            assert sorted(causes) == ["refused", "unread-data-at-close"]
            watch.end()
