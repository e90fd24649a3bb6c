"""Interprets a close sequence over one connection.

One task reads and writes, in the order of the steps, so that what the sequence says is what the
wire gets: nothing is read while steps write back to back, and every wait reads. The socket stays
open and is read until the server has ended and the wire had time to fall quiet, since closing
early would make our own kernel send the RST that we are looking for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, NoReturn

import trio

from tlsprobe.drive.tcp import Address, Hold, TcpTransport
from tlsprobe.model.sequence import ENDS, WRITES, Awaited, Group, Limit, Sequence, Step, Verb, Wait
from tlsprobe.model.trace import Deed, Drive, Event, Mark, Record, RecordKind, Side, Stage
from tlsprobe.protocols.conversation import Conversation, Phase
from tlsprobe.tls import Received, TlsContext, TlsSession, alert_name

TICKET_PATIENCE = 0.1
"""Seconds to wait for the session tickets that an earlier connection was sent."""

_SPIN_BELOW = 0.003
_CERTIFICATE_ALERTS = frozenset({41, 42, 43, 44, 45, 46, 48, 49, 116})
_SHOWN = 60
_ALERT_HINTS = {
    "protocol_version": "the server does not speak this TLS version: try the other with --tls",
    "unrecognized_name": "the server knows no such name: give the right one with --sni NAME",
    "no_application_protocol": "the server wants another protocol: offer it with --alpn NAME",
    "handshake_failure": "no common cipher or certificate; --sni NAME may be missing",
}


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait, in seconds: for the server, for its idle timeout, for stray packets."""

    server: float = 10.0
    idle: float = 75.0
    tail: float = 0.05


@dataclass(frozen=True, slots=True)
class Route:
    """Everything that the connections of one run in one TLS version have in common.

    ``announce`` is told our end of each connection before its first packet can have been seen;
    ``tickets`` is how many TLS 1.3 tickets this server sends unasked.
    """

    address: Address
    server: tuple[str, int]
    tls: TlsContext
    converse: Callable[[], Conversation]
    patience: Patience
    announce: Callable[[tuple[str, int]], None] = lambda _: None
    tickets: int = 0


async def drive(route: Route, sequence: Sequence) -> Drive:
    """Open a connection, take it through ``sequence``, and tell what happened.

    Whatever the peer does is in the answer; nothing that it does is raised.
    """
    connection = _Connection(route)
    try:
        await connection.run(sequence)
    finally:
        connection.leave()
    return connection.report()


class _Piece(NamedTuple):
    """Ciphertext with its meaning; ``is_request``: the server owes a response to it."""

    kind: RecordKind
    data: bytes
    is_request: bool = False


class _GivenUp(Exception):  # noqa: N818 - control flow, not an error
    """The rest of the sequence makes no sense any more; ``report`` says why."""


