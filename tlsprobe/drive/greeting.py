"""The way from a TCP connection to where a request may go, and why it was not reached."""

from __future__ import annotations

import time
from typing import NoReturn

from tlsprobe.drive.connection import SHOWN, Connection
from tlsprobe.model.alerts import alert_name
from tlsprobe.model.trace import EventKind, RecordKind, Stage
from tlsprobe.protocols.conversation import Phase
from tlsprobe.tls import TlsSession

_CERTIFICATE_ALERTS = frozenset({41, 42, 43, 44, 45, 46, 48, 49, 116})
_ASKED = ", after it had asked for a client certificate"
_CERTIFICATE_HINT = "give a certificate that the server trusts: --cert FILE --key FILE"
_PROBE_ANYHOW = "leave out --ca to probe the server without verifying it"
_OTHER_CA = "give the CA that signed the server's certificate: --ca FILE"
_OTHER_NAME = "ask for a name that is in it: --sni NAME; or do not check: --no-verify-name"
_UNTRUSTED_HINTS = {
    **dict.fromkeys((2, 18, 19, 20, 21), _OTHER_CA),
    **dict.fromkeys((62, 64), _OTHER_NAME),
}
"""By OpenSSL's number (x509_vfy.h): who signed it is not known, it is for somebody else."""

_ALERT_HINTS = {
    "protocol_version": "the server does not speak this TLS version: try the other with --tls",
    "unrecognized_name": "the server knows no such name: give the right one with --sni NAME",
    "no_application_protocol": "the server wants another protocol: offer it with --alpn NAME",
    "handshake_failure": "no common cipher or certificate; --sni NAME may be missing",
}


async def greet(connection: Connection, deadline: float) -> None:
    """Plain prelude, handshake, and the protocol's greeting, up to where a request may go.

    All of it has to be over by the deadline (trio's clock).
    """
    await shake_hands(connection, deadline)
    connection.stage = Stage.GREETING
    await connection.write_data(connection.conversation.secured())
    await await_readiness(connection, deadline)


async def await_readiness(connection: Connection, deadline: float) -> None:
    """Read until the protocol's greeting is over, and a request may go or has gone already."""
    conversation = connection.conversation
    connection.stage = Stage.GREETING
    await connection.until(lambda: conversation.phase is not Phase.GREETING, deadline)
    if conversation.phase not in {Phase.READY, Phase.OWED}:
        cannot_greet(connection, "the greeting was over")
    connection.note(EventKind.READY)
    connection.stage = Stage.SEQUENCE


async def shake_hands(connection: Connection, deadline: float) -> TlsSession:
    """Plain prelude and handshake, which have to be over by the deadline (trio's clock)."""
    connection.stage = Stage.HANDSHAKE
    tls = await begin_tls(connection, deadline)
    await connection.write(tls.handshake(), RecordKind.HANDSHAKE)
    return await await_handshake(connection, deadline)


async def await_handshake(connection: Connection, deadline: float) -> TlsSession:
    """Read until the handshake is over, which it has to be by the deadline (trio's clock)."""
    tls = connection.tls
    assert tls is not None
    await connection.until(lambda: tls.handshaken or tls.failure is not None, deadline)
    if not tls.handshaken or tls.failure:
        cannot_shake_hands(connection)
    connection.note(EventKind.HANDSHAKEN)
    return tls


async def begin_tls(connection: Connection, deadline: float) -> TlsSession:
    """Whatever the protocol says before TLS; then the client side, before its first word."""
    conversation = connection.conversation
    connection.limit(deadline)
    if conversation.phase is Phase.PLAIN:
        await connection.write(conversation.open(), RecordKind.PLAIN)
        spoken = lambda: conversation.phase is not Phase.PLAIN  # noqa: E731
        await connection.until(spoken, deadline)
    if conversation.phase is not Phase.SECURE:
        cannot_greet(connection, "TLS could be started")
    offered, tickets = connection.earlier, connection.takes_tickets
    connection.tls = connection.route.tls.connect(
        offered, tickets=tickets, authenticates=connection.authenticates
    )
    return connection.tls


def refused_certificate(connection: Connection) -> bool:
    """Whether the server's last word is that it does not take our certificate, or misses one."""
    alert = connection.last_alert()
    return alert is not None and alert[1] in _CERTIFICATE_ALERTS


def cannot_shake_hands(connection: Connection) -> NoReturn:
    """Say why the handshake did not come to its end."""
    tls = connection.tls
    assert tls is not None
    alert = connection.last_alert()
    head = connection.strays or tls.pending
    if alert is not None:
        if refused_certificate(connection):
            cannot_greet(connection, "the handshake was over")
        name, asked = alert_name(alert), tls.asked_certificate
        hint = _CERTIFICATE_HINT if asked else _ALERT_HINTS.get(name)
        failure = f"the server refused the handshake with the alert {name}"
        connection.give_up(failure + _ASKED * asked, hint)
    elif tls.over:
        hint = "check the port; protocols that start TLS later need their --profile"
        connection.give_up(f"the port does not speak TLS: it answered {_shown(head)}", hint)
    elif tls.untrusted is not None:
        failure = f"the server's certificate could not be verified: {tls.untrusted.words}"
        connection.give_up(failure, _UNTRUSTED_HINTS.get(tls.untrusted.code, _PROBE_ANYHOW))
    elif tls.failure:
        connection.give_up(f"the handshake failed on our side: {tls.failure}")
    elif connection.ended:
        how = "reset" if connection.noted(EventKind.RESET) else "closed"
        asked = tls.asked_certificate
        failure = f"the server {how} the connection during the handshake"
        connection.give_up(failure + _ASKED * asked, _CERTIFICATE_HINT if asked else None)
    else:
        connection.run_out("the server did not finish the handshake in time")


def cannot_greet(connection: Connection, before: str) -> NoReturn:
    """Say why the server was not ready ``before`` something."""
    alert = connection.last_alert()
    if alert is not None and refused_certificate(connection):
        connection.stage = (
            Stage.HANDSHAKE
        )  # TLS 1.3 refuses a certificate when we think we are done
        name = alert_name(alert)
        failure = f"the server refused our certificate with the alert {name}"
        connection.give_up(failure, _CERTIFICATE_HINT)
    elif connection.conversation.failure:
        connection.give_up(connection.conversation.failure, connection.conversation.hint)
    elif connection.ended:
        how = "reset" if connection.noted(EventKind.RESET) else "closed"
        failure = f"the server {how} the connection before {before}"
        connection.give_up(connection.with_words(failure))
    else:
        did = "went on and on" if _talks(connection) else "said nothing more"
        connection.run_out(connection.with_words(f"the server {did} before {before}"))


def _talks(connection: Connection) -> bool:
    """Whether the server's last word came in the later half of the time that it had."""
    heard = connection.heard_ns
    return heard - connection.events[0].time_ns > time.time_ns() - heard


def _shown(data: bytes) -> str:
    """The beginning of what a peer sent, safe to print."""
    text = repr(data[:SHOWN])[1:]
    return f"{text}..." if len(data) > SHOWN else text
