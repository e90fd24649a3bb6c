"""Conversations as packets: a small language for captures that nobody made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Self

from tlsprobe.captures.reading import Kind
from tlsprobe.captures.summary import Summary
from tlsprobe.captures.wireshark_info import Carried
from tlsprobe.explain import Filter, explain
from tlsprobe.model.explanation import ExplainedFlow, Explanation
from tlsprobe.packets.packet import Endpoint, Packet, flow_key

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
STEP_NS = 1_000_000
START_NS = 1_790_000_000 * 10**9


def host(text: str) -> bytes:
    return bytes(map(int, text.split(".")))


CLIENT: Endpoint = (host("192.0.2.1"), 40000)
SERVER: Endpoint = (host("192.0.2.2"), 443)


@dataclass
class Talk:
    """Two ends that take turns; every packet acknowledges all that came before it."""

    client: Endpoint = CLIENT
    server: Endpoint = SERVER
    seqs: list[int] = field(default_factory=lambda: [1000, 5000])
    packets: list[Packet] = field(default_factory=list)
    number: int = 0
    now: int = START_NS
    relative: bool = False

    def c(self, flags: int = ACK, payload: bytes = b"", **fields: object) -> Talk:
        return self._say(0, flags, payload, fields)

    def s(self, flags: int = ACK, payload: bytes = b"", **fields: object) -> Talk:
        return self._say(1, flags, payload, fields)

    def open(self) -> Talk:
        return self.c(SYN).s(SYN | ACK).c()

    def wait(self, seconds: float) -> Talk:
        self.now += round(seconds * 1e9)
        return self

    def bare_rst(self, way: int = 1, **fields: object) -> Talk:
        """The answer to the peer's last segment, whose acknowledgement it repeats."""
        bare: dict[str, object] = {"seq": self.seqs[way], "ack": None, "window": 0, "ip_id": 0}
        return self._say(way, RST, b"", bare | {"timestamps": False} | fields)

    def _say(self, way: int, flags: int, payload: bytes, fields: dict[str, object]) -> Talk:
        self.number += 1
        self.now += STEP_NS
        ends = (self.client, self.server) if way == 0 else (self.server, self.client)
        packet = Packet(
            number=self.number,
            time_ns=self.now,
            key=flow_key(*ends),
            seq=self.seqs[way] % 2**32,
            ack=self.seqs[1 - way] % 2**32 if flags & ACK else None,
            flags=flags,
            window=512,
            length=len(payload),
            payload=payload,
            ttl=64,
            ip_id=(self.number * 3) % 2**16,
            df=True,
            timestamps=True,
            window_scale=None,
            options=None,
            interface=0,
            relative=self.relative,
        )
        packet = packet._replace(**fields)  # type: ignore[arg-type]
        self.packets.append(packet)
        if not flags & RST and "seq" not in fields:
            self.seqs[way] += packet.length + bool(flags & SYN) + bool(flags & FIN)
        return self


class Given:
    """A reading of packets that are there already."""

    name = "given"

    def __init__(self, packets: Iterable[Packet], kind: Kind, secrets: Sequence[bytes]) -> None:
        self.truncated: str | None = None
        self.first_skipped: str | None = None
        self.other = self.skipped = self.disordered = self.lacking = self.lost = 0
        self._packets = list(packets)
        self.kind = kind
        self.total = len(self._packets)
        self.secrets = list(secrets)
        self.carried: dict[int, Carried] = {}
        self.notes: list[str] = []

    def summary(self) -> Summary:
        summary = Summary()
        for packet in self._packets:
            numbers = packet.seq.to_bytes(4, "big") + (packet.ack or 0).to_bytes(4, "big")
            summary.note(packet.key, packet.number, packet.time_ns, packet.flags, numbers)
        return summary

    def packets(self, wanted: Callable[[bytes], bool] | None = None) -> Iterator[Packet]:
        for packet in self._packets:
            if wanted is None or wanted(packet.key):
                yield packet

    def stretches(self, wanted: Callable[[bytes], bool]) -> Iterator[Packet]:
        return self.packets(wanted)

    def close(self) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


ALL = Filter(quiet=True)


def explained(
    *talks: Talk,
    kind: Kind = "pcap",
    secrets: Sequence[bytes] = (),
    wanted: Filter = ALL,
) -> Explanation:
    packets = sorted((p for talk in talks for p in talk.packets), key=lambda p: p.time_ns)
    numbered = [p._replace(number=n) for n, p in enumerate(packets, 1)]
    return explain(Given(numbered, kind, secrets), wanted)


def flow_of(*talks: Talk, kind: Kind = "pcap", secrets: Sequence[bytes] = ()) -> ExplainedFlow:
    (flow,) = explained(*talks, kind=kind, secrets=secrets).flows
    return flow


# --- TLS ------------------------------------------------------------------------------------------


def record(kind: int, body: bytes) -> bytes:
    return bytes((kind, 3, 3)) + len(body).to_bytes(2, "big") + body


def sealed(size: int) -> bytes:
    """Application data, or what looks like it in TLS 1.3."""
    return record(23, bytes(size))


CLIENT_RANDOM = bytes(range(32))
CLIENT_HELLO = record(22, b"\x01\x00\x00\x40\x03\x03" + CLIENT_RANDOM + bytes(30))


def server_hello(version: int = 0x0304, cipher: int = 0x1302) -> bytes:
    extension = b"\x00\x2b\x00\x02" + version.to_bytes(2, "big")
    body = b"\x03\x03" + bytes(range(32, 64)) + b"\0" + cipher.to_bytes(2, "big") + b"\0"
    body += len(extension).to_bytes(2, "big") + extension
    return record(22, b"\x02" + len(body).to_bytes(3, "big") + body)


CCS = record(20, b"\1")
FINISHED_13 = sealed(69)
ALERT_13 = sealed(19)
ALERT_12 = record(21, bytes(26))
DATA = sealed(200)


def tls13(talk: Talk | None = None) -> Talk:
    """Handshake, two tickets, a request and its response: TLS 1.3."""
    talk = (talk or Talk()).open().c(PSH | ACK, CLIENT_HELLO)
    talk.s(PSH | ACK, server_hello() + CCS + sealed(50) + sealed(900) + FINISHED_13)
    talk.c(PSH | ACK, CCS + FINISHED_13).s(PSH | ACK, sealed(250) + sealed(250))
    return talk.c(PSH | ACK, DATA).s(PSH | ACK, DATA)


def tls12(talk: Talk | None = None) -> Talk:
    """The same in TLS 1.2, with AES-GCM."""
    talk = (talk or Talk()).open().c(PSH | ACK, CLIENT_HELLO)
    talk.s(PSH | ACK, server_hello(0x0303, 0xC030) + record(22, bytes(900)))
    finished = CCS + record(22, bytes(40))
    talk.c(PSH | ACK, record(22, bytes(70)) + finished).s(PSH | ACK, finished)
    return talk.c(PSH | ACK, DATA).s(PSH | ACK, DATA)
