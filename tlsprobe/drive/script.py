"""Interprets a close sequence over one connection.

One task reads and writes, in the order of the steps, so that what the sequence says is what the
wire gets: nothing is read while steps write back to back, and every wait reads. The socket stays
open and is read until the server has ended and the wire had time to fall quiet, since closing
early would make our own kernel send the RST that we are looking for.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Literal, assert_never

import trio

from tlsprobe.drive.command import Command, commanding
from tlsprobe.drive.connection import Connection, GivenUp
from tlsprobe.drive.early import ask_early
from tlsprobe.drive.greeting import begin_tls, cannot_greet, greet, refused_certificate
from tlsprobe.drive.resumption import earlier_session, note_resumed, resume
from tlsprobe.drive.route import Patience, Route
from tlsprobe.drive.segments import (
    SegmentPlan,
    bursts,
    piece_of,
    segment_plans,
    sends,
    treated_ranges,
)
from tlsprobe.model.sequence import Awaited, Group, Limit, Sequence, Step
from tlsprobe.model.trace import CLOSING_REMARKS, Drive, EventKind, Mark, RemarkKind, Stage
from tlsprobe.model.verbs import Act, Form, Verb
from tlsprobe.protocols.conversation import Phase
from tlsprobe.shaper.protocol import Do

__all__ = ["Patience", "Racer", "Route", "drive"]

TICKET_PATIENCE = 0.1
"""Seconds to wait for the session tickets that an earlier connection was sent."""

MOST_ASKED = 2000
"""Requests on one connection, to find out how many the server takes: nginx takes 1000."""

_SPIN_BELOW = 0.003
_LAST = CLOSING_REMARKS | {RemarkKind.GOAWAY}

Racing = Literal[Verb.ANSWER, Verb.MEET]
"""The verbs that race the server's idle expiry."""

Shaping = Literal[Verb.HOLD, Verb.RELEASE, Verb.WINDOW, Verb.MUTE, Verb.UNMUTE, Verb.RESET]
"""The verbs that the path performs, not our socket."""

Racer = Callable[[Connection, Step, Racing], Awaitable[None]]
"""Who performs the steps that must be on time to the microsecond: a round's starter."""


async def drive(
    route: Route,
    sequence: Sequence,
    racer: Racer | None = None,
    opened: Callable[[], None] = lambda: None,
) -> Drive:
    """Open a connection, take it through ``sequence``, and report what happened.

    Whatever the peer does is in the answer; nothing that it does is raised. Sequences that race
    the server's idle expiry need a ``racer``. ``opened`` is called when the part that is judged
    begins.
    """
    by_id = any(step.form is Form.ID for step in sequence.steps)
    is_small = sequence.uses(Verb.STALL)
    asks = any(step.form is Form.GUARDED for step in sequence.steps)
    connection = Connection(route, takes_tickets=not by_id, authenticates=asks, is_small=is_small)
    async with commanding(connection) as command:
        script = _Script(connection, sequence, racer, opened, command)
        try:
            await script.run()
        finally:
            connection.leave()
        await connection.leave_path()
    return connection.report()


