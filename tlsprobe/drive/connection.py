"""One connection while it lives: bytes out, bytes in, and a record of what each of them was.

Everything that crosses is written down with its place in the stream, so that the packets of the
capture can be named later. Reading is bounded in time and size, whatever the server sends.
"""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import NamedTuple, NoReturn

import trio

from tlsprobe.drive.deadline import Deadline
from tlsprobe.drive.route import Route
from tlsprobe.drive.tcp import Hold, TcpTransport
from tlsprobe.model.sequence import Limit, Signal, Wait
from tlsprobe.model.trace import (
    Drive,
    DriverEvent,
    EventKind,
    Mark,
    Record,
    RecordKind,
    Shaped,
    Side,
    Stage,
)
from tlsprobe.model.verbs import Treatment
from tlsprobe.protocols.conversation import Phase
from tlsprobe.shaper.link import Lane
from tlsprobe.shaper.protocol import Do
from tlsprobe.tls import Received, TlsSession

MAX_RECEIVED = 256 * 2**20
"""Bytes that one connection takes from a server; more is not a response but a flood."""

SHOWN = 60
"""Bytes of a peer's that an error message shows."""

_STRETCH = 0.002
"""Seconds for which one connection takes what a server sends before others have their turn."""

_LEAST, _FIRST, _MOST = 256, 2048, 1 << 14
"""Bytes of data that the conversation is given at a time: a record may hold 1800 small frames."""

_HEAD = 5 + (1 << 14)  # bytes of a whole TLS record, which holds the head of any request of ours


class Piece(NamedTuple):
    """Bytes for the wire with their meaning.

    ``is_request``: the server owes a response to it. ``opens``: the first part of a record whose
    rest comes with the next piece. ``treatment`` is what the path does to it, with its number.
    """

    kind: RecordKind
    data: bytes
    is_request: bool = False
    opens: bool = False
    alert: tuple[int, int] | None = None
    treatment: tuple[Treatment, int] | None = None


