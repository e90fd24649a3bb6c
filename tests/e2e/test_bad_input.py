"""Whatever the user gets wrong: a sentence, the mend, the promised exit code, nothing lost."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.children import child
from tests.conftest import NginxFactory
from tests.e2e.probing import Ran, at, probe, tlsprobe
from tests.servers import GENEROUS_S, Nginx, Pki, Postgres, free_port

NEVER = ("--fail-on", "never")
"""For tests of something else than how the server closes, which is a race on a busy machine."""


def complaint(ran: Ran, code: int, *words: str) -> None:
    """The command failed with this code, and one error that says these words."""
    assert ran.code == code, ran
    assert ran.out == ""
    assert "Traceback" not in ran.err
    assert "error: " in ran.err or "Error" in ran.err
    for word in words:
        assert word in ran.err, ran.err


@contextmanager
def plain_server(answer: bytes) -> Iterator[int]:
    """A TCP server on loopback that says the same to everybody and closes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        stopping = threading.Event()

        def serve() -> None:
            listener.settimeout(0.1)
            while not stopping.is_set():
                try:
                    connection, _ = listener.accept()
                except TimeoutError:
                    continue
                with connection:
                    connection.recv(1)
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        stopping.set()
        thread.join()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--profile", "ngnix"), ("ngnix", "nginx")),
        (("--sequence", "close-notify-fn"), ("close-notify-fn", "close-notify-fin")),
        (("--sequence", "request; cloze_notify"), ("column 10", "close_notify")),
        (("--profile", "raw", "--sequence", "terminate"), ("goodbye",)),
        (("--fail-on", "maybe"), ("--fail-on", "never")),
        (("--capture", "magic"), ("--capture", "dumpcap")),
        (("--tls", "1.1"), ("1.1",)),
        (("--cert", "/nonexistent/client.pem"), ("/nonexistent/client.pem", "No such file")),
        (("--key", "/nonexistent/client.key"), ("--cert",)),
        (("--ca", "/etc/hostname"), ("/etc/hostname", "PEM")),
        (("--password-env", "NO_SUCH_VARIABLE_HERE"), ("NO_SUCH_VARIABLE_HERE",)),
        (("--interface", "nosuch0"), ("nosuch0",)),
        (("--out", "/proc/nowhere"), ("/proc/nowhere", "--out")),
    ],
)
def test_a_wrong_command_line(
    nginx: Nginx, tmp_path: Path, words: tuple[str, ...], said: tuple[str, ...]
) -> None:
    ran = tlsprobe("run", "--target", at("127.0.0.1", nginx.port), *words, cwd=tmp_path)
    complaint(ran, 2, *said)


@pytest.mark.parametrize("target", ["", "::1:443", "host:port", "host:70000", "a b:443x"])
def test_a_target_that_cannot_be_read(tmp_path: Path, target: str) -> None:
    complaint(tlsprobe("run", "--target", target, cwd=tmp_path), 2)


def test_nobody_listens(tmp_path: Path) -> None:
    ran = tlsprobe("run", "--target", f"127.0.0.1:{free_port()}", cwd=tmp_path)
    complaint(ran, 3, "connection refused", "hint: ")


def test_a_run_that_was_refused_leaves_no_folder(tmp_path: Path) -> None:
    ran = tlsprobe("run", "--target", f"127.0.0.1:{free_port()}", "--profile", "raw", cwd=tmp_path)
    assert ran.code == 3
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_does_not_resolve(tmp_path: Path) -> None:
    complaint(tlsprobe("run", "--target", "no.such.invalid:443", cwd=tmp_path), 3, "resolve")


def test_a_port_that_speaks_no_tls(tmp_path: Path) -> None:
    with plain_server(b"HTTP/1.1 400 Bad Request\r\n\r\n\x1b[31m") as port:
        ran = tlsprobe("run", "--target", f"127.0.0.1:{port}", cwd=tmp_path)
    complaint(ran, 3, "does not speak TLS", "HTTP/1.1 400")
    assert "\x1b" not in ran.err


def test_a_port_that_closes_at_once(tmp_path: Path) -> None:
    with plain_server(b"") as port:
        ran = tlsprobe("run", "--target", f"127.0.0.1:{port}", cwd=tmp_path)
    complaint(ran, 3, "during the handshake")


