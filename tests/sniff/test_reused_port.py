"""One client port, used again and again on real loopback: each connection gets its own packets."""

from __future__ import annotations

import socket
import struct
import time
from contextlib import closing

import pytest
import trio

from tlsprobe.model.trace import Coverage, Side
from tlsprobe.sniff.capture import Capture, open_capture

pytestmark = [pytest.mark.packet_socket, pytest.mark.usefixtures("nothing_left")]

TIMES = 120
HOSTS = {"127.0.0.1": socket.AF_INET, "::1": socket.AF_INET6}
LINGER_ZERO = struct.pack("ii", 1, 0)

Span = tuple[int, int]


def exchange(listening: socket.socket, source: tuple[str, int], size: int, when: str) -> Span:
    """A connection from this very port, which an RST frees at once; when it was opened."""
    client = socket.socket(listening.family)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_ZERO)
    client.bind(source)
    with client:
        begun_ns = time.time_ns()
        client.connect(listening.getsockname()[:2])
        connected_ns = time.time_ns()
        server, _ = listening.accept()
        with server:
            client.sendall(bytes(size))
            server.sendall(bytes(2 * size))
            if when == "after the server's FIN":
                server.shutdown(socket.SHUT_WR)
            client.close()
    return begun_ns, connected_ns


@pytest.mark.parametrize("when", ["before any FIN", "after the server's FIN"])
@pytest.mark.parametrize("host", HOSTS)
def test_each_connection_of_a_port_has_its_own_packets(host: str, when: str) -> None:
    """None is taken before all are over: late and early packets of others lie beside each."""

    async def main(listening: socket.socket, source: tuple[str, int]) -> None:
        port = listening.getsockname()[1]
        async with open_capture("packet", host, port, require=True) as capture:
            spans = []
            for size in range(1, TIMES + 1):
                spans.append(exchange(listening, source, size, when))
                capture.expect(source)
                if not size % 10:
                    await trio.lowlevel.checkpoint()
            await capture.settle()
            check(capture, source, spans)

    def check(capture: Capture, source: tuple[str, int], spans: list[Span]) -> None:
        for size, span in enumerate(spans, 1):
            segments, coverage = capture.take(source, *span)
            lengths = {side: [s.length for s in segments if s.side is side] for side in Side}
            assert coverage is Coverage.WHOLE
            assert sum(lengths[Side.CLIENT]) == size
            assert sum(lengths[Side.SERVER]) == 2 * size
            assert [s.syn for s in segments].count(True) == 2
            assert any(s.rst and s.side is Side.CLIENT for s in segments)

    family = HOSTS[host]
    with closing(socket.create_server((host, 0), family=family, backlog=512)) as listening:
        with socket.socket(family) as free:
            free.bind((host, 0))
            source = free.getsockname()[:2]
        trio.run(main, listening, source)
