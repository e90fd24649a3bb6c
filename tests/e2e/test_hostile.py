"""Servers that flood, drip, babble or say nothing cost bounded time, memory and disk."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.probing import Ran
from tests.servers import GENEROUS_S, Pki
from tlsprobe.model.judgement import Verdict
from tlsprobe.sniff.demultiplexer import KEPT_WHOLE

WEIGHED = """
import resource, subprocess, sys
from pathlib import Path
ended = subprocess.run(sys.argv[2:]).returncode
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
Path(sys.argv[1]).write_text(str(peak))
sys.exit(ended)
"""
"""Runs a command, and writes down the most memory that it and what it started took, in KiB."""

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

A_CONNECTION = KEPT_WHOLE + 32 * 2**20
"""Bytes on disk: what is kept whole, and the headers of as many packets as come in some seconds."""


def flood(connection: ssl.SSLSocket) -> None:
    """A response that never ends."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999\r\n\r\n")
    while True:
        connection.sendall(bytes(16384))


def patter(connection: ssl.SSLSocket) -> None:
    """Records of one byte, without a pause."""
    connection.sendall(OK)
    while True:
        connection.sendall(b"z")


def drip(connection: ssl.SSLSocket) -> None:
    """A byte of the response now and then."""
    for byte in OK * 100:
        connection.sendall(bytes((byte,)))
        time.sleep(0.2)


def babble(connection: ssl.SSLSocket) -> None:
    """Escape sequences where HTTP should be."""
    connection.sendall(b"\x1b]0;owned\x07\x1b[31m" * 1000)
    connection.recv(1)


def nothing(connection: ssl.SSLSocket) -> None:
    """Takes the request and says no word."""
    while connection.recv(4096):
        pass


def plain_behind_tls(connection: ssl.SSLSocket) -> None:
    """A whole response, an orderly TLS end, and then words outside TLS."""
    connection.sendall(OK)
    connection.recv(1)
    connection.unwrap().sendall(b"and another thing\n")


@contextmanager
def serving(pki: Pki, behave: Callable[[ssl.SSLSocket], None]) -> Iterator[int]:
    """Behaves so on every connection but the first, by which the preflight finds it sane."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki.server_cert, pki.server_key)
    stopping = threading.Event()
    threads: list[threading.Thread] = []

    def one(raw: socket.socket, sane: bool) -> None:
        try:
            with context.wrap_socket(raw, server_side=True) as connection:
                connection.settimeout(GENEROUS_S)
                connection.recv(4096)
                if sane:
                    connection.sendall(OK)
                    connection.recv(1)
                else:
                    behave(connection)
        except OSError:
            pass  # the prober left, which is the point

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.1)

        def accept() -> None:
            served = 0
            while not stopping.is_set():
                try:
                    raw, _ = listener.accept()
                except TimeoutError:
                    continue
                thread = threading.Thread(target=one, args=(raw, served == 0), daemon=True)
                thread.start()
                threads.append(thread)
                served += 1

        acceptor = threading.Thread(target=accept)
        acceptor.start()
        try:
            yield int(listener.getsockname()[1])
        finally:
            stopping.set()
            acceptor.join()
            for thread in threads:
                thread.join(timeout=GENEROUS_S)


def probe(port: int, cwd: Path) -> tuple[Ran, float]:
    """One short trial; what came of it, and the most memory that it took, in MiB."""
    words = ("--profile", "https", "--tls", "1.3", "--trials", "2", "--patience", "3")
    steps = ("--sequence", "request; drain 1s", "--out", "out", "--fail-on", "never")
    command = [sys.executable, "-m", "tlsprobe", "run", "--target", f"127.0.0.1:{port}"]
    told = cwd / "peak"
    ran = subprocess.run(
        [sys.executable, "-c", WEIGHED, str(told), *command, *words, *steps],
        cwd=cwd,
        capture_output=True,
        text=True,
        env={**os.environ, "NO_COLOR": "1"},
        timeout=GENEROUS_S * 3,
        check=False,
    )
    return Ran(ran.returncode, ran.stdout, ran.stderr, cwd / "out"), int(told.read_text()) / 1024


@pytest.mark.parametrize("behave", [flood, patter, drip, babble, nothing, plain_behind_tls])
def test_it_ends_soon_and_says_what_it_saw(
    pki: Pki, tmp_path: Path, behave: Callable[[ssl.SSLSocket], None]
) -> None:
    with serving(pki, behave) as port:
        ran, peak = probe(port, tmp_path)
    assert "Traceback" not in ran.err, ran.err
    assert "\x1b" not in ran.out + ran.err
    assert ran.code in {0, 3}
    assert peak < 400
    written = sum(path.stat().st_size for path in ran.folder.iterdir())
    assert ran.run.spent is not None
    assert written < A_CONNECTION * ran.run.spent.connections
    (cell,) = ran.asked
    assert cell.trials == 2
    assert cell.verdict is not Verdict.UNSUPPORTED
    assert len([trial for trial in ran.trials if trial.sequence == cell.sequence]) == 2


def test_words_outside_tls_are_noted(pki: Pki, tmp_path: Path) -> None:
    with serving(pki, plain_behind_tls) as port:
        words = ("--profile", "https", "--tls", "1.3", "--trials", "1", "--patience", "60")
        steps = ("--sequence", "request; close_notify; fin; drain", "--out", "out")
        command = [sys.executable, "-m", "tlsprobe", "run", "--target", f"127.0.0.1:{port}"]
        subprocess.run(
            [*command, *words, *steps],
            cwd=tmp_path,
            capture_output=True,
            timeout=GENEROUS_S,
            check=False,
        )
    ran = Ran(0, "", "", tmp_path / "out")
    assert any("no TLS" in note for trial in ran.trials for note in trial.notes)
