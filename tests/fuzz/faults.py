"""Seeded faults: what each server does wrong, when, and the shortest close that shows it.

Every one is polite but for its fault, which shows only in the order, size, time, TLS version or
crowd that its row names.
"""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import trio

from tlsprobe.model.target import TlsVersion
from tlsprobe.reference.behaviours import BEHAVIOURS, End
from tlsprobe.reference.dialects import Gone, Lines, Manner
from tlsprobe.reference.peer import Occasion, Peer
from tlsprobe.tls import TlsContext

_SOON = 0.05
_LATE = 0.25
_FOREVER = 30.0
_PLAINLY = Manner()
_OVERHEAD = {TlsVersion.TLS12: 29, TlsVersion.TLS13: 22}
_64K = 2**16
_ALERT, _BYE, _PING = 2, 4, 5
"""Bytes of what may come behind an end, inside its record."""


@dataclass(slots=True)
class House:
    """What the connections of one server share: how many there are, and where it listens."""

    open: int = 0
    most: int = 0
    listener: socket.socket | None = None
    turn: int = 0
    luck: random.Random = field(default_factory=random.Random)


class Seeded(Peer):
    """A peer that remembers what it was sent."""

    def __init__(
        self, sock: trio.socket.SocketType, context: TlsContext, fault: Fault, house: House
    ) -> None:
        super().__init__(sock, context, _PLAINLY)
        self.fault = fault
        self.house = house
        self.words: list[bytes] = []
        self.spoke = trio.current_time()
        self.gap = 0.0
        self.together = 0

    @property
    def version(self) -> TlsVersion:
        return self._tls.version

    @property
    def asked(self) -> int:
        """How many whole requests came."""
        return b"".join(self.words).count(b"\n")

    @property
    def is_half(self) -> bool:
        """Whether the last request is not whole."""
        return bool(self.words) and not self.words[-1].endswith(b"\n")

    @property
    def was_large(self) -> bool:
        return any(words.startswith(b"get ") for words in self.words)

    async def serve(self) -> Occasion:
        self.spoke = trio.current_time()
        occasion = await super().serve()
        self._mind_the_gap()
        self.together = self.house.open
        return occasion

    async def _answer(self, words: bytes) -> Occasion | None:
        self._mind_the_gap()
        self.words.append(words)
        if self.fault.answer is not None:
            return await self.fault.answer(self, words)
        return await super()._answer(words)

    def _mind_the_gap(self) -> None:
        now = trio.current_time()
        self.gap, self.spoke = max(self.gap, now - self.spoke), now

    async def answer_as_usual(self, words: bytes) -> Occasion | None:
        return await super()._answer(words)

    async def behind(self) -> int:
        """How many bytes are in the first record behind the one that ended it; 0 without one."""
        with trio.move_on_after(_LATE):
            record = await self._record()
            return max(0, len(record) - _OVERHEAD[self.version])
        return 0

    async def half_of(self, words: bytes) -> None:
        """Half of the response to these words."""
        response = b"".join(turn.response for turn in Lines().feed(words))
        await self.say(response[: len(response) // 2])


Asked = Callable[[Seeded, Occasion], bool]
Bad = Callable[[Seeded, Occasion], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Fault:
    """A seeded fault: what it is about, how it ends, and the shortest close that shows it.

    ``breaks`` are properties that say so. ``answer`` and ``greet`` replace what an honest server
    does with a request and in the handshake. ``deadly``: it takes the whole server with it.
    """

    name: str
    about: str
    shortest: str
    breaks: tuple[str, ...]
    end: Bad
    answer: Callable[[Seeded, bytes], Awaitable[Occasion | None]] | None = None
    greet: Callable[[Seeded], Awaitable[None]] | None = None
    deadly: bool = False


def _as(name: str) -> End:
    return BEHAVIOURS[name].end


_polite = _as("polite")


async def _rude(peer: Seeded, _: Occasion) -> None:
    await peer.notify()
    await peer.unread(_SOON)
    peer.close()


async def _abort(peer: Seeded, _: Occasion) -> None:
    await trio.sleep(0.005)
    peer.abort()


async def _stay(_: Seeded, __: Occasion) -> None:
    await trio.sleep(_FOREVER)


def _when(asked: Asked, bad: Bad) -> Bad:
    """Bad where it is asked for, and polite everywhere else."""

    async def end(peer: Seeded, occasion: Occasion) -> None:
        await (bad if asked(peer, occasion) else _polite)(peer, occasion)

    return end


def _on(*occasions: Occasion) -> Asked:
    return lambda _, occasion: occasion in occasions


def _both(one: Asked, other: Asked) -> Asked:
    return lambda peer, occasion: one(peer, occasion) and other(peer, occasion)


def _in(version: TlsVersion) -> Asked:
    return lambda peer, _: peer.version is version


def _one_in(many: int) -> Asked:
    return lambda peer, _: peer.house.luck.random() * many < 1


def _one_in_turn(many: int) -> Asked:
    """Every so manyth that is asked about, by the count."""

    def asked(peer: Seeded, _: Occasion) -> bool:
        peer.house.turn += 1
        return peer.house.turn % many == 0

    return asked


def _said(word: bytes) -> Asked:
    return lambda peer, _: word in b"".join(peer.words)


def _crowd(most: int) -> Asked:
    return lambda peer, _: peer.together > most


def _asked(least: int) -> Asked:
    return lambda peer, _: peer.asked >= least


def _gap(least: float, most: float) -> Asked:
    return lambda peer, _: least <= peer.gap < most


def _large(peer: Seeded, _: Occasion) -> bool:
    return peer.was_large


def _half(peer: Seeded, _: Occasion) -> bool:
    return peer.is_half


_GOODBYE, _NOTIFIED = _on(Occasion.GOODBYE), _on(Occasion.NOTIFIED)
_EOF, _IDLE = _on(Occasion.EOF), _on(Occasion.IDLE)
_V12, _V13 = _in(TlsVersion.TLS12), _in(TlsVersion.TLS13)


def _behind(wanted: int, bad: Bad) -> Bad:
    """Polite, unless such bytes come behind the client's alert or goodbye, within a moment."""

    async def end(peer: Seeded, occasion: Occasion) -> None:
        await peer.notify()
        if occasion in {Occasion.GOODBYE, Occasion.NOTIFIED} and await peer.behind() == wanted:
            await bad(peer, occasion)
            return
        peer.fin()
        await peer.linger(2.0)
        peer.close()

    return end


async def _reset_now(peer: Seeded, _: Occasion) -> None:
    peer.abort()


async def _drops_tail(peer: Seeded, words: bytes) -> Occasion | None:
    """A large response of which the rest is forgotten if the client's end is there already."""
    if not words.startswith(b"get "):
        return await peer.answer_as_usual(words)
    with trio.move_on_after(0.02):
        await trio.lowlevel.wait_readable(peer._socket)
        await peer.half_of(words.partition(b"\n")[0] + b"\n")
        return Occasion.CUT
    return await peer.answer_as_usual(words)


async def _cuts_second(peer: Seeded, words: bytes) -> Occasion | None:
    """The second response on a connection ends in its middle."""
    if peer.asked < 2 or b"bye" in words:
        return await peer.answer_as_usual(words)
    await peer.half_of(words)
    return Occasion.CUT


async def _drops_behind_64k(peer: Seeded, words: bytes) -> Occasion | None:
    """A response that takes more than 64 KiB, cut there if the client's end comes meanwhile."""
    response = b"".join(turn.response for turn in Lines().feed(words))
    if len(response) <= _64K or b"bye" in words:
        return await peer.answer_as_usual(words)
    await peer.say(response[:_64K])
    with trio.move_on_after(_SOON):
        await trio.lowlevel.wait_readable(peer._socket)
        return Occasion.CUT
    await peer.say(response[_64K:])
    return None


async def _second_alert_late(peer: Seeded, _: Occasion) -> None:
    await peer.notify()
    await trio.sleep(0.15)
    await peer.notify_again()
    peer.fin()
    await peer.linger(2.0)
    peer.close()


async def _abort_late(peer: Seeded, _: Occasion) -> None:
    """Answers the alert, and aborts where its FIN would come."""
    await peer.notify()
    await trio.sleep(0.2)
    peer.abort()


async def _twice(peer: Seeded, _: Occasion) -> None:
    await _as("repeating")(peer, Occasion.NOTIFIED)


async def _talks_on(peer: Seeded, _: Occasion) -> None:
    await peer.notify()
    await peer.say_plainly(b"one more thing\n")
    peer.fin()


async def _late_alert(peer: Seeded, occasion: Occasion) -> None:
    """Its alert goes out only when the client has closed, or after a long time."""
    await peer.linger(6.0)
    await _polite(peer, occasion)


async def _fails(peer: Seeded, occasion: Occasion) -> None:
    await _as("failing-open")(peer, occasion)


async def _deaf(peer: Seeded, occasion: Occasion) -> None:
    """Stops listening, for good."""
    listener = peer.house.listener
    if listener is not None:
        listener.close()
    await _polite(peer, occasion)


async def _dies(_: Seeded, __: Occasion) -> None:
    os._exit(3)


async def _greet_forever(peer: Seeded) -> None:
    """Keeps a connection whose client has left before the handshake was over."""
    try:
        await peer.handshake()
    except Gone:
        await trio.sleep(_FOREVER)


async def _greet_whole_hello_only(peer: Seeded) -> None:
    """Resets a client that leaves in the middle of its hello."""
    header = await peer._exactly(5)
    rest = await peer._exactly(header[3] << 8 | header[4]) if header else b""
    if header and not rest:
        peer.abort()
    if not rest:
        raise Gone
    peer._tls.receive(header + rest)
    await peer._send(peer._tls.output())
    await peer.handshake()


async def _greet_alert_forever(peer: Seeded) -> None:
    """Keeps a connection in whose handshake an alert came."""
    while not peer._tls.handshaken:
        record = await peer._record()
        if not record:
            raise Gone
        if record[0] == 21:
            await trio.sleep(_FOREVER)
        peer._tls.receive(record)
        await peer._send(peer._tls.output())
        if peer._tls.failure:
            raise Gone


_RESETS = ("no-reset-before-fin", "no-deliberate-abort", "no-data-lost")
_NOTIFY = ("notify-before-fin",)
_ENDS = ("ends",)
_LOST = ("no-data-lost",)
_RULES = ("rules",)
_PATH = ("next-connection",)


def _f(
    name: str,
    about: str,
    shortest: str,
    breaks: tuple[str, ...],
    end: Bad,
    **more: object,
) -> Fault:
    return Fault(name, about, shortest, breaks, end, **more)  # type: ignore[arg-type]


FAULTS = {
    fault.name: fault
    for fault in (
        _f(
            *("unread-behind-goodbye", "ordering", "terminate; close_notify; drain", _RESETS),
            _when(_GOODBYE, _rude),
        ),
        _f(
            *("unread-behind-alert", "ordering", "close_notify; close_notify; drain", _RESETS),
            _when(_NOTIFIED, _rude),
        ),
        _f("abort-at-eof", "ordering", "fin; drain", _RESETS, _when(_EOF, _abort)),
        _f(
            "silent-after-goodbye",
            "ordering",
            "terminate; drain",
            _NOTIFY,
            _when(_GOODBYE, _as("silent")),
        ),
        _f(
            *("silent-at-eof-after-request", "ordering", "request; fin; drain", _NOTIFY),
            _when(_both(_EOF, _asked(1)), _as("silent")),
        ),
        _f(
            *(
                "answers-behind-alert",
                "ordering",
                "close_notify; send; drain",
                ("no-answer-after-alert", "rules"),
            ),
            _when(_NOTIFIED, _as("answering")),
        ),
        _f(
            *("abort-after-two-requests", "ordering", "send; send; fin; drain", _RESETS),
            _when(_asked(2), _abort),
        ),
        _f(
            *(
                "abort-on-goodbye-behind-alert",
                "ordering",
                "close_notify; terminate; drain",
                _RESETS,
            ),
            _behind(_BYE, _reset_now),
        ),
        _f(
            *("abort-after-large", "size", "request large; fin; drain", _RESETS),
            _when(_large, _abort),
        ),
        _f("lost-tail", "size", "send large + fin; drain", _LOST, _polite, answer=_drops_tail),
        _f(
            "second-response-cut",
            "size",
            "send; send; fin; drain",
            _LOST,
            _polite,
            answer=_cuts_second,
        ),
        _f(
            *("abort-after-half-request", "size", "send part; fin; drain", _RESETS),
            _when(_half, _abort),
        ),
        _f(
            *("abort-after-pause", "timing", "sleep 100ms; fin; drain", _RESETS),
            _when(_both(_EOF, _gap(0.08, 0.9)), _abort),
        ),
        _f(
            *("silent-after-pause", "timing", "sleep 300ms; fin; drain", _NOTIFY),
            _when(_gap(0.25, 0.9), _as("silent")),
        ),
        _f("abort-when-idle", "timing", "await end 1.05s; drain", _RESETS, _when(_IDLE, _abort)),
        _f(
            *("unread-when-idle", "timing", "await close_notify; close_notify; drain", _RESETS),
            _when(_IDLE, _rude),
        ),
        _f(
            *("no-answer-12", "version", "close_notify; drain", _NOTIFY),
            _when(_both(_V12, _NOTIFIED), _as("silent")),
        ),
        _f("abort-at-eof-13", "version", "fin; drain", _RESETS, _when(_both(_V13, _EOF), _abort)),
        _f(
            "stays-after-goodbye-12",
            "version",
            "terminate; drain",
            _ENDS,
            _when(_both(_V12, _GOODBYE), _stay),
        ),
        _f("abort-in-a-crowd", "load", "fin; drain", _RESETS, _when(_crowd(6), _abort)),
        _f("silent-in-a-crowd", "load", "fin; drain", _NOTIFY, _when(_crowd(10), _as("silent"))),
        _f(
            "handshake-kept",
            "handshake",
            "connect; fin; drain",
            _ENDS,
            _polite,
            greet=_greet_forever,
        ),
        _f(
            *("handshake-alert-kept", "handshake", "connect; close_notify; fin; drain", _ENDS),
            _polite,
            greet=_greet_alert_forever,
        ),
        _f("abort-1-in-5", "flaky", "fin; drain", _RESETS, _when(_one_in(5), _abort)),
        _f("abort-1-in-20", "flaky", "fin; drain", _RESETS, _when(_one_in(20), _abort)),
        _f(
            *("silent-1-in-20", "flaky", "terminate; drain", _NOTIFY),
            _when(_both(_GOODBYE, _one_in(20)), _as("silent")),
        ),
        _f(
            *("listener-closed", "death", "close_notify; send; drain", _PATH),
            _behind(_PING, _deaf),
            deadly=True,
        ),
        _f(
            *("dies-of-goodbye-behind-alert", "death", "close_notify; terminate; drain", _PATH),
            _behind(_BYE, _dies),
            deadly=True,
        ),
        _f("two-alerts", "alerts", "close_notify; drain", _RULES, _when(_NOTIFIED, _twice)),
        _f(
            "late-alert",
            "alerts",
            "close_notify; drain",
            (*_ENDS, *_NOTIFY),
            _when(_NOTIFIED, _late_alert),
        ),
        _f("talks-on-in-plain", "alerts", "terminate; drain", _RULES, _when(_GOODBYE, _talks_on)),
        _f("fatal-alert-kept", "alerts", "fin; drain", (*_ENDS, *_RULES), _when(_EOF, _fails)),
        _f("leaks-at-eof", "leaks", "fin; drain", _ENDS, _when(_EOF, _stay)),
        _f(
            *("leaks-half-request", "leaks", "send part; fin; drain", _ENDS),
            _when(_both(_EOF, _half), _stay),
        ),
        _f(
            *("tail-behind-64k", "size", "send large; fin; drain", _LOST),
            _polite,
            answer=_drops_behind_64k,
        ),
        _f(
            *("abort-after-three-requests", "ordering", "send; send; send; fin; drain", _RESETS),
            _when(_both(_EOF, _asked(3)), _abort),
        ),
        _f(
            *("silent-among-three", "load", "close_notify; drain", _NOTIFY),
            _when(_both(_NOTIFIED, _crowd(2)), _as("silent")),
        ),
        _f(
            *("abort-in-hello", "handshake", "connect; hello part; fin; drain", _RESETS),
            _polite,
            greet=_greet_whole_hello_only,
        ),
        _f(
            *("abort-each-fifth-goodbye-13", "flaky", "terminate; drain", _RESETS),
            _when(_both(_V13, _both(_GOODBYE, _one_in_turn(5))), _abort),
        ),
        _f(
            *("dies-of-a-byte", "death", 'send "x"; fin; drain', _PATH),
            _when(_both(_EOF, _said(b"x")), _dies),
            deadly=True,
        ),
        _f(
            *("second-alert-late", "alerts", "close_notify; drain", _RULES),
            _when(_NOTIFIED, _second_alert_late),
        ),
        _f(
            *("abort-late-12", "version", "close_notify; drain", _RESETS),
            _when(_both(_V12, _NOTIFIED), _abort_late),
        ),
        _f(
            *("leaks-request-behind-alert", "leaks", "close_notify; send; fin; drain", _ENDS),
            _behind(_PING, _stay),
        ),
        _f(
            *("silent-behind-half-request", "ordering", "send part; fin; drain", _NOTIFY),
            _when(_both(_EOF, _half), _as("silent")),
        ),
        _f(
            *("leaks-after-goodbye-behind-request", "leaks", "send; terminate; drain", _ENDS),
            _when(_both(_GOODBYE, _asked(2)), _stay),
        ),
    )
}
