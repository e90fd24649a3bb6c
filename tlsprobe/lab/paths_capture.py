"""Captures on both sides of a router: two interfaces of one namespace, each with its own file.

Not the sniffer: that follows connections which the probe opens, and here nobody knows beforehand
under what name a connection leaves the router.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tlsprobe.captures.pcapng_writer import Writer
from tlsprobe.lab.namespaces import Namespace
from tlsprobe.netns import inside
from tlsprobe.packets.frames import ETHERNET, Frame

_ALL = 0x0003
_SOL_PACKET, _PACKET_STATISTICS = 263, 6
_SO_TIMESTAMPNS = 35
_SO_RCVBUFFORCE = 33
_BUFFER = 16 * 1024 * 1024
_FRAME_LIMIT = 65_600
_POLL_S = 0.1
_TIMESPEC = struct.Struct("=qq")


@dataclass(slots=True)
class Watched:
    """What passed one interface; complete once the block that watches it has ended.

    ``dropped`` counts frames that the kernel could not hand over.
    """

    interface: str
    frames: list[Frame] = field(default_factory=list)
    dropped: int = 0


@contextmanager
def watching(namespace: Namespace, interface: str, file: Path) -> Iterator[Watched]:
    """Keep every frame of an interface, in memory and in a pcapng file, until the block ends."""
    watched = Watched(interface)
    with inside(namespace.name):
        tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    stop = threading.Event()
    with tap:
        tap.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
        tap.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        tap.settimeout(_POLL_S)
        tap.bind((interface, _ALL))
        thread = threading.Thread(target=_keep, args=(tap, watched, stop), daemon=True)
        thread.start()
        try:
            yield watched
        finally:
            stop.set()
            thread.join()
            counts = tap.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8)
            watched.dropped = struct.unpack("=II", counts)[1]
            _write(watched, file)


def _keep(tap: socket.socket, watched: Watched, stop: threading.Event) -> None:
    """Until the block has ended and nothing is left to read."""
    while True:
        try:
            data, extra, _, _ = tap.recvmsg(_FRAME_LIMIT, 64)
        except TimeoutError:
            if stop.is_set():
                return
            continue
        seconds, nanoseconds = _TIMESPEC.unpack_from(extra[0][2])
        time_ns = seconds * 10**9 + nanoseconds
        watched.frames.append(Frame(len(watched.frames) + 1, time_ns, data))


def _write(watched: Watched, file: Path) -> None:
    with file.open("wb") as out:
        writer = Writer(out, ETHERNET, watched.interface)
        for frame in watched.frames:
            writer.packet(frame.time_ns, frame.data, len(frame.data))
        writer.finish(watched.dropped)
