"""WebSocket on a real server: its closing handshake, and what becomes of each part left out."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.children import child
from tests.e2e.probing import Ran, probe, results_in
from tests.servers import Pki
from tlsprobe.model.judgement import Outcome, Result

pytestmark = pytest.mark.packet_socket

SERVER = Path(__file__).parent.parent / "websocket_server.py"
SEQUENCES = ("terminate", "server-close-reply", "close-notify-fin", "fin-only")


@pytest.fixture(scope="module")
def port(pki: Pki) -> Iterator[int]:
    command = [sys.executable, str(SERVER), str(pki.server_cert), str(pki.server_key)]
    with child(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield int(process.stdout.readline())
        process.stdin.close()


@pytest.fixture(scope="module")
def ran(port: int, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    asked = [word for sequence in SEQUENCES for word in ("--sequence", sequence)]
    return probe(
        f"127.0.0.1:{port}",
        *("--profile", "websocket", "--trials", "3", "--fail-on", "never", *asked),
        cwd=tmp_path_factory.mktemp("websocket"),
    )


@pytest.mark.parametrize("tls", ["1.2", "1.3"])
@pytest.mark.parametrize("sequence", SEQUENCES)
def test_every_trial_is_taken_to_its_end(ran: Ran, sequence: str, tls: str) -> None:
    assert ran.code == 0, ran.err
    timely = ran.timely(sequence, tls)
    assert timely or ran.slow
    assert all(trial.failure is None for trial in timely)
    if sequence != "terminate":  # its TLS waits half a minute for our close_notify there
        assert Outcome.OPEN not in {trial.outcome for trial in timely}


@pytest.mark.parametrize("tls", ["1.2", "1.3"])
def test_close_is_answered_with_close_and_the_end(ran: Ran, tls: str) -> None:
    for sequence, expected in (("server-close-reply", Result.PASS), ("terminate", Result.INFO)):
        assert set(results_in(ran.timely(sequence, tls), "WS-CLOSE")) <= {expected}