@pytest.mark.server("nginx")
def test_a_capture_that_cannot_be_had(nginx: Nginx, tmp_path: Path) -> None:
    words = ("--capture", "none", "--require-capture", "--profile", "nginx")
    ran = tlsprobe("run", "--target", at("127.0.0.1", nginx.port), *words, cwd=tmp_path)
    complaint(ran, 3, "capture")


@pytest.mark.server("nginx")
def test_without_a_capture_the_verdict_is_weaker(nginx: Nginx, tmp_path: Path) -> None:
    words = ("--profile", "nginx", "--capture", "none", "--idle-limit", "3", "--json", *NEVER)
    asked = ("--sequence", "idle-expiry-reply", "--sequence", "terminate", "--out", "out")
    ran = tlsprobe("run", "--target", at("127.0.0.1", nginx.port), *words, *asked, cwd=tmp_path)
    assert ran.code == 0, ran.err
    assert ran.printed.capture.backend == "none"
    assert ran.cell("terminate").reader.eof == 5
    assert ran.cell("idle-expiry-reply").causes == {}
    assert any("no capture" in note for trial in ran.trials for note in trial.notes)
    told = tlsprobe("matrix", "out", cwd=tmp_path).out
    assert "Weaker evidence" in told


@pytest.mark.packet_socket
@pytest.mark.server("nginx")
@pytest.mark.parametrize("backend", ["dumpcap", "tcpdump"])
def test_other_capture_programs_do(nginx: Nginx, tmp_path: Path, backend: str) -> None:
    words = ("--sequence", "server-close-reply", *NEVER)
    asked = ("--profile", "nginx", *words, "--capture", backend)
    ran = probe(at("127.0.0.1", nginx.port), *asked, cwd=tmp_path)
    assert ran.code == 0, ran.err
    assert ran.run.capture.backend == backend
    assert ran.cell("server-close-reply").causes


@pytest.mark.server("postgres")
class TestPostgres:
    """What a database refuses, told in its own words with the mend."""

    def ask(self, server: Postgres, cwd: Path, *words: str, **env: str) -> Ran:
        target = ("run", "--target", at("127.0.0.1", server.port), "--profile", "postgres")
        database = ("--database", server.database, "--sequence", "terminate", "--trials", "1")
        return tlsprobe(*target, *database, *words, cwd=cwd, env=env)

    def test_a_wrong_password(self, postgres: Postgres, tmp_path: Path) -> None:
        words = ("--user", postgres.scram_user, "--password-env", "PW")
        ran = self.ask(postgres, tmp_path, *words, PW="wrong")
        complaint(ran, 3, "password authentication failed", "--password-env")

    def test_no_password(self, postgres: Postgres, tmp_path: Path) -> None:
        ran = self.ask(postgres, tmp_path, "--user", postgres.scram_user)
        complaint(ran, 3, "--password-env")

    def test_a_refused_certificate(self, postgres: Postgres, pki: Pki, tmp_path: Path) -> None:
        words = ("--cert", str(pki.other_cert), "--key", str(pki.other_key))
        ran = self.ask(postgres, tmp_path, "--user", postgres.cert_user, *words)
        complaint(ran, 3, "certificate", "unknown_ca", "--cert")

    def test_a_key_of_another_certificate(
        self, postgres: Postgres, pki: Pki, tmp_path: Path
    ) -> None:
        words = ("--cert", str(pki.client_cert), "--key", str(pki.other_key))
        ran = self.ask(postgres, tmp_path, "--user", postgres.cert_user, *words)
        complaint(ran, 2, str(pki.other_key), "does not belong")

    def test_a_server_of_another_ca(self, postgres: Postgres, pki: Pki, tmp_path: Path) -> None:
        words = ("--ca", str(pki.other_ca), "--user", postgres.trust_user)
        complaint(self.ask(postgres, tmp_path, *words), 3, "could not be verified")

    @pytest.mark.parametrize("method", ["scram_user", "md5_user", "password_user"])
    def test_a_right_password(self, postgres: Postgres, tmp_path: Path, method: str) -> None:
        user = ("--user", getattr(postgres, method), "--password-env", "PW")
        words = (*user, "--out", "out", *NEVER)
        ran = self.ask(postgres, tmp_path, *words, PW=postgres.password)
        assert ran.code == 0, ran.err
        assert ran.cell("terminate").trials == 1
        everything = b"".join(p.read_bytes() for p in ran.folder.iterdir() if p.suffix != ".pcapng")
        assert postgres.password.encode() not in everything


