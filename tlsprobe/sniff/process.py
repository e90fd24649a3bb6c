"""The sniffer process: one packet socket, and a pipe to whoever started it.

Run as ``python -m tlsprobe.sniff.process INTERFACE ADDRESS PORT``, where ``any`` stands for all
interfaces, and `ANY` for any address or port. A process of its own for
three reasons: it is the only one that needs a privilege, and gives it up before the first frame;
reading never waits for the probe's interpreter; and the packet library, whose licence is the GPL,
stays on its side of a pipe. See `sniffer_protocol` for what is said over it.

Frames are never dissected here. They are copied into the batch that is written to the pipe, and
that is all.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
import struct
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from fcntl import fcntl

from tlsprobe.model.target import Ports
from tlsprobe.sniff import bpf, privileges
from tlsprobe.sniff import protocol as sniffer_protocol
from tlsprobe.sniff.packet_socket import Listening, open_cooked_socket, open_packet_socket
from tlsprobe.sniff.protocol import ANY, ARMED, ENDED, FAILED, FRAME_HEAD, FRAMES, SYNCED, TALLY
from tlsprobe.sniff.reception import AT_ONCE, LARGEST_FRAME, Arrived, Reception
from tlsprobe.sniff.route import EVERY, Interface, describe, packed

RECEIVE_BUFFER = 64 * 1024 * 1024
BATCH = 1024 * 1024
PAUSE_S = 0.004
"""How long frames and questions gather: handling several at once costs hardly more than one.

Less than a race is announced before it begins (`hold`).
"""
STILL_NS = 1_000_000
"""A drain that meets a frame this much younger than its start has caught up."""

_SO_TIMESTAMPNS = 35
_SO_RCVBUFFORCE = 33
_SOL_PACKET, _PACKET_STATISTICS, _PACKET_AUXDATA = 263, 6, 8
_F_SETPIPE_SZ = 1031
_STATISTICS = struct.Struct("@II")
_COOKED = struct.Struct("!H2xIHBB8s")
"""The header of Linux's second cooked link type (``LINKTYPE_LINUX_SLL2``)."""
_MOST_BEFORE = 10_000
"""More frames than fit into the receive buffer that a socket begins with."""
_OUT = 1
_IN = 0


class Tap:
    """The packet socket and the batch that is being filled from it.

    ``cooked``: the socket passes packets without link headers, of all interfaces; each is given
    one that tells where it came from.
    """

    def __init__(self, packets: socket.socket, *, cooked: bool = False) -> None:
        self._packets = packets
        self._reception = Reception(packets)
        self._added = _COOKED.size if cooked else 0
        self._batch = bytearray(BATCH + sniffer_protocol.HEAD.size + TALLY.size)
        self._view = memoryview(self._batch)
        self._end = sniffer_protocol.HEAD.size
        self.sent = 0
        self.dropped = 0

    def fileno(self) -> int:
        """What to poll for frames."""
        return self._packets.fileno()

    def drain(self) -> None:
        """Reads until nothing is left of what had arrived when it was called.

        Bounded also when frames arrive as fast as they are read: one that is younger than the
        call ends it.
        """
        young = time.time_ns() + STILL_NS
        while True:
            arrived = self._reception.receive()
            latest_ns = self._gather(arrived)
            if len(arrived) < AT_ONCE or latest_ns > young:
                return

    def _gather(self, arrived: Arrived) -> int:
        """Copies frames into the batch; the time of the last of them."""
        view, frames, second = self._view, self._reception.frames, 10**9
        head, pack, added = FRAME_HEAD.size, FRAME_HEAD.pack_into, self._added
        slot = time_ns = 0
        for length, seconds, nanoseconds in arrived:
            time_ns = seconds * second + nanoseconds
            captured = length if length < LARGEST_FRAME else LARGEST_FRAME
            end = self._end + head + added + captured
            if end > BATCH:
                self.flush()
                end = self._end + head + added + captured
            at = slot * LARGEST_FRAME
            pack(view, self._end, time_ns, length + added, captured + added)
            view[end - captured : end] = frames[at : at + captured]
            if added:
                self._cook(end - captured - added, slot)
            self._end = end
            slot += 1
        self.sent += slot
        return time_ns

    def _cook(self, at: int, slot: int) -> None:
        """Writes the header of the packet in a slot, which tells where it came from."""
        protocol, index, hardware, direction, address = self._reception.source(slot)
        source = protocol, index, hardware, direction, len(address), address
        _COOKED.pack_into(self._batch, at, *source)

    def flush(self, behind: bytes = b"") -> None:
        """Writes the batch, if there is anything in it, and a tally behind it."""
        head, end = sniffer_protocol.HEAD.size, self._end
        sniffer_protocol.HEAD.pack_into(self._batch, 0, FRAMES, end - head)
        self._view[end : end + len(behind)] = behind
        write(self._view[0 if end > head else head : end + len(behind)])
        self._end = head

    def report(self, kind: bytes, number: int) -> None:
        """Everything up to now, then the tally, in one write: the parent wakes up once."""
        self.drain()
        self.dropped += statistics(self._packets)
        tally = TALLY.pack(number, self.sent, self.dropped)
        self.flush(sniffer_protocol.message(kind, tally))


