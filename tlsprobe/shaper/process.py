"""The shaper's process: a network for our client, and the path from there to the server.

Run as ``python -m tlsprobe.shaper.process SETUP``, with a Unix socket to its parent as standard
input. Our client is a socket of the kernel's in a network namespace that holds one TUN device.
Each packet that the kernel sends through it is read here, put through the rules of its connection,
and sent to the server by a raw socket from the host's own address; what the server answers is read
off a packet socket and written to the TUN device. The client's kernel never sees more than this.

Everything that needs a privilege is opened first, then the privileges are given up. The namespace,
the device and the connections end with this process and its sockets, whatever ends it.

Source: packet(7), raw(7), tun.txt (Documentation/networking/tuntap.rst), network_namespaces(7).
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Iterable
from contextlib import suppress

from tlsprobe.model.verbs import Treatment
from tlsprobe.shaper.packet import TcpPacket, build, parse
from tlsprobe.shaper.protocol import (
    LARGEST,
    Answer,
    Do,
    Order,
    Setup,
    read_order,
    read_setup,
    written,
)
from tlsprobe.shaper.rules import Path, Treated
from tlsprobe.sniff import bpf, privileges
from tlsprobe.sniff.route import packed

INSIDE = {4: ("198.18.0.1", "198.18.0.2"), 16: ("fd74:6c73::1", "fd74:6c73::2")}
"""The client's address and the server's in the client's network, by the length of an address.

198.18.0.0/15 is for tests of network devices (RFC 2544); nobody else is in this network anyway.
"""

_DEVICE = b"tlsprobe"
_BUFFER = 8 * 1024 * 1024
_LARGEST_PACKET = 1 << 17
_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x4000_0000
_TUNSETIFF = 0x4004_54CA
_IFF_TUN, _IFF_NO_PI = 0x0001, 0x1000
_SIOCGIFINDEX = 0x8933
_SIOCGIFFLAGS, _SIOCSIFFLAGS = 0x8913, 0x8914
_SIOCSIFADDR, _SIOCSIFNETMASK, _SIOCSIFMTU = 0x8916, 0x891C, 0x8922
_IFF_UP = 0x1
_ETHERTYPES = {4: bpf.IPV4, 16: bpf.IPV6}
_SO_RCVBUFFORCE = 33

NEEDS = "it needs root, or CAP_NET_RAW and CAP_NET_ADMIN where users may make namespaces"
"""What to say to whom the kernel refuses something of all this."""

_MOST_WAIT_S, _POLL_S = 10.0, 0.001
"""How long the kernel may take for an address of IPv6, and how often it is asked."""


class Forwarder:
    """The sockets of both networks, and a path for each connection, by the client's port."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._server, self._ours = packed(setup.server), packed(setup.ours)
        size = len(self._server)
        self._inside = tuple(map(packed, INSIDE[size]))
        self._family = socket.AF_INET if size == 4 else socket.AF_INET6
        self._out = socket.socket(self._family, socket.SOCK_RAW, socket.IPPROTO_RAW)
        self._to = socket.getaddrinfo(
            setup.server, None, self._family, flags=socket.AI_NUMERICHOST
        )[0][4]
        self._in = _packets_from(setup, self._server)
        self._tun = _client_network(setup.mtu, size)
        self._paths: dict[int, Path] = {}

    def serve(self, parent: socket.socket) -> None:
        """Forward packets and take orders until the parent is gone."""
        poll = select.poll()
        for one in (self._tun, self._in.fileno(), parent.fileno()):
            poll.register(one, select.POLLIN)
        while True:
            ready = {descriptor for descriptor, _ in poll.poll(self._patience_ms())}
            # What was written before an order was given is on its way before it is carried out.
            self._from_client()
            self._from_server()
            self._due()
            if parent.fileno() in ready:
                asked = parent.recv(LARGEST)
                if not asked:
                    return
                self._answer(parent, read_order(asked))

    def _patience_ms(self) -> float | None:
        due = [path.due_ns for path in self._paths.values() if path.due_ns is not None]
        return max(0.0, (min(due) - time.time_ns()) / 1e6) if due else None

    def _from_client(self) -> None:
        with suppress(BlockingIOError):
            while True:
                packet = parse(os.read(self._tun, _LARGEST_PACKET))
                path = self._paths.get(packet.source_port) if packet is not None else None
                if packet is not None and path is not None:
                    self._send(path.from_client(packet, time.time_ns()))

    def _from_server(self) -> None:
        with suppress(BlockingIOError):
            while True:
                packet = parse(self._in.recv(_LARGEST_PACKET))
                if packet is None or packet.source != self._server:
                    continue
                path = self._paths.get(packet.destination_port)
                ours = path is not None and packet.source_port == path.server_port
                if path is not None and ours and packet.destination == self._ours:
                    self._deliver(path.from_server(packet, time.time_ns()))

    def _due(self) -> None:
        for path in self._paths.values():
            if path.due_ns is not None:
                self._deliver(path.due(time.time_ns()))

    def _send(self, packets: Iterable[TcpPacket]) -> None:
        """To the server; one that cannot leave is lost, as on any path."""
        for packet in packets:
            named = packet._replace(source=self._ours, destination=self._server)
            with suppress(OSError):
                self._out.sendto(build(named), self._to)

    def _deliver(self, packets: Iterable[TcpPacket]) -> None:
        """To the client."""
        client, server = self._inside
        for packet in packets:
            with suppress(OSError):
                os.write(self._tun, build(packet._replace(source=server, destination=client)))

    # --- orders -----------------------------------------------------------------------------------

    def _answer(self, parent: socket.socket, order: Order) -> None:
        try:
            answer, made = self._obey(order)
        except OSError as error:
            answer, made = Answer(error.strerror or str(error)), None
        if made is None:
            parent.send(written(answer))
            return
        with made:
            socket.send_fds(parent, [written(answer)], [made.fileno()])

    def _obey(self, order: Order) -> tuple[Answer, socket.socket | None]:
        if order.do is Do.OPEN:
            made = self._client(order.port)
            self._paths[order.port] = Path()
            return Answer(), made
        path = self._paths.get(order.port)
        if path is None:
            return Answer("no such connection"), None
        if order.do is Do.FORGET:
            self._send(path.leave())
            del self._paths[order.port]
            return Answer(shaped=tuple(path.actions)), None
        self._send(_carry_out(path, order, time.time_ns()))
        return Answer(), None

    def _client(self, port: int) -> socket.socket:
        """A socket in the client's network, at this port."""
        made = socket.socket(self._family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            made.bind((INSIDE[len(self._server)][0], port))
        except OSError:
            made.close()
            raise
        return made


def _carry_out(path: Path, order: Order, now_ns: int) -> list[TcpPacket]:  # noqa: PLR0911
    """What an order has us send to the server at once."""
    match order.do:
        case Do.TREAT:
            how = next(treatment for treatment in Treatment if treatment == order.how)
            path.treat(Treated(how, order.start, order.end, order.count))
        case Do.HOLD_FIN:
            path.hold_fin(order.count)
        case Do.RELEASE:
            return path.release(now_ns)
        case Do.SHUT_WINDOW:
            return path.shut_window(now_ns)
        case Do.OPEN_WINDOW:
            return path.open_window(now_ns)
        case Do.MUTE:
            return path.mute(now_ns)
        case Do.UNMUTE:
            return path.unmute(now_ns)
        case Do.RESET:
            return path.reset(order.count, now_ns)
        case Do.OPEN | Do.FORGET:
            raise AssertionError(f"'{order.do}' is carried out elsewhere")
    return []


def _packets_from(setup: Setup, server: bytes) -> socket.socket:
    """Every packet that comes in of the server's address, and port if it has one. Raises OSError.

    Without link headers; a socket that listens to one protocol is not shown what goes out.
    """
    packets = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, 0)
    bpf.attach(packets, bpf.connection_filter(server, setup.port))
    with suppress(PermissionError):
        packets.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
    packets.bind((setup.interface, _ETHERTYPES[len(server)]))
    return packets