def test_results_are_never_written_over(nginx: Nginx, tmp_path: Path) -> None:
    asked = ("run", "--target", at("127.0.0.1", nginx.port), "--profile", "nginx", "--out", "out")
    once = (*asked, "--sequence", "abort", "--trials", "1", *NEVER)
    assert tlsprobe(*once, cwd=tmp_path).code == 0
    before = (tmp_path / "out" / "run.json").read_bytes()
    complaint(tlsprobe(*once, cwd=tmp_path), 2, "already holds")
    assert (tmp_path / "out" / "run.json").read_bytes() == before


@pytest.mark.parametrize("content", [None, "", "{}", "[1]", '{"schema": "tlsprobe.run/9"}', "\xff"])
def test_a_damaged_results_folder(tmp_path: Path, content: str | None) -> None:
    folder = tmp_path / "damaged"
    folder.mkdir()
    if content is not None:
        (folder / "run.json").write_text(content, encoding="latin-1")
    complaint(tlsprobe("matrix", "damaged", cwd=tmp_path), 2, "damaged")


@pytest.mark.server("nginx")
def test_ctrl_c_keeps_what_was_measured(nginx_factory: NginxFactory, tmp_path: Path) -> None:
    server = nginx_factory(keepalive_timeout="60s")
    words = ("--profile", "nginx", "--sequence", "idle-expiry", "--sequence", "terminate")
    command = [sys.executable, "-m", "tlsprobe", "run", "--out", "out", *words]
    target = ("--target", at("127.0.0.1", server.port))
    with child(
        [*command, *target], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        trials = tmp_path / "out" / "trials.jsonl"
        until(lambda: trials.exists() and trials.read_text().count("\n") >= 10)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=GENEROUS_S)
    assert process.returncode == 130
    assert "Traceback" not in err
    ran = Ran(process.returncode, out, err, tmp_path / "out")
    assert ran.run.interrupted
    assert ran.cell("terminate").trials == 5
    assert ran.cell("idle-expiry").trials == 0
    assert "terminate" in out


def until(happened: object, seconds: float = GENEROUS_S) -> None:
    """Wait for a condition that another process brings about."""
    assert callable(happened)
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.server("nginx")
def test_json_is_alone_on_standard_output(nginx: Nginx, tmp_path: Path) -> None:
    asked = ("--profile", "nginx", "--sequence", "abort", "--trials", "1", "--json", *NEVER)
    targets = ("--target", at("127.0.0.1", nginx.port), "--target", at("::1", nginx.port))
    ran = tlsprobe("run", *targets, *asked, cwd=tmp_path)
    assert ran.code == 0, ran.err
    documents = [json.loads(line) for line in ran.out.splitlines()]
    assert [d["target"]["host"] for d in documents] == ["127.0.0.1", "::1"]


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    command = f"{sys.executable} -m tlsprobe sequences | head -1; exit ${{PIPESTATUS[0]}}"
    ran = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0
    assert "Traceback" not in ran.stderr


def test_every_verb_has_help(tmp_path: Path) -> None:
    verbs = ("demo", "run", "matrix", "sequences", "rules", "profiles", "doctor")
    for verb in verbs:
        ran = tlsprobe(verb, "--help", cwd=tmp_path, env={"COLUMNS": "80"})
        assert ran.code == 0
        assert "Usage" in ran.out


def test_doctor_says_what_is_there(tmp_path: Path) -> None:
    ran = tlsprobe("doctor", cwd=tmp_path)
    assert ran.code == 0
    for name in ("packet socket", "dumpcap", "tcpdump", "tcp_send_reset", "own network namespace"):
        assert name in ran.out


@pytest.mark.root
def test_the_demo_needs_no_privileges(tmp_path: Path) -> None:
    """Without a capability, inside a namespace of its own, the sniffer sees every packet."""
    # CAP_SETFCAP stays: without it, root may not map itself into a namespace; users need it not
    words = (sys.executable, "-m", "tlsprobe", "demo", "rude", "--out", "out", "--trials", "1")
    ran = subprocess.run(
        ["setpriv", "--inh-caps=-all", "--bounding-set=-all,+setfcap", "--", *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=GENEROUS_S,
        check=False,
    )
    assert ran.returncode == 0 or "self-test failed" in ran.stderr, ran.stderr  # tested elsewhere
    assert "in a new network namespace" in ran.stderr
    document = json.loads((tmp_path / "out" / "rude" / "run.json").read_text())
    assert document["capture"]["backend"] == "packet"
    assert any("unread-data-at-close" in cell["causes"] for cell in document["cells"])