def write(data: bytes | memoryview) -> None:
    """All of it, to the parent."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(_OUT, rest) :]


def statistics(packets: socket.socket) -> int:
    """Frames dropped since this was last asked: the kernel sets its counter back to zero."""
    answer = packets.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, _STATISTICS.size)
    return int(_STATISTICS.unpack(answer)[1])


@dataclass(frozen=True, slots=True)
class Passes:
    """What is captured: a server's address and port (None: any), or ports of our own."""

    address: bytes | None
    port: int | None
    ours: Ports | None

    def program(self, *, skip_outgoing: bool) -> tuple[bpf.Instruction, ...]:
        """The packet filter for it."""
        if self.ours is not None:
            return bpf.ports_filter(self.ours, skip_outgoing=skip_outgoing)
        return bpf.connection_filter(self.address, self.port, skip_outgoing=skip_outgoing)


def open_packets(interface: Interface, passes: Passes) -> Listening:
    """A packet socket that passes our connections only, and can never be made to pass more."""
    if interface.name == EVERY:
        listening = open_cooked_socket()
    else:
        listening = open_packet_socket(interface.name)
    packets = listening.ins
    bpf.attach(packets, passes.program(skip_outgoing=interface.loopback))
    packets.setsockopt(_SOL_PACKET, _PACKET_AUXDATA, 0)
    packets.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    discard(packets)
    enlarge(packets)
    statistics(packets)
    return listening


def discard(packets: socket.socket) -> None:
    """Throws away what came in before the filter was there; on a busy wire there is always more."""
    with suppress(BlockingIOError):
        for _ in range(_MOST_BEFORE):
            packets.recv(1, socket.MSG_DONTWAIT)


def enlarge(packets: socket.socket) -> None:
    """As much receive buffer as we are allowed: what bursts need while the parent is busy."""
    try:
        packets.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, RECEIVE_BUFFER)
    except PermissionError:
        packets.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)


def serve(tap: Tap) -> None:
    """Frames up, commands down, until the parent closes its end."""
    packets_or_commands, commands = select.poll(), select.poll()
    packets_or_commands.register(tap.fileno(), select.POLLIN)
    for poll in (packets_or_commands, commands):
        poll.register(_IN, select.POLLIN)
    rest = b""
    quiet_until = 0.0
    while True:
        left = quiet_until - time.monotonic()
        if left > 0 and not commands.poll(left * 1000):
            continue
        packets_or_commands.poll()
        time.sleep(PAUSE_S)
        if not commands.poll(0):
            tap.drain()
            tap.flush()
            continue
        asked = os.read(_IN, 4096)
        if not asked:
            return
        *lines, rest = (rest + asked).split(b"\n")
        for line in lines:
            word, _, number = line.partition(b" ")
            if word == b"hold":
                quiet_until = time.monotonic() + int(number) / 1000
            else:
                tap.report(SYNCED, int(number))


def run(name: str, passes: Passes) -> None:
    """The life of the process between its start and its last message. Raises OSError."""
    interface = describe(name)
    if interface.link is None:
        raise OSError(f"frames of interface {name} are of a kind that tlsprobe does not read")
    with open_packets(interface, passes) as listening:
        packets = listening.ins
        with suppress(OSError):
            fcntl(_OUT, _F_SETPIPE_SZ, BATCH)
        privileges.drop()
        room = packets.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        # The collector only ever finds the library's own cycles, at the cost of pauses.
        gc.disable()
        tap = Tap(packets, cooked=interface.name == EVERY)
        write(sniffer_protocol.note(ARMED, link=interface.link, receive_buffer=room))
        serve(tap)
        tap.report(ENDED, 0)


def main(arguments: list[str]) -> int:
    """Exit status 0 after a regular end, 1 after a failure that was reported."""
    # Ctrl-C reaches every process of the terminal; when the capture ends is the parent's to say.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    name, *passed = arguments
    try:
        run(name, _passes(*passed))
    except BrokenPipeError:
        return 0
    except OSError as error:
        with suppress(BrokenPipeError):
            write(sniffer_protocol.note(FAILED, message=explain(error, name)))
        return 1
    return 0


def _passes(address: str, port: str, ours: str) -> Passes:
    """What the words of the command line say is captured."""
    first, _, last = ours.partition("-")
    return Passes(
        None if address == ANY else packed(address),
        None if port == ANY else int(port),
        Ports(int(first), int(last)) if ours != ANY else None,
    )


def explain(error: OSError, interface: str) -> str:
    """A sentence for what the kernel said."""
    if isinstance(error, PermissionError):
        return "opening a packet socket needs root or the capability CAP_NET_RAW"
    return f"{interface}: {error.strerror or error}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