def _client_network(mtu: int, size: int) -> int:
    """Move into a network of its own, with one device; what reads and writes its packets.

    Who may make none has one in a user namespace, where that is allowed. Raises OSError.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET) != 0 and libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"no network namespace can be made: {os.strerror(error)}")
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    wanted = struct.pack("16sH22x", _DEVICE, _IFF_TUN | _IFF_NO_PI)
    fcntl.ioctl(tun, _TUNSETIFF, wanted)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFMTU, struct.pack("16si20x", _DEVICE, mtu))
        if size == 4:
            _address_ipv4(any_socket)
        flags = struct.unpack_from("16sH", _ask(any_socket, _SIOCGIFFLAGS))[1]
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sH22x", _DEVICE, flags | _IFF_UP))
        if size == 16:
            _address_ipv6(struct.unpack_from("16si", _ask(any_socket, _SIOCGIFINDEX))[1])
    return tun


def _ask(any_socket: socket.socket, question: int) -> bytes:
    return fcntl.ioctl(any_socket, question, struct.pack("16s24x", _DEVICE))


def _address_ipv4(any_socket: socket.socket) -> None:
    """An address, and with it the route to its network."""
    for question, address in ((_SIOCSIFADDR, INSIDE[4][0]), (_SIOCSIFNETMASK, "255.255.255.0")):
        where = struct.pack("=HH4s8x", socket.AF_INET, 0, packed(address))
        fcntl.ioctl(any_socket, question, struct.pack("16s16s8x", _DEVICE, where))


def _address_ipv6(index: int) -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as any_socket:
        where = struct.pack("=16sIi", packed(INSIDE[16][0]), 64, index)
        fcntl.ioctl(any_socket, _SIOCSIFADDR, where)
    _wait_until_it_is_ours()


def _wait_until_it_is_ours() -> None:
    """Wait for the kernel to find that nobody else has the address of IPv6.

    There is nobody to ask, but it takes a worker of the kernel's a moment to see that, longer where
    the machine is busy; until then nobody can use the address (RFC 4862 section 5.4).
    """
    for left in reversed(range(round(_MOST_WAIT_S / _POLL_S))):
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as any_socket:
            try:
                any_socket.bind((INSIDE[16][0], 0))
            except OSError as error:
                if error.errno != errno.EADDRNOTAVAIL or not left:
                    raise
            else:
                return
        time.sleep(_POLL_S)


def main(words: str) -> int:
    """Exit status 0 after a regular end, 1 after a failure that was reported."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # when it ends is the parent's to say
    with socket.socket(fileno=os.dup(0)) as parent:
        try:
            forwarder = Forwarder(read_setup(words))
            privileges.drop()
        except OSError as error:
            parent.send(written(Answer(_explained(error))))
            return 1
        parent.send(written(Answer()))
        with suppress(ConnectionError):
            forwarder.serve(parent)
    return 0


def _explained(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no /dev/net/tun"
    if isinstance(error, PermissionError):
        return NEEDS
    return error.strerror or str(error)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