class GivenUp(Exception):  # noqa: N818 - control flow, not an error
    """The rest of the sequence makes no sense any more, or (with a reason) is not possible."""

    def __init__(self, reason: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason


class Connection:
    """The mutable middle of a drive.

    ``closing``: we have said goodbye or close_notify. ``in_hand``: the sequence makes the
    handshake itself, and nothing is answered for it; ``hello`` is what is left of a ClientHello
    then, and ``flight`` says that the server's answer is there. ``earlier`` is a session of another
    connection that this one offers to resume; without ``takes_tickets`` it does by its id.
    ``authenticates``: the server may ask for our certificate after the handshake.
    ``is_small``: there is little room for what is not read.
    ``data_at`` is when the newest data of the server was read (``time.perf_counter``).
    """

    __slots__ = (
        "_due",
        "_half_closed",
        "_mouthful",
        "_opened",
        "_request_ends",
        "_turn_ends",
        "answered",
        "authenticates",
        "begun",
        "client",
        "closing",
        "conversation",
        "data_at",
        "data_count",
        "earlier",
        "ended",
        "ended_early",
        "events",
        "failure",
        "flight",
        "heard_ns",
        "hello",
        "hint",
        "in_hand",
        "lane",
        "mark",
        "received",
        "records",
        "refused",
        "route",
        "rtt",
        "sent",
        "shaped",
        "stage",
        "strays",
        "takes_tickets",
        "tickets",
        "tls",
        "transport",
    )

    def __init__(
        self,
        route: Route,
        earlier: bytes = b"",
        *,
        takes_tickets: bool = True,
        authenticates: bool = False,
        is_small: bool = False,
    ) -> None:
        self.route = route
        self.earlier = earlier
        self.takes_tickets = takes_tickets
        self.authenticates = authenticates
        where = route.address, route.namespace, route.ports
        self.transport = TcpTransport(*where, is_small=is_small)
        self.lane: Lane | None = None
        self.shaped: tuple[Shaped, ...] = ()
        self.conversation = route.converse()
        self.tls: TlsSession | None = None
        self.stage = Stage.CONNECT
        self.client: tuple[str, int] | None = None
        self.records: list[Record] = []
        self.events: list[DriverEvent] = []
        self.heard_ns = 0
        """When we were done with the server's last bytes."""
        self.sent = 0
        self.received = 0
        self._request_ends: list[int] = []
        self.strays = b""
        self.tickets = 0
        self.begun: Mark | None = None
        self.mark: Mark | None = None
        self.ended_early = False
        self.answered: Record | None = None
        self.failure: str | None = None
        self.hint: str | None = None
        self.refused = False
        self.ended = False
        self._half_closed = False
        self.rtt = 0.0
        self.in_hand = False
        self.closing = False
        self.flight = False
        self.hello: bytes | None = None
        self.data_at = 0.0
        self.data_count = 0
        self._mouthful = _FIRST
        self._opened = 0
        self._due = math.inf
        self._turn_ends = 0.0

    def go_to(self, port: int, earlier: bytes) -> None:
        """Go to another port of the same host, and offer to resume a session; not connected yet."""
        route = self.route
        family, where = route.address
        address = family, (where[0], port, *where[2:])
        self.route = replace(route, address=address, server=(route.server[0], port))
        self.earlier = earlier
        self.transport.go_to(port)

    async def connect(self) -> None:
        """Connect, within the server's patience. What keeps us from trying is no end of its."""
        try:
            if self.route.shaper is not None:
                self.lane = await self.route.shaper.open()
            self.note(EventKind.CONNECT)
            begun = time.perf_counter()
            client = self.transport.start(self.route.announce, self.lane)
            if not self.transport.is_connected():
                await self._answer_to_syn()
        except OSError as error:
            self.refused = isinstance(error, ConnectionRefusedError)
            if isinstance(error, ConnectionResetError):  # taken, and ended before we had a look
                self.note(EventKind.RESET)
            self.give_up((error.strerror or str(error)).lower())
        self.client = client
        self.rtt = time.perf_counter() - begun
        self.note(EventKind.CONNECTED)

    async def _answer_to_syn(self) -> None:
        seconds = self.route.patience.server
        with trio.move_on_after(seconds) as scope:
            while not self.transport.is_connected():
                await self.transport.writable()
        if scope.cancelled_caught:
            self.give_up(f"no answer to the SYN within {seconds:g} s")

    async def write_data(self, plaintext: bytes) -> None:
        """Encrypt and send."""
        if plaintext:
            assert self.tls is not None
            await self.write(self.tls.send(plaintext), RecordKind.DATA)

    async def write(self, data: bytes, kind: RecordKind) -> None:
        """Send bytes of one meaning."""
        await self.write_pieces([Piece(kind, data)])

    async def write_pieces(self, pieces: list[Piece], hold: Hold = Hold.NOTHING) -> None:
        """Send pieces in one go and write down where each lies in the stream.

        A connection that has broken is noted and not raised: what the server sent before may
        still be there to read.
        """
        data = pieces[0].data if len(pieces) == 1 else b"".join(piece.data for piece in pieces)
        if not data or self.transport.closed:
            return
        now = time.time_ns()
        try:
            rest = self.transport.send_now(data, hold)
            if rest:
                await self._send_rest(rest, hold)
        except OSError as error:
            self._broken(error)
            for piece in pieces:
                if piece.is_request:
                    self.conversation.withdraw()  # it never left
            return
        for piece in pieces:
            self.wrote(piece, now)

    def wrote(self, piece: Piece, now: int) -> None:
        """Write down a piece that has been sent."""
        kind, data, is_request, opens, alert, _ = piece
        if not data:
            return
        self.sent = end = self.sent + len(data)
        if opens:
            self._opened += len(data)
            return
        start = end - len(data) - self._opened
        self._opened = 0
        alert = alert or ((1, 0) if kind is RecordKind.CLOSE_NOTIFY else None)
        self.records.append(Record(Side.CLIENT, start, end, kind, now, alert))
        if is_request:  # of a large upload, an early response proves the head read, no more
            self._request_ends.append(min(end, start + _HEAD))

    def forget_requests(self) -> None:
        """What was asked so far was not taken, and will be asked again."""
        self._request_ends.clear()

    async def _send_rest(self, rest: memoryview, hold: Hold) -> None:
        with trio.move_on_at(self._due) as scope:
            while rest:
                await self.transport.writable()
                rest = self.transport.send_now(rest, hold)
        if scope.cancelled_caught:
            self.stop("the server stopped reading")

    def limit(self, deadline: float) -> None:
        """Have writes that the server does not take end by a deadline (trio's clock)."""
        self._due = deadline

    async def until(self, happened: Callable[[], bool], deadline: float) -> None:
        """Read until ``happened``, the end of the stream, or the deadline.

        Whatever comes, and however it is cut, the deadline holds and other connections have their
        turn. What has arrived by a deadline that is over already is read all the same.
        """
        self.limit(deadline)
        self._turn_ends = time.perf_counter() + _STRETCH
        limit = Deadline(deadline)
        try:
            while not happened() and not self.ended and not self.transport.closed:
                try:
                    data = self.transport.receive_now()
                except OSError as error:
                    self._broken(error)
                    self._note_early_end()
                    self.ended = True
                    return
                if data is None:
                    if not await self.transport.readable(limit):
                        return
                    self._turn_ends = time.perf_counter() + _STRETCH
                elif data:
                    await self._take(data)
                    self.heard_ns = time.time_ns()
                    await self._give_way()
                    if trio.current_time() > deadline:
                        return
                else:
                    self._eof()
        finally:
            limit.over = True

    async def _give_way(self) -> None:
        """Let others have their turn, if ours is over: a server may never pause."""
        if time.perf_counter() > self._turn_ends:
            await trio.lowlevel.checkpoint()
            self._turn_ends = time.perf_counter() + _STRETCH

    async def _take(self, data: bytes) -> None:
        if self.received + len(data) > MAX_RECEIVED:
            self.stop(f"the server sent more than {MAX_RECEIVED >> 20} MiB")
        if self.tls is None:
            self._record(RecordKind.PLAIN, len(data))
            await self.write(self.conversation.feed(data), RecordKind.PLAIN)
            return
        tls, handshaken = self.tls, self.tls.handshaken
        for received in tls.receive(data):
            self._record(received.kind, received.length, received.alert)
            if received.kind is RecordKind.DATA and tls.handshaken:
                await self._take_data(received.data)
            elif received.kind is not RecordKind.HANDSHAKE:
                self._heed(received, tls)
        output = tls.output()
        if self.in_hand:
            self.flight = self.flight or bool(output) or tls.handshaken
        elif output and not (tls.asked_again and (tls.said_close or self._half_closed)):
            is_data = handshaken and not tls.asked_again
            kind = RecordKind.DATA if is_data else RecordKind.HANDSHAKE
            if tls.failure and tls.alert_sent:
                kind = RecordKind.ALERT
            await self.write_pieces([Piece(kind, output, alert=tls.alert_sent)])

    def _heed(self, received: Received, tls: TlsSession) -> None:
        """Take a record in that nothing is answered to."""
        if received.kind is RecordKind.TICKET:
            self.tickets += 1
        elif received.kind is RecordKind.CLOSE_NOTIFY and tls.handshaken:
            # What the server has to say ends here, whether or not a FIN follows; without the alert,
            # a body that ends with the stream is not whole (RFC 9112 section 9.8).
            self._note_early_end()
            self.conversation.ended()
            if self.answered is None and self.conversation.answered:
                self.answered = self._last_data()
        elif received.kind is RecordKind.PLAIN:
            self.strays = (self.strays + received.data)[: SHOWN + 1]

    async def _take_data(self, data: bytes) -> None:
        """Give the conversation its bytes, as many at a time as it is quick with."""
        self.data_count += 1
        self.data_at = begun = time.perf_counter()
        record = self.records[-1]
        while data:
            reply = self.conversation.feed(data[: self._mouthful])
            data = data[self._mouthful :]
            if self.answered is None and self.conversation.answered:
                self.answered = record
            if reply:
                await self.write_data(reply)
            is_slow = time.perf_counter() - begun > _STRETCH
            size = self._mouthful // 2 if is_slow else self._mouthful * 2
            self._mouthful = max(_LEAST, min(size, _MOST))
            await self._give_way()
            begun = time.perf_counter()

    def _last_data(self) -> Record | None:
        theirs = (r for r in reversed(self.records) if r.side is Side.SERVER)
        return next((r for r in theirs if r.kind is RecordKind.DATA), None)

    def _record(self, kind: RecordKind, length: int, alert: tuple[int, int] | None = None) -> None:
        end = self.received + length
        now = time.time_ns()
        self.records.append(Record(Side.SERVER, self.received, end, kind, now, alert))
        self.received = end

    def _eof(self) -> None:
        """There is nothing more to read; behind an RST that a write was told of, that is no FIN."""
        if not self.noted(EventKind.RESET):
            self.note(EventKind.EOF)
        self._note_early_end()
        self.ended = True
        if self.stage is not Stage.SEQUENCE:
            self.conversation.ended()

    def _note_early_end(self) -> None:
        """Note an end in place of the greeting, or of the first byte of the opening response."""
        conversation = self.conversation
        awaited = conversation.phase is Phase.OWED and not conversation.partial
        is_opening = self.mark is None and self.tls is not None and self.tls.handshaken
        if self.was_asked_for:
            return  # a file without a byte ends like any other
        if is_opening and (conversation.phase is Phase.GREETING or awaited):
            self.ended_early = True

    def _broken(self, error: OSError) -> None:
        kind = EventKind.BROKEN_PIPE if isinstance(error, BrokenPipeError) else EventKind.RESET
        self.note(kind, error.strerror or "")

    def half_close(self) -> None:
        """Send our FIN."""
        if self.transport.closed or self._half_closed:
            return
        try:
            self.transport.fin()
        except OSError:
            self.note(EventKind.BROKEN_PIPE, "fin")  # the connection is already gone
            return
        self._half_closed = True
        self.note(EventKind.FIN_SENT)

    def close(self) -> None:
        """Close the socket, whatever is unread."""
        self._end(EventKind.CLOSED, self.transport.close)

    def abort(self) -> None:
        """Reset the connection."""
        self._end(EventKind.ABORTED, self.transport.abort)

    def _end(self, kind: EventKind, end: Callable[[], None]) -> None:
        """End it, if it is not at its end, and write down from when on.

        A busy machine may take the processor from us before the call returns. Whoever looked at
        the clock then would hold our own RST against a program that had not yet sent any.
        """
        if not self.transport.closed:
            began = time.time_ns()
            end()
            self.note(kind, time_ns=began)

    def leave(self) -> None:
        """Close what is left. From here on packets are the tester's own tidying up."""
        self.note(EventKind.LEFT)
        if self.ended or self.ended_early or self.stage is not Stage.SEQUENCE:
            self.transport.close()
        else:
            self.transport.abort()  # a server that never ends must not keep our connection
        if self.tls is not None:
            self.tls.forget()

    async def shape(self, do: Do, count: int = 0) -> None:
        """Have the path do something to this connection; give up where there is none (any more)."""
        await self._through(lambda lane: lane.order(do, count=count))

    async def treat(self, treatment: tuple[Treatment, int], start: int, end: int) -> None:
        """Have the path treat these offsets of our stream when they come; gives up like `shape`."""
        how, count = treatment
        await self._through(lambda lane: lane.treat(how, start, end, count))

    async def _through(self, ask: Callable[[Lane], Awaitable[None]]) -> None:
        if self.lane is None:
            self.give_up("this sequence needs a shaper in the path")
        try:
            await ask(self.lane)
        except OSError as error:
            self.give_up(str(error))

    def signal(self, what: Signal) -> None:
        """Tell the server's process something; give up where there is none to tell."""
        if self.route.signal is None:
            self.give_up("this sequence needs the server's process", "name it with --signal PID")
        at = time.time_ns()
        try:
            name = self.route.signal(what)
        except OSError as error:
            self.give_up(f"the server cannot be signalled: {error.strerror or error}")
        self.note(EventKind.SIGNALLED, f"{what} SIG{name}", at)

    async def leave_path(self) -> None:
        """Ask the path what it has done to this connection, and give it up.

        Of one that has died nobody knows what it kept from whom: the connection has failed then.
        """
        if self.lane is None:
            return
        try:
            self.shaped = await self.lane.leave()
        except OSError as error:
            self.failure = self.failure or str(error)

    def report(self) -> Drive:
        """What became of the connection."""
        tls, conversation = self.tls, self.conversation
        known = tls is not None and tls.handshaken
        return Drive(
            client=self.client,
            server=self.route.server,
            stage=self.stage,
            records=tuple(self.records),
            events=tuple(self.events),
            tls=str(tls.version) if tls is not None and known else None,
            cipher=tls.cipher if tls is not None and known else None,
            alpn=tls.alpn if tls is not None and known else None,
            begun=self.begun,
            mark=self.mark,
            ended_early=self.ended_early,
            failure=self.failure,
            hint=self.hint,
            refused=self.refused,
            owed=conversation.owed,
            answered=conversation.answered,
            cut_short=conversation.partial,
            answered_to=self._answered_to(),
            remarks=tuple(conversation.remarks),
            server_says=conversation.server_says,
            shaped=self.shaped,
            behind=self.route.behind,
        )

    def _answered_to(self) -> int:
        answered = min(self.conversation.answered, len(self._request_ends))
        return self._request_ends[answered - 1] if answered else 0

    def note(self, kind: EventKind, detail: str = "", time_ns: int | None = None) -> None:
        """Write down an event with the time, which is now unless given."""
        at = time.time_ns() if time_ns is None else time_ns
        self.events.append(DriverEvent(at, kind, detail))

    def noted(self, kind: EventKind) -> bool:
        """Whether such an event was written down."""
        return any(event.kind is kind for event in self.events)

    def give_up(self, failure: str, hint: str | None = None) -> NoReturn:
        """End here with a sentence and its hint."""
        self.failure, self.hint = failure, hint
        raise GivenUp

    def stop(self, reason: str) -> NoReturn:
        """Leave the rest of the sequence undone, which is a failure if it was to send anything."""
        self.note(EventKind.GAVE_UP, reason)
        raise GivenUp(reason)

    def run_out(self, failure: str) -> NoReturn:
        """End here because our patience did, and not because of anything that came."""
        self.note(EventKind.GAVE_UP, failure)
        self.give_up(failure)

    def with_words(self, failure: str) -> str:
        """A failure with what the server has said of an answer that did not become whole."""
        so_far = self.conversation.so_far
        return f"{failure}; it said: {so_far}" if so_far else failure

    @property
    def was_asked_for(self) -> bool:
        """Whether what the server says here, up to its end, was asked for on another connection."""
        control = self.conversation.control
        return control is not None and control.asks

    @property
    def over(self) -> bool:
        """Whether the server has ended TLS or TCP."""
        return self.ended or (self.tls is not None and self.tls.notified)

    def last_alert(self) -> tuple[int, int] | None:
        """The server's last alert that was not a close_notify."""
        alerts = (r.alert for r in reversed(self.records) if r.side is Side.SERVER)
        return next((alert for alert in alerts if alert is not None and alert[1] != 0), None)

    def seconds(self, wait: Wait) -> float:
        """A wait's length in seconds."""
        if wait is Limit.IDLE:
            return self.route.patience.idle
        return self.route.patience.server if wait is Limit.PATIENCE else float(wait)

    def end_deadline(self) -> float:
        """When the patience for what a server need not do is over, counted from now (trio)."""
        return trio.current_time() + self.route.patience.server

    def answer_deadline(self) -> float:
        """The same for what a server always does: its handshake, greeting and responses."""
        patience = self.route.patience
        return trio.current_time() + max(patience.server, patience.answer)
