"""What tcpdump prints of a capture is read back as what our reader finds in the capture itself."""

from __future__ import annotations

import shutil
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import servers
from tests.servers import GENEROUS_S
from tlsprobe.captures.reader import open_capture_file
from tlsprobe.packets.packet import Packet

pytestmark = [pytest.mark.packet_socket, pytest.mark.server("tcpdump")]


def talk(address: str, port: int) -> None:
    """Four connections: closed, reset by the server while data comes in, refused, half-closed."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, port), family=family) as listener:
        where = listener.getsockname()[:2]
        for end in ("close", "linger", "half"):
            with socket.create_connection(where, 10) as client, listener.accept()[0] as server:
                server.settimeout(GENEROUS_S)
                client.sendall(b"x" * 3000)
                assert server.recv(3000, socket.MSG_WAITALL if end == "half" else 0)
                server.sendall(b"y" * 300)
                assert client.recv(300)
                if end == "linger":
                    server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    server.close()
                elif end == "half":
                    server.close()
                    client.sendall(b"late")
                    time.sleep(0.05)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(where)


def nameless_port() -> int:
    """A free port that tcpdump prints as a number."""
    while True:
        port = servers.free_port()
        try:
            socket.getservbyport(port, "tcp")
        except OSError:
            return port


@pytest.fixture(scope="module", params=["lo", "any"])
def capture(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A capture of real connections, over IPv4 and IPv6, as tcpdump writes it."""
    program = servers.need_server("tcpdump")
    path = tmp_path_factory.mktemp("capture") / f"{request.param}.pcap"
    # In immediate mode the ring holds a frame of the snap length for each packet, however small.
    sizes = ["-s", "8192", "-B", "32768"]
    asked = ["-U", "--immediate-mode", *sizes, "-i", request.param, "-w", str(path)]
    port = nameless_port()  # of our own: others may be talking on loopback
    command = [program, *asked, f"tcp port {port}"]
    started = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert started.stderr is not None
    with started:
        while "listening on" not in (line := started.stderr.readline()):
            assert line, "tcpdump did not start"
        talk("127.0.0.1", port)
        talk("::1", port)
        time.sleep(0.5)
        started.send_signal(signal.SIGINT)
        assert "\n0 packets dropped by kernel" in started.stderr.read()
    return path


def printed(capture: Path, *options: str) -> Path:
    """What tcpdump prints of it with these options."""
    program = shutil.which("tcpdump")
    assert program is not None
    asked = [program, "-r", str(capture), *options]
    done = subprocess.run(asked, capture_output=True, check=True)
    text = capture.with_suffix("." + "".join(options).strip("-") + ".txt")
    text.write_bytes(done.stdout)
    return text


def told(packets: Iterator[Packet], *, ip: bool) -> list[tuple[object, ...]]:
    """The fields that a text tells; with ``ip`` those of -v too."""
    return [
        (
            *(p.src, p.dst, p.ack, p.flags, p.window, p.length, p.timestamps, p.window_scale),
            *((p.ttl, p.ip_id, p.df) if ip else ()),
        )
        for p in packets
    ]


OPTIONS = [
    "-n -S",
    "-n",
    "-nn",
    "-nnS -t",
    "-nS -tt",
    "-n -ttt",
    "-n -tttt",
    "-nS -ttttt",
    "-nSv",
    "-nvv",
    "-nSe",
    "-nev",
    "-n -#",
    "-nSx",
    "-nA",
    "-nSX",
    "-n --nano",
]


@pytest.mark.parametrize("options", OPTIONS)
def test_text_and_capture_agree(capture: Path, options: str) -> None:
    with open_capture_file(capture) as whole:
        expected = list(whole.packets())
    assert len(expected) > 30
    with open_capture_file(printed(capture, *options.split())) as reading:
        found = list(reading.packets())
    assert (reading.kind, reading.skipped, reading.first_skipped) == ("text", 0, None)
    assert (reading.total, reading.other) == (whole.total, whole.other)
    ip = "v" in options
    assert told(iter(found), ip=ip) == told(iter(expected), ip=ip)
    assert [p.number for p in found] == [p.number for p in expected]
    # tcpdump leaves out the sequence number of a segment without any payload or SYN, FIN, RST.
    for ours, theirs in zip(found, expected, strict=True):
        if theirs.length or theirs.flags & 7:
            assert ours.seq == theirs.seq
    assert not any(p.relative for p in found)
    if "-t " not in f"{options} ":
        since = [found[0].time_ns, expected[0].time_ns]
        for ours, theirs in zip(found, expected, strict=True):
            assert abs((ours.time_ns - since[0]) - (theirs.time_ns - since[1])) <= 1000 * len(found)


def test_filled_in_numbers_are_those_of_the_wire(capture: Path) -> None:
    """A pure acknowledgement's own number is what the sender has reached."""
    with open_capture_file(capture) as whole:
        expected = {p.number: p.seq for p in whole.packets()}
    with open_capture_file(printed(capture, "-n")) as reading:
        wrong = [p for p in reading.packets() if p.seq != expected[p.number]]
    assert wrong == []
