"""The connection that asks for the one that is probed: FTP's control connection.

It is opened before, and its packets are nobody's business. It tells to which port the other one
goes, gives it a session to resume, and hears in the end what the server says of it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import trio

from tlsprobe.drive.connection import Connection, GivenUp
from tlsprobe.drive.greeting import greet
from tlsprobe.model.sequence import Sequence
from tlsprobe.model.trace import EventKind, RemarkKind, Stage
from tlsprobe.model.verbs import Verb
from tlsprobe.protocols.conversation import Control

_OF_ITS_OWN = "no session of an earlier connection can be offered on one that another asks for"


class Command:
    """A control connection, while the connection that it asks for is probed."""

    def __init__(self, commanded: Connection, control: Control) -> None:
        self.commanded = commanded
        self.control = control
        route = replace(commanded.route.aside, converse=lambda: control.talk)
        self.connection = Connection(route)

    async def give(self, sequence: Sequence) -> None:
        """Log in, ask for a port, and have the other connection begin there; or give it up."""
        connection, commanded = self.connection, self.commanded
        if sequence.connections > 1:
            commanded.give_up(_OF_ITS_OWN)
        try:
            await connection.connect()
            await greet(connection, connection.answer_deadline())
            await connection.write_data(self.control.command())
            if self.control.asks:
                commanded.note(EventKind.STEP, Verb.AWAIT)  # the server has the first word
        except GivenUp as given:
            commanded.stage, commanded.refused = connection.stage, connection.refused
            commanded.give_up(connection.failure or given.reason or "", connection.hint)
        session = connection.tls.resumable if connection.tls and self.control.resumes else None
        commanded.go_to(self.control.port, b"" if session is None else session.data)

    async def begin(self) -> None:
        """Wait until the server has taken the other connection, as clients do; or give it up."""
        control = self.control
        deadline = self.connection.answer_deadline()
        await self.connection.until(lambda: control.began, deadline)
        if control.refusal is not None:
            self.commanded.give_up(control.refusal)

    async def hear(self) -> None:
        """Let the server say what became of the other connection, if that is over."""
        commanded, control = self.commanded, self.control
        if self.connection.stage is not Stage.SEQUENCE:
            return
        goes_on = commanded.stage is Stage.SEQUENCE and not (
            commanded.ended or commanded.transport.closed
        )
        deadline = trio.current_time() if goes_on else commanded.end_deadline()
        await self.connection.until(lambda: bool(control.reply), deadline)
        if control.reply:
            commanded.conversation.remark(RemarkKind.VERDICT, control.reply)
        if commanded.stage is not Stage.SEQUENCE and control.refusal is not None:
            commanded.failure, commanded.hint = control.refusal, None

    async def dismiss(self) -> None:
        """Say farewell, and wait for the end: our own kernel is to reset nothing."""
        connection = self.connection
        if connection.stage is Stage.SEQUENCE and not connection.ended:
            await connection.write_data(self.control.farewell())
            await connection.until(lambda: connection.ended, connection.end_deadline())


@asynccontextmanager
async def commanding(commanded: Connection) -> AsyncIterator[Command | None]:
    """Who asks for a connection, while the block runs; None for one that nobody has to ask for."""
    control = commanded.conversation.control
    if control is None:
        yield None
        return
    command = Command(commanded, control)
    try:
        yield command
        await command.dismiss()
    finally:
        command.connection.leave()
