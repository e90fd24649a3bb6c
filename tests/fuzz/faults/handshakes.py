"""Faults of the handshake, and faults that take the whole server with them."""

from __future__ import annotations

import os

import trio

from tests.fuzz.faults.peer import ENDS, PATH, RESETS, Fault, Seeded
from tests.fuzz.faults.ways import BYE, EOF, FOREVER, PING, behind, both, polite, said, when
from tlsprobe.reference.dialects import Gone
from tlsprobe.reference.peer import Occasion

_ALERT_RECORD = 21
_THIRD = 3


async def _greet_forever(peer: Seeded) -> None:
    """Keeps a connection whose client has left before the handshake was over."""
    try:
        await peer.handshake()
    except Gone:
        await trio.sleep(FOREVER)


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
        if record[0] == _ALERT_RECORD:
            await trio.sleep(FOREVER)
        peer._tls.receive(record)
        await peer._send(peer._tls.output())
        if peer._tls.failure:
            raise Gone


async def _greet_and_die(peer: Seeded) -> None:
    """Dies of the third client that leaves in the middle of its handshake."""
    try:
        await peer.handshake()
    except Gone:
        peer.house.turn += 1
        if peer.house.turn == _THIRD:
            os._exit(3)
        raise


async def _deaf(peer: Seeded, occasion: Occasion) -> None:
    """Stops listening, for good."""
    listener = peer.house.listener
    if listener is not None:
        listener.close()
    await polite(peer, occasion)


async def _dies(_: Seeded, __: Occasion) -> None:
    os._exit(3)


HANDSHAKES = (
    Fault("handshake-kept", "handshake", "connect; fin; drain", ENDS, polite, greet=_greet_forever),
    Fault(
        "handshake-alert-kept",
        "handshake",
        "connect; close_notify; fin; drain",
        ENDS,
        polite,
        greet=_greet_alert_forever,
    ),
    Fault(
        "abort-in-hello",
        "handshake",
        "connect; hello part; fin; drain",
        RESETS,
        polite,
        greet=_greet_whole_hello_only,
    ),
)

DEATHS = (
    Fault(
        "listener-closed",
        "death",
        "close_notify; send; drain",
        PATH,
        behind(PING, _deaf),
        deadly=True,
    ),
    Fault(
        "dies-of-goodbye-behind-alert",
        "death",
        "close_notify; terminate; drain",
        PATH,
        behind(BYE, _dies),
        deadly=True,
    ),
    Fault(
        "dies-of-a-byte",
        "death",
        'send "x"; fin; drain',
        PATH,
        when(both(EOF, said(b"x")), _dies),
        deadly=True,
    ),
    Fault(
        "dies-of-three-handshakes",
        "death",
        "connect; fin; drain",
        PATH,
        polite,
        greet=_greet_and_die,
        deadly=True,
    ),
)
