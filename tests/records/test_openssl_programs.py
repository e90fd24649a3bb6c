"""What openssl's own client and server said to each other, opened with their key log.

Every family of suites, with a key update in TLS 1.3 and a renegotiation in TLS 1.2; tshark has to
name the same alerts with the same key log.
"""

from __future__ import annotations

import re
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO

import pytest

from tests.captures.files import ACK, PSH, SYN, ip, pcap
from tests.servers import Pki
from tlsprobe.model.trace import Side
from tlsprobe.records.key_log import Opened, read_key_log
from tlsprobe.records.secrets import opened
from tlsprobe.records.walk import RecordWalk, read_hello

pytestmark = pytest.mark.server("openssl", "tshark")

CLOSE_NOTIFY = Opened(21, b"\x01\x00")
SUITES_12 = [
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-ECDSA-AES128-CCM",
    "ECDHE-ECDSA-AES256-CCM8",
    "ECDHE-ECDSA-AES128-SHA",
    "ECDHE-ECDSA-AES256-SHA",
    "ECDHE-ECDSA-AES128-SHA256",
    "ECDHE-ECDSA-AES256-SHA384",
]
SUITES_13 = [
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
    "TLS_AES_128_CCM_SHA256",
    "TLS_AES_128_CCM_8_SHA256",
]


class Relay:
    """Stands between client and server and notes what each sent, in the order of both."""

    def __init__(self, server: int) -> None:
        self.heard: list[tuple[Side, bytes]] = []
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._run, args=(server,))
        self._thread.start()

    def _run(self, server: int) -> None:
        near, _ = self._listener.accept()
        with near, socket.create_connection(("127.0.0.1", server)) as far:
            back = threading.Thread(target=self._copy, args=(far, near, Side.SERVER))
            back.start()
            self._copy(near, far, Side.CLIENT)
            back.join()

    def _copy(self, source: socket.socket, target: socket.socket, side: Side) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                with self._lock:
                    self.heard.append((side, data))
                target.sendall(data)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def finish(self) -> None:
        self._thread.join()
        self._listener.close()


def lines(stream: IO[bytes], wanted: bytes) -> None:
    """Reads until a line holds this."""
    for line in stream:
        if wanted in line:
            return
    raise AssertionError(f"it ended without {wanted!r}")


def started(command: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def talk(pki: Pki, keys: Path, version: str, suite: list[str], command: str) -> Relay:
    """A line there and one back, the command to openssl's client, once more, and the end."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    more = ["-client_renegotiation"] if command == "R" else []
    server = started(
        [
            *("openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-naccept", "1", version),
            *("-cert", str(pki.server_cert), "-key", str(pki.server_key), *suite, *more),
        ]
    )
    assert server.stdin
    assert server.stdout
    with server:
        lines(server.stdout, b"ACCEPT")
        relay = Relay(port)
        to = f"127.0.0.1:{relay.port}"
        client = started(
            ["openssl", "s_client", "-connect", to, version, *suite, "-keylogfile", str(keys)]
        )
        assert client.stdin
        assert client.stdout
        with client:
            for word in (b"hello\n", b"again\n"):
                client.stdin.write(word)
                client.stdin.flush()
                lines(server.stdout, word.strip())
                server.stdin.write(b"answer to " + word)
                server.stdin.flush()
                lines(client.stdout, b"answer to " + word.strip())
                if word == b"hello\n" and command:
                    client.stdin.write(command.encode() + b"\n")
                    client.stdin.flush()
                    lines(client.stdout, {"K": b"KEYUPDATE", "R": b"RENEGOTIATING"}[command])
            client.stdin.write(b"Q\n")
            client.stdin.flush()
            client.wait()
        server.stdin.close()
        server.wait()
    relay.finish()
    return relay


def alerts(relay: Relay, keys: Path) -> dict[Side, list[Opened]]:
    walks = {side: RecordWalk(from_start=True, keep_bodies=True) for side in Side}
    at = dict.fromkeys(Side, 0)
    for number, (side, data) in enumerate(relay.heard):
        walks[side].feed(at[side], data, len(data), number, number)
        at[side] += len(data)
    found = {side: walk.found for side, walk in walks.items()}
    client, server = (read_hello(found[side][0].body) for side in Side)
    assert client is not None
    assert server is not None
    contents = opened(found, client, server, read_key_log([keys.read_bytes()]), lost=False)
    return {side: [c for c in contents[side].values() if c.kind == 21] for side in Side}


def frames(relay: Relay) -> Iterator[bytes]:
    """What was said as packets, for tshark."""
    yield ip(True, SYN, 999, 0)
    yield ip(False, SYN | ACK, 1999, 1000)
    at = {Side.CLIENT: 1000, Side.SERVER: 2000}
    for side, data in relay.heard:
        for start in range(0, len(data), 1400):
            part = data[start : start + 1400]
            yield ip(side is Side.CLIENT, PSH | ACK, at[side], at[side.peer], part)
            at[side] += len(part)


def tshark_alerts(relay: Relay, keys: Path, folder: Path) -> int:
    """How many alerts tshark calls a close_notify."""
    file = folder / "said.pcap"
    file.write_bytes(pcap(list(frames(relay))))
    command = ["tshark", "-r", str(file), "-o", f"tls.keylog_file:{keys}", "-V"]
    said = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    return len(re.findall(r"(?m)^\s+Description: Close Notify \(0\)", said))


def check(relay: Relay, keys: Path, folder: Path) -> None:
    ours = alerts(relay, keys)
    assert ours[Side.CLIENT] == [CLOSE_NOTIFY]
    assert set(ours[Side.SERVER]) <= {CLOSE_NOTIFY}
    assert sum(map(len, ours.values())) == tshark_alerts(relay, keys, folder)


@pytest.mark.parametrize("suite", SUITES_13)
@pytest.mark.parametrize("command", ["", "K"])
def test_tls_1_3(pki: Pki, tmp_path: Path, suite: str, command: str) -> None:
    keys = tmp_path / "keys"
    check(talk(pki, keys, "-tls1_3", ["-ciphersuites", suite], command), keys, tmp_path)


@pytest.mark.parametrize("suite", SUITES_12)
def test_tls_1_2(pki: Pki, tmp_path: Path, suite: str) -> None:
    keys = tmp_path / "keys"
    check(talk(pki, keys, "-tls1_2", ["-cipher", f"{suite}:@SECLEVEL=0"], ""), keys, tmp_path)


@pytest.mark.parametrize("suite", [SUITES_12[1], SUITES_12[5]])
def test_a_renegotiation(pki: Pki, tmp_path: Path, suite: str) -> None:
    """What tshark 4.0 does not follow is asked of us alone."""
    keys = tmp_path / "keys"
    relay = talk(pki, keys, "-tls1_2", ["-cipher", f"{suite}:@SECLEVEL=0"], "R")
    assert alerts(relay, keys)[Side.CLIENT] == [CLOSE_NOTIFY]


def test_the_mac_inside(pki: Pki, tmp_path: Path) -> None:
    """Without encrypt-then-MAC (RFC 7366), as older peers do it."""
    keys = tmp_path / "keys"
    options = ["-cipher", "ECDHE-ECDSA-AES256-SHA384:@SECLEVEL=0", "-no_etm"]
    check(talk(pki, keys, "-tls1_2", options, ""), keys, tmp_path)