class _Script:
    """A sequence while it is performed on a connection."""

    def __init__(
        self,
        connection: Connection,
        sequence: Sequence,
        racer: Racer | None,
        opened: Callable[[], None],
        command: Command | None = None,
    ) -> None:
        self.command = command
        self.connection = connection
        self.sequence = sequence
        self.racer = racer
        self.opened = opened

    async def run(self) -> None:
        connection = self.connection
        undone = True
        try:
            if self.command is not None:
                await self.command.give(self.sequence)
            if self.sequence.comes_back:
                for_early = self.sequence.uses(Verb.EARLY)
                connection.earlier = await earlier_session(connection.route, for_early=for_early)
            await connection.connect()
            if self.command is not None:
                await self.command.begin()
            left = list(bursts(await self.opening(list(self.sequence.groups))))
            self.opened()
            while left:
                undone = any(sends(burst[0]) and not _uploads(burst[0]) for burst in left)
                burst = left.pop(0)
                await self.perform(burst, asks_next=bool(left) and _asks(left[0][0]))
        except GivenUp as given:
            if undone and connection.failure is None:
                connection.failure = given.reason
        if connection.stage is Stage.SEQUENCE:
            await trio.sleep(max(connection.route.patience.tail, 3 * connection.rtt))
        if self.command is not None:
            await self.command.hear()

    async def opening(self, groups: list[Group]) -> list[Group]:
        """What comes before the part that is judged; the groups that are left."""
        connection = self.connection
        if self.sequence.is_handshake:
            connection.in_hand = True
            connection.stage = Stage.SEQUENCE
            connection.begun = connection.mark = Mark(time.time_ns(), 0, 0)
            return groups[1:]
        deadline = connection.answer_deadline()
        if self.sequence.uses(Verb.EARLY):
            connection.begun = connection.mark = await ask_early(connection, groups[0][0], deadline)
            if connection.ended_early:
                raise GivenUp  # what the sequence would meet has ended before it
            return groups[1:]
        await greet(connection, deadline)
        if self.sequence.uses(Verb.RESUMED):
            note_resumed(connection)
            groups = groups[1:]
        asks = bool(groups) and groups[0][0].verb is Verb.REQUEST
        if not asks:
            await self.drain_tickets()
        connection.begun = Mark(time.time_ns(), connection.sent, connection.received)
        connection.ended_early = connection.over and not connection.was_asked_for
        if asks and not connection.over:
            await self.request(groups[0][0].form, deadline)
        connection.mark = self.opening_end(connection.begun)
        if connection.ended_early:
            raise GivenUp  # what the sequence would meet has ended before it
        return groups[1:] if asks else groups

    def opening_end(self, begun: Mark) -> Mark:
        """Where the first response was whole; an unfinished one belongs to what is judged.

        A server may have sent its close_notify right behind the response, in bytes that we have
        read by now.
        """
        connection = self.connection
        answered = connection.answered
        if answered is not None:
            return Mark(answered.time_ns, connection.sent, answered.end)
        return begun._replace(client=connection.sent)

    async def drain_tickets(self) -> None:
        connection = self.connection
        deadline = trio.current_time() + TICKET_PATIENCE
        await connection.until(lambda: connection.tickets >= connection.route.tickets, deadline)

    async def request(self, form: Form, deadline: float) -> None:
        connection, conversation = self.connection, self.connection.conversation
        connection.limit(deadline)
        await connection.write_pieces([piece_of(connection, Step(Verb.SEND, form=form))])
        await connection.until(
            lambda: conversation.phase is not Phase.OWED or connection.over, deadline
        )
        if conversation.answered == 0 and refused_certificate(connection):
            cannot_greet(connection, "the first response")
        if conversation.phase is Phase.OWED and not connection.over:
            connection.stop(connection.with_words("no whole response in time"))
        if conversation.phase is Phase.FAILED:
            failure = conversation.failure or "the protocol failed"
            connection.give_up(failure, conversation.hint)

    async def exhaust(self, step: Step) -> None:
        """Ask until the server ends the connection, or says that it does; give up in the end.

        What is judged begins with the last request.
        """
        connection = self.connection
        apart = 0.0 if step.wait is Limit.PATIENCE else connection.seconds(step.wait)
        until = trio.current_time() + connection.route.patience.idle
        for _ in range(MOST_ASKED):
            if _is_last(connection) or trio.current_time() > until:
                break
            connection.mark = Mark(time.time_ns(), connection.sent, connection.received)
            await self.request(step.form, connection.answer_deadline())
            if apart and not _is_last(connection):
                await connection.until(lambda: connection.over, trio.current_time() + apart)
        if not _is_last(connection):
            connection.note(EventKind.GAVE_UP, step.verb)
            raise GivenUp  # there is no limit to meet

    async def perform(  # noqa: PLR0912 - one per verb
        self, burst: list[Group], *, asks_next: bool = False
    ) -> None:
        """Groups that are written back to back, or one step that is not written.

        ``asks_next``: a request comes next, which finds out whether an idle connection is alive.
        """
        step = burst[0][0]
        if not sends(burst[0]):
            self.connection.note(EventKind.STEP, step.verb)
        match step.verb:
            case Verb.HELLO | Verb.SEND | Verb.TERMINATE | Verb.CLOSE_NOTIFY | Verb.ALERT:
                await self.write_burst(burst)
            case Verb.KEY_UPDATE | Verb.RENEGOTIATE | Verb.FIN | Verb.CLOSE | Verb.ABORT:
                await self.write_burst(burst)
            case Verb.CONNECT | Verb.EARLY | Verb.RESUMED:
                pass  # done: ``opening`` left the handshake to the steps, or was the step
            case Verb.REQUEST:
                await self.request(step.form, self.connection.answer_deadline())
            case Verb.SLEEP:
                await self.sleep(self.connection.seconds(step.wait))
            case Verb.EXHAUST:
                await self.exhaust(step)
            case Verb.PAUSE | Verb.STALL:
                await self.pause(self.connection.seconds(step.wait))
            case Verb.AWAIT if asks_next and step.event is Awaited.END and step.wait is Limit.IDLE:
                await self.stay_idle()
            case Verb.AWAIT:
                await self.wait_for(self.condition(step.event or Awaited.END), step)
            case Verb.DRAIN:
                await self.wait_for(lambda: self.connection.ended, step)
            case Verb.TICKET:
                await self.wait_for_ticket(self.connection.seconds(step.wait))
            case Verb.RESUME:
                await resume(self.connection)
            case Verb.ANSWER | Verb.MEET as racing:
                await self.race(step, racing)
            case Verb.SIGNAL:
                assert step.signal is not None
                self.connection.signal(step.signal)
            case shaping:
                await self.shape(step, shaping)

    async def race(self, step: Step, racing: Racing) -> None:
        if self.racer is None:
            await self.wait_for(self.condition(Awaited.CLOSE_NOTIFY), step)
            return
        await self.racer(self.connection, step, racing)

    async def shape(self, step: Step, shaping: Shaping) -> None:
        """Have the path do something that our socket knows nothing of."""
        connection = self.connection
        match shaping:
            case Verb.HOLD:
                nanoseconds = round(connection.seconds(step.wait) * 1e9)
                await connection.shape(Do.HOLD_FIN, nanoseconds)
            case Verb.RELEASE:
                await connection.shape(Do.RELEASE)
            case Verb.WINDOW:
                await connection.shape(Do.OPEN_WINDOW if step.is_open else Do.SHUT_WINDOW)
            case Verb.MUTE:
                await connection.shape(Do.MUTE)
            case Verb.UNMUTE:
                await connection.shape(Do.UNMUTE)
            case Verb.RESET:
                await connection.shape(Do.RESET, step.ahead)
            case _:
                assert_never(shaping)

    async def write_burst(self, groups: list[Group]) -> None:
        """Groups that follow each other without a wait, a segment each."""
        connection = self.connection
        steps = [step for group in groups for step in group]
        if connection.tls is None and any(step.verb is Verb.HELLO for step in steps):
            if connection.ended and connection.conversation.phase is Phase.PLAIN:
                raise GivenUp  # ended before TLS was asked for, which is what the sequence asks
            await begin_tls(connection, connection.answer_deadline())
        connection.limit(connection.end_deadline())
        plans = segment_plans(connection, groups)
        for treated in treated_ranges(plans, connection.sent):
            await connection.treat(*treated)
        for plan in plans:
            await self.send(plan)

    async def send(self, plan: SegmentPlan) -> None:
        connection = self.connection
        await connection.write_pieces(list(plan.pieces), plan.hold)
        match plan.end:
            case None:
                pass
            case Act.HALF_CLOSES:
                connection.half_close()
            case Act.CLOSES:
                connection.close()
            case Act.ABORTS:
                connection.abort()
            case end:
                assert_never(end)
        connection.note(EventKind.STEP, plan.says)

    async def pause(self, seconds: float) -> None:
        due_ns = time.time_ns() + round(seconds * 1e9)
        await trio.sleep(seconds)
        self.connection.note(EventKind.DUE, time_ns=due_ns)

    async def sleep(self, seconds: float) -> None:
        due_ns = time.time_ns() + round(seconds * 1e9)
        await self.read_for(seconds)
        self.connection.note(EventKind.DUE, time_ns=due_ns)

    async def read_for(self, seconds: float) -> None:
        connection = self.connection
        if seconds < _SPIN_BELOW:  # the event loop's timer ticks in whole milliseconds
            until = time.perf_counter() + seconds
            while time.perf_counter() < until:
                pass
            return
        deadline = trio.current_time() + seconds
        await connection.until(lambda: connection.ended, deadline)
        await trio.sleep_until(deadline)

    async def stay_idle(self) -> None:
        """Be idle as long as an idle connection may be, unless the server ends it before that."""
        connection = self.connection
        seconds = connection.route.patience.idle
        due_ns = time.time_ns() + round(seconds * 1e9)
        await connection.until(lambda: connection.over, trio.current_time() + seconds)
        if connection.over:
            raise GivenUp  # with a word: there is no idle connection to ask on
        connection.note(EventKind.DUE, time_ns=due_ns)

    async def wait_for_ticket(self, seconds: float) -> None:
        """Read until the session can be resumed; if it never can, ``resume`` says so."""
        connection = self.connection
        await connection.until(
            lambda: connection.tls is not None and connection.tls.resumable is not None,
            trio.current_time() + seconds,
        )

    def condition(self, event: Awaited) -> Callable[[], bool]:
        """What ``await`` waits for, as a question."""
        connection, conversation = self.connection, self.connection.conversation
        data = connection.data_count
        match event:
            case Awaited.FLIGHT:
                return lambda: connection.flight
            case Awaited.RESPONSE:
                return lambda: conversation.phase is not Phase.OWED
            case Awaited.DATA:
                return lambda: connection.data_count > data
            case Awaited.CLOSE_NOTIFY:
                return lambda: connection.tls is not None and connection.tls.notified
            case Awaited.FIN | Awaited.END:
                return lambda: connection.ended
            case event:
                assert_never(event)

    async def wait_for(self, happened: Callable[[], bool], step: Step) -> None:
        connection = self.connection
        seconds = connection.seconds(step.wait)
        if connection.transport.closed:
            await trio.sleep(min(connection.route.patience.tail, seconds))
            return
        await connection.until(happened, trio.current_time() + seconds)
        if not happened() and not connection.ended:
            connection.note(EventKind.GAVE_UP, f"{step.verb} {step.event or ''}".strip())
            if step.wait is Limit.IDLE:
                raise GivenUp  # there is no expiry to answer


def _is_last(connection: Connection) -> bool:
    """Whether the server has ended the connection, or said that it does no more on it."""
    remarks = connection.conversation.remarks
    return connection.over or any(remark.kind in _LAST for remark in remarks)


def _asks(group: Group) -> bool:
    return group[0].verb is Verb.SEND


def _uploads(group: Group) -> bool:
    """Whether it sends a body that the server may refuse: not to read it is an answer."""
    return any(step.form is Form.UPLOAD for step in group)