class _Connection:
    """The mutable middle of ``drive``: one connection while it lives."""

    def __init__(self, route: Route) -> None:
        self.route = route
        self.transport = TcpTransport(route.address)
        self.conversation = route.converse()
        self.tls: TlsSession | None = None
        self.stage = Stage.CONNECT
        self.client: tuple[str, int] | None = None
        self.records: list[Record] = []
        self.events: list[Event] = []
        self.sent = 0
        self.received = 0
        self.request_ends: list[int] = []
        self.strays: list[bytes] = []
        self.tickets = 0
        self.mark: Mark | None = None
        self.answered: Record | None = None
        self.failure: str | None = None
        self.hint: str | None = None
        self.refused = False
        self.ended = False
        self.half_closed = False
        self.rtt = 0.0

    async def run(self, sequence: Sequence) -> None:
        try:
            await self.connect()
            await self.greet()
            await self.steps(sequence)
        except _GivenUp:
            pass
        if self.stage is Stage.SEQUENCE:
            await trio.sleep(max(self.route.patience.tail, 3 * self.rtt))

    # --- before the sequence ---------------------------------------------------------------

    async def connect(self) -> None:
        self.note(Deed.CONNECT)
        begun = time.perf_counter()
        with trio.move_on_after(self.route.patience.server) as scope:
            try:
                self.client = await self.transport.connect(self.route.announce)
            except OSError as error:
                self.refused = isinstance(error, ConnectionRefusedError)
                self.give_up((error.strerror or str(error)).lower())
        if scope.cancelled_caught:
            self.give_up(f"no answer to the SYN within {self.route.patience.server:g} s")
        self.rtt = time.perf_counter() - begun
        self.note(Deed.CONNECTED)

    async def greet(self) -> None:
        """Plain prelude, handshake, and the protocol's greeting, up to where a request may go."""
        deadline = trio.current_time() + self.route.patience.server
        self.stage = Stage.HANDSHAKE
        conversation = self.conversation
        if conversation.phase is Phase.PLAIN:
            await self.write(conversation.open(), RecordKind.PLAIN)
            await self.until(lambda: conversation.phase is not Phase.PLAIN, deadline)
        if conversation.phase is not Phase.SECURE:
            self.cannot_greet("TLS could be started")
        tls = self.tls = self.route.tls.connect()
        await self.write(tls.handshake(), RecordKind.HANDSHAKE)
        await self.until(lambda: tls.handshaken or tls.failure is not None, deadline)
        if not tls.handshaken or tls.failure:
            self.cannot_shake_hands()
        self.note(Deed.HANDSHAKEN)
        self.stage = Stage.GREETING
        await self.write_data(conversation.secured())
        await self.until(lambda: conversation.phase is not Phase.GREETING, deadline)
        if conversation.phase is not Phase.READY:
            self.cannot_greet("the greeting was over")
        self.note(Deed.READY)
        self.stage = Stage.SEQUENCE

    def cannot_shake_hands(self) -> None:
        tls = self.tls
        assert tls is not None
        alert = self.last_alert()
        head = b"".join(self.strays) or tls.pending
        if alert is not None:
            if alert[1] in _CERTIFICATE_ALERTS:
                self.cannot_greet("the handshake was over")
            hint = _ALERT_HINTS.get(alert_name(alert))
            name = alert_name(alert)
            self.give_up(f"the server refused the handshake with the alert {name}", hint)
        elif tls.over:
            hint = "check the port; protocols that start TLS later need their --profile"
            self.give_up(f"the port does not speak TLS: it answered {_shown(head)}", hint)
        elif tls.failure:
            self.give_up(f"the handshake failed on our side: {tls.failure}")
        elif self.ended:
            how = "reset" if self.noted(Deed.RESET) else "closed"
            self.give_up(f"the server {how} the connection during the handshake")
        else:
            self.give_up("the server did not finish the handshake in time")

    def cannot_greet(self, before: str) -> None:
        alert = self.last_alert()
        if alert is not None and alert[1] in _CERTIFICATE_ALERTS:
            self.stage = Stage.HANDSHAKE  # TLS 1.3 refuses a certificate when we think we are done
            name = alert_name(alert)
            hint = "give a certificate that the server trusts: --cert FILE --key FILE"
            self.give_up(f"the server refused our certificate with the alert {name}", hint)
        elif self.conversation.failure:
            self.give_up(self.conversation.failure, self.conversation.hint)
        elif self.ended:
            how = "reset" if self.noted(Deed.RESET) else "closed"
            self.give_up(f"the server {how} the connection before {before}")
        else:
            self.give_up(f"the server said nothing more before {before}")

    # --- the sequence ------------------------------------------------------------------------

    async def steps(self, sequence: Sequence) -> None:
        groups = list(sequence.groups)
        if groups and groups[0][0].verb is Verb.REQUEST:
            before = self.received
            await self.request()
            self.mark = self.opening_end(before)
            del groups[0]
        else:
            await self.drain_tickets()
            self.mark = Mark(time.time_ns(), self.sent, self.received)
        for burst in _bursts(groups):
            if burst[0][0].verb in WRITES | ENDS:
                await self.write_burst(burst)
            else:
                await self.wait_step(burst[0][0])

    def opening_end(self, before: int) -> Mark:
        """Where the first response was whole; an unfinished one belongs to what is judged.

        A server may have sent its close_notify right behind the response, in bytes that we have
        read by now.
        """
        if self.answered is not None:
            return Mark(self.answered.time_ns, self.sent, self.answered.end)
        return Mark(self.records[-1].time_ns if self.records else 0, self.sent, before)

    async def drain_tickets(self) -> None:
        deadline = trio.current_time() + TICKET_PATIENCE
        await self.until(lambda: self.tickets >= self.route.tickets, deadline)

    async def request(self) -> None:
        await self.write_pieces([self.records_of(Step(Verb.SEND))])
        await self.until(lambda: self.conversation.phase is not Phase.OWED, self.deadline())
        alert = self.last_alert()
        if self.conversation.answered == 0 and alert and alert[1] in _CERTIFICATE_ALERTS:
            self.cannot_greet("the first response")
        if self.conversation.phase is Phase.OWED and not self.ended:
            self.note(Deed.GAVE_UP, "no whole response in time")
            raise _GivenUp
        if self.conversation.phase is Phase.FAILED:
            failure = self.conversation.failure or "the protocol failed"
            self.give_up(failure, self.conversation.hint)

    async def wait_step(self, step: Step) -> None:
        self.note(Deed.STEP, step.verb)
        match step.verb:
            case Verb.REQUEST:
                await self.request()
            case Verb.SLEEP:
                await self.sleep(step.wait)
            case Verb.AWAIT:
                await self.await_event(step)
            case _:
                await self.wait_for(lambda: self.ended, step)

    async def write_burst(self, groups: list[Group]) -> None:
        """Groups that follow each other without a wait, a segment each.

        All records are made before the first is sent: encrypting one between two segments would
        give the server time to act on the first, which is another close than the one asked for.
        """
        made = [[self.records_of(step) for step in group] for group in groups]
        for group, pieces, after in zip(groups, made, [*made[1:], []], strict=True):
            follows = any(piece.data for piece in after)
            await self.write_group(group, pieces, follows)
            self.note(Deed.STEP, " + ".join(step.verb for step in group))

    async def write_group(self, group: Group, pieces: list[_Piece], follows: bool) -> None:
        """Records of all steps in one go, the FIN or close riding on the last segment."""
        last = group[-1].verb
        hold = Hold.TO_FOLLOW if follows else Hold.NOTHING
        if last in {Verb.FIN, Verb.CLOSE}:
            hold = Hold.TO_JOIN
        await self.write_pieces(pieces, hold)
        if last is Verb.FIN:
            self.half_close()
        elif last is Verb.CLOSE and not self.transport.closed:
            self.transport.close()
            self.note(Deed.CLOSED)
        elif last is Verb.ABORT and not self.transport.closed:
            self.transport.abort()
            self.note(Deed.ABORTED)

    def records_of(self, step: Step) -> _Piece:
        """The ciphertext of one writing step; made, not sent."""
        assert self.tls is not None
        owed = self.conversation.owed
        match step.verb:
            case Verb.SEND if step.payload is not None:
                return _Piece(RecordKind.DATA, self.tls.send(step.payload))
            case Verb.SEND:
                data = self.tls.send(self.conversation.request())
                return _Piece(RecordKind.DATA, data, self.conversation.owed > owed)
            case Verb.TERMINATE:
                goodbye = self.conversation.goodbye() or b""
                data = self.tls.send(goodbye) if goodbye else b""
                return _Piece(RecordKind.GOODBYE, data, self.conversation.owed > owed)
            case Verb.CLOSE_NOTIFY:
                return _Piece(RecordKind.CLOSE_NOTIFY, self.tls.close_notify())
            case _:
                return _Piece(RecordKind.PLAIN, b"")

    def half_close(self) -> None:
        if self.transport.closed or self.half_closed:
            return
        try:
            self.transport.fin()
        except OSError:
            self.note(Deed.BROKEN_PIPE, "fin")  # the connection is already gone
            return
        self.half_closed = True
        self.note(Deed.FIN_SENT)

    async def sleep(self, wait: Wait) -> None:
        seconds = self.seconds(wait)
        if seconds < _SPIN_BELOW:  # the event loop's timer ticks in whole milliseconds
            until = time.perf_counter() + seconds
            while time.perf_counter() < until:
                pass
            return
        deadline = trio.current_time() + seconds
        await self.until(lambda: self.ended, deadline)
        await trio.sleep_until(deadline)

    async def await_event(self, step: Step) -> None:
        assert self.tls is not None
        tls, conversation, data = self.tls, self.conversation, self.data_records()
        happened: dict[Awaited, Callable[[], bool]] = {
            Awaited.RESPONSE: lambda: conversation.phase is not Phase.OWED,
            Awaited.DATA: lambda: self.data_records() > data,
            Awaited.CLOSE_NOTIFY: lambda: tls.notified,
            Awaited.FIN: lambda: self.ended,
            Awaited.END: lambda: self.ended,
        }
        await self.wait_for(happened[step.event or Awaited.END], step)

    async def wait_for(self, happened: Callable[[], bool], step: Step) -> None:
        deadline = trio.current_time() + self.seconds(step.wait)
        if self.transport.closed:
            await trio.sleep(min(self.route.patience.tail, self.seconds(step.wait)))
            return
        await self.until(happened, deadline)
        if not happened() and not self.ended:
            self.note(Deed.GAVE_UP, f"{step.verb} {step.event or ''}".strip())

    # --- bytes ---------------------------------------------------------------------------------

    async def write_data(self, plaintext: bytes) -> None:
        if plaintext:
            assert self.tls is not None
            await self.write(self.tls.send(plaintext), RecordKind.DATA)

    async def write(self, data: bytes, kind: RecordKind) -> None:
        await self.write_pieces([_Piece(kind, data)])

    async def write_pieces(self, pieces: list[_Piece], hold: Hold = Hold.NOTHING) -> None:
        """Send pieces in one go and write down where each lies in the stream."""
        data = b"".join(piece.data for piece in pieces)
        if not data or self.transport.closed:
            return
        now = time.time_ns()
        try:
            rest = self.transport.send_now(data, hold)
            if rest:
                await self.send_rest(rest, hold)
        except OSError as error:
            self.broken(error)
            return
        for piece in pieces:
            self.wrote(piece, now)

    async def send_rest(self, rest: memoryview, hold: Hold) -> None:
        with trio.move_on_after(self.route.patience.server) as scope:
            while rest:
                await self.transport.writable()
                rest = self.transport.send_now(rest, hold)
        if scope.cancelled_caught:
            self.note(Deed.GAVE_UP, "the server stopped reading")
            raise _GivenUp

    def wrote(self, piece: _Piece, now: int) -> None:
        if not piece.data:
            return
        end = self.sent + len(piece.data)
        alert = (1, 0) if piece.kind is RecordKind.CLOSE_NOTIFY else None
        self.records.append(Record(Side.CLIENT, self.sent, end, piece.kind, now, alert))
        self.sent = end
        if piece.is_request:
            self.request_ends.append(end)

    async def until(self, happened: Callable[[], bool], deadline: float) -> None:
        """Read until ``happened``, the end of the stream, or the deadline."""
        while not happened() and not self.ended and not self.transport.closed:
            try:
                data = self.transport.receive_now()
            except OSError as error:
                self.broken(error)
                return
            if data is None:
                with trio.move_on_at(deadline) as scope:
                    await self.transport.readable()
                if scope.cancelled_caught:
                    return
            elif data:
                await self.take(data)
            else:
                self.eof()

    async def take(self, data: bytes) -> None:
        if self.tls is None:
            self.record(RecordKind.PLAIN, len(data))
            await self.write(self.conversation.feed(data), RecordKind.PLAIN)
            return
        handshaken = self.tls.handshaken
        for received in self.tls.receive(data):
            await self.take_record(received)
        output = self.tls.output()
        if output:
            kind = RecordKind.DATA if handshaken else RecordKind.HANDSHAKE
            await self.write(output, kind)

    async def take_record(self, received: Received) -> None:
        handshaken = self.tls is not None and self.tls.handshaken
        self.record(received.kind, received.length, received.alert)
        if received.kind is RecordKind.TICKET:
            self.tickets += 1
        elif received.kind is RecordKind.PLAIN:
            self.strays.append(received.data[:_SHOWN])
        elif received.kind is RecordKind.DATA and handshaken:
            reply = self.conversation.feed(received.data)
            if self.answered is None and self.conversation.answered:
                self.answered = self.records[-1]
            if reply:
                await self.write_data(reply)

    def record(self, kind: RecordKind, length: int, alert: tuple[int, int] | None = None) -> None:
        end = self.received + length
        now = time.time_ns()
        self.records.append(Record(Side.SERVER, self.received, end, kind, now, alert))
        self.received = end

    def eof(self) -> None:
        self.note(Deed.EOF)
        self.ended = True
        greeting = self.stage is not Stage.SEQUENCE
        if greeting or (self.tls is not None and self.tls.notified):
            # RFC 9112 section 9.8: without the alert, a body that ends with the stream is not whole
            self.conversation.ended()

    def broken(self, error: OSError) -> None:
        deed = Deed.BROKEN_PIPE if isinstance(error, BrokenPipeError) else Deed.RESET
        self.note(deed, error.strerror or "")
        self.ended = True

    # --- the end -------------------------------------------------------------------------------

    def leave(self) -> None:
        """Close what is left. From here on packets are the tester's own tidying up."""
        self.note(Deed.LEFT)
        if self.ended or self.stage is not Stage.SEQUENCE:
            self.transport.close()
        else:
            self.transport.abort()  # a server that never ends must not keep our connection
        if self.tls is not None:
            self.tls.forget()

    def report(self) -> Drive:
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
            mark=self.mark,
            failure=self.failure,
            hint=self.hint,
            refused=self.refused,
            owed=conversation.owed,
            answered=conversation.answered,
            cut_short=conversation.partial,
            answered_to=self.answered_to(),
        )

    def answered_to(self) -> int:
        answered = min(self.conversation.answered, len(self.request_ends))
        return self.request_ends[answered - 1] if answered else 0

    # --- small things ----------------------------------------------------------------------------

    def note(self, deed: Deed, detail: str = "") -> None:
        self.events.append(Event(time.time_ns(), deed, detail))

    def noted(self, deed: Deed) -> bool:
        return any(event.deed is deed for event in self.events)

    def give_up(self, failure: str, hint: str | None = None) -> NoReturn:
        self.failure, self.hint = failure, hint
        raise _GivenUp

    def last_alert(self) -> tuple[int, int] | None:
        """The server's last alert that was not a close_notify."""
        alerts = (r.alert for r in reversed(self.records) if r.side is Side.SERVER)
        return next((alert for alert in alerts if alert is not None and alert[1] != 0), None)

    def data_records(self) -> int:
        return sum(r.side is Side.SERVER and r.kind is RecordKind.DATA for r in self.records)

    def seconds(self, wait: Wait) -> float:
        if wait is Limit.IDLE:
            return self.route.patience.idle
        return self.route.patience.server if wait is Limit.PATIENCE else float(wait)

    def deadline(self) -> float:
        return trio.current_time() + self.route.patience.server


def _bursts(groups: list[Group]) -> Iterator[list[Group]]:
    """Groups that write, as long as they follow each other; every other group by itself."""
    burst: list[Group] = []
    for group in groups:
        if group[0].verb in WRITES | ENDS:
            burst.append(group)
            continue
        if burst:
            yield burst
        burst = []
        yield [group]
    if burst:
        yield burst


def _shown(data: bytes) -> str:
    """The beginning of what a peer sent, safe to print."""
    text = repr(data[:_SHOWN])[1:]
    return f"{text}..." if len(data) > _SHOWN else text
